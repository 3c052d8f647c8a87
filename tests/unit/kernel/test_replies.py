"""Answers in wire form."""

from __future__ import annotations

import errno

import msgspec
import pytest

from pictofs.drivers.kernel import replies, wire
from pictofs.vfs.types import Attr, DirEntry, Entry, Statfs

FILE = Attr(
    node=77 << 8, ino=42, mode=0o100444, nlink=1, size_bytes=1025, mtime_ns=1_700_000_000_123_456_789, uid=3,
    gid=4, valid_s=60.5,
)
UNSIZED = msgspec.structs.replace(FILE, size_bytes=0, valid_s=60.0, size_known=False)


def test_an_entry_has_its_own_validity_and_its_attributes_theirs() -> None:
    said = wire.ENTRY_REPLY.unpack(replies.entry(6, Entry(FILE, 2.25)))
    assert said[:3] == (144, 0, 6)
    node, generation, name_s, attr_s, name_ns, attr_ns = said[3:9]
    assert (node, generation) == (77 << 8, 0)
    assert (name_s, name_ns) == (2, 250_000_000)
    assert (attr_s, attr_ns) == (60, 500_000_000)
    assert said[9:25] == (
        42, 1025, 3, *(1_700_000_000,) * 3, *(123_456_789,) * 3, 0o100444, 1, 3, 4, 0, replies.BLOCK_BYTES, 0
    )


def test_attributes_say_the_same_as_an_entry_does() -> None:
    entry = wire.ENTRY_REPLY.unpack(replies.entry(6, Entry(FILE, 1.0)))
    attributes = wire.ATTR_REPLY.unpack(replies.attributes(6, FILE))
    assert attributes[6:] == entry[9:]
    assert attributes[3:5] == (60, 500_000_000)


def test_a_name_that_is_not_there_is_remembered_or_not() -> None:
    assert wire.ENTRY_REPLY.unpack(replies.entry(6, Entry(None, 5.0)))[3:6] == (0, 0, 5)
    assert replies.entry(6, Entry(None, 0.0)) == wire.error(6, errno.ENOENT)


def test_the_attributes_of_an_unknown_size_hold_for_no_time() -> None:
    assert wire.ENTRY_REPLY.unpack(replies.entry(6, Entry(UNSIZED, 5.0)))[5:9] == (5, 0, 0, 0)
    assert wire.ATTR_REPLY.unpack(replies.attributes(6, UNSIZED))[3:5] == (0, 0)


@pytest.mark.parametrize("valid_s", [float("inf"), 1e30, -1.0])
def test_any_validity_fits(valid_s: float) -> None:
    replies.entry(6, Entry(FILE, valid_s))


def test_times_before_the_epoch_round_down() -> None:
    attr = msgspec.structs.replace(FILE, mtime_ns=0)
    assert wire.ATTR_REPLY.unpack(replies.attributes(6, attr))[9:15] == (0,) * 6


def test_xattrs_answer_the_length_the_value_or_erange() -> None:
    assert wire.GETXATTR_REPLY.unpack(replies.xattr(6, 0, b"value"))[3] == 5
    assert replies.xattr(6, 5, b"value") == replies.data(6, b"value")
    assert replies.xattr(6, 4, b"value") == wire.error(6, errno.ERANGE)


def test_statfs_has_nothing_free() -> None:
    said = wire.STATFS_REPLY.unpack(replies.statfs(6, Statfs(4096, 10, 20)))
    assert said[3:] == (10, 0, 0, 20, 0, 4096, 255, 4096, 0)


def rows_in(data: bytes, plus: bool) -> list[tuple[str, int, int]]:
    """(name, cookie, node of the attributes) of each row, as the kernel reads them."""
    found, at, head = [], 0, 128 if plus else 0
    while at < len(data):
        _, cookie, length, _ = wire.struct.unpack_from("=QQII", data, at + head)
        node = wire.struct.unpack_from("=Q", data, at)[0] if plus else 0
        begin = at + head + wire.DIRENT_BYTES
        found.append((data[begin : begin + length].decode(), cookie, node))
        at += head + wire.DIRENT_BYTES + (length + 7 & ~7)
    assert at == len(data)
    return found


ENTRIES = [
    DirEntry("a", 300, 3, 0o100000, 300, FILE), DirEntry("ü" * 100, 400, 4, 0o040000, 400, FILE),
    DirEntry("unsized", 500, 5, 0o100000, 500, None), DirEntry("unsaid", 600, 6, 0o100000, 600, UNSIZED),
]


@pytest.mark.parametrize("plus", [True, False])
def test_rows_are_cut_to_the_room_and_none_is_lost(plus: bool) -> None:
    for room in (400, 500, 1000, 4096):
        first, found = 0, []
        while first < len(ENTRIES):
            packed, following = replies.rows(ENTRIES, first, room, plus, 60.0)
            assert following > first
            data = b"".join(packed)
            assert len(data) <= room
            found += rows_in(data, plus)
            first = following
        assert [(name, cookie) for name, cookie, _ in found] == [(row.name, row.cookie) for row in ENTRIES]
        if plus:
            assert [node for _, _, node in found] == [FILE.node, FILE.node, 0, 0]


@pytest.mark.parametrize("plus", [True, False])
def test_the_dots_come_first_and_can_be_gone_on_behind(plus: bool) -> None:
    assert rows_in(b"".join(replies.dots((7, 8), 0, plus)), plus) == [(".", 1, 0), ("..", 2, 0)]
    assert rows_in(b"".join(replies.dots((7, 8), 1, plus)), plus) == [("..", 2, 0)]
