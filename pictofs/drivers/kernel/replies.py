"""Answers in wire form. Pure: values of `vfs.types` in, the bytes of one `write` out."""

from __future__ import annotations

import errno
import functools

from pictofs.drivers.kernel import wire
from pictofs.vfs.types import Attr, DirEntry, Entry, Statfs

BLOCK_BYTES = 4096                 # st_blksize
_NS = 1_000_000_000
_FOREVER_S = 1 << 31               # longer than a mount lives; the kernel counts in jiffies
_NO_ATTR = (0,) * 16
_NO_ENTRY = (0,) * 22
DOT, DOTDOT = 1, 2                 # cookies of `.` and `..`; those of vfs begin above 255
_pack_rows = [wire.dirent(length).pack for length in range(256)]             # by length of the name
_ROW_BYTES = [wire.dirent(length).size for length in range(256)]
_pack_rows_plus = [wire.direntplus(length).pack for length in range(256)]
_pack_entry, _ENTRY_BYTES = wire.ENTRY_REPLY.pack, wire.ENTRY_REPLY.size


@functools.lru_cache(maxsize=1024)
def _seconds(valid_s: float) -> tuple[int, int]:
    """(seconds, nanoseconds) of a validity; few values are ever in use, so they are remembered."""
    whole_ns = int(max(0.0, min(valid_s, _FOREVER_S)) * _NS)
    return whole_ns // _NS, whole_ns % _NS


def _valid(attr: Attr) -> tuple[int, int]:
    """A size that is not known is never believed: the kernel asks GETATTR before `stat` and reading on."""
    return _seconds(attr.valid_s) if attr.size_known else (0, 0)


def _fields(attr: Attr) -> tuple[int, ...]:
    """fuse_attr."""
    size_bytes = attr.size_bytes
    time_s, time_ns = divmod(attr.mtime_ns, _NS)
    return (
        attr.ino, size_bytes, size_bytes + 511 >> 9, time_s, time_s, time_s, time_ns, time_ns, time_ns,
        attr.mode, attr.nlink, attr.uid, attr.gid, 0, BLOCK_BYTES, 0,
    )


def entry(unique: int, found: Entry) -> bytes:
    """LOOKUP: a name and its attributes, or that there is none, for as long as it may be believed.

    Written out: it is half of what answering a LOOKUP takes.
    """
    name_s, name_ns = _seconds(found.valid_s)
    attr = found.attr
    if attr is None:
        if not name_s and not name_ns:
            return wire.error(unique, errno.ENOENT)
        return _pack_entry(_ENTRY_BYTES, 0, unique, 0, 0, name_s, 0, name_ns, 0, *_NO_ATTR)
    attr_s, attr_ns = _valid(attr)
    size_bytes, mtime_ns = attr.size_bytes, attr.mtime_ns
    time_s = mtime_ns // _NS
    mtime_ns -= time_s * _NS
    return _pack_entry(
        _ENTRY_BYTES, 0, unique, attr.node, 0, name_s, attr_s, name_ns, attr_ns,
        attr.ino, size_bytes, size_bytes + 511 >> 9, time_s, time_s, time_s, mtime_ns, mtime_ns, mtime_ns,
        attr.mode, attr.nlink, attr.uid, attr.gid, 0, BLOCK_BYTES, 0,
    )


def attributes(unique: int, attr: Attr) -> bytes:
    """GETATTR."""
    attr_s, attr_ns = _valid(attr)
    return wire.ATTR_REPLY.pack(wire.ATTR_REPLY.size, 0, unique, attr_s, attr_ns, 0, *_fields(attr))


def opened(unique: int, flags: int, backing: int = 0) -> bytes:
    """OPEN and OPENDIR. There are no file handles: a node id says everything."""
    return wire.OPEN_REPLY.pack(wire.OPEN_REPLY.size, 0, unique, 0, flags, backing)


def statfs(unique: int, answer: Statfs) -> bytes:
    """STATFS; nothing is free, nobody writes."""
    return wire.STATFS_REPLY.pack(
        wire.STATFS_REPLY.size, 0, unique,
        answer.blocks, 0, 0, answer.files, 0,
        answer.block_bytes, answer.name_limit_bytes, answer.block_bytes, 0,
    )


def data(unique: int, body: bytes) -> bytes:
    """READLINK, LISTXATTR and the like: a body as it is."""
    return wire.OUT_HEADER.pack(wire.OUT_HEADER.size + len(body), 0, unique) + body


def xattr(unique: int, size: int, value: bytes) -> bytes:
    """GETXATTR and LISTXATTR: the length when asked with size 0, else the value; ERANGE for a longer one."""
    if not size:
        return wire.GETXATTR_REPLY.pack(wire.GETXATTR_REPLY.size, 0, unique, len(value), 0)
    if len(value) > size:
        return wire.error(unique, errno.ERANGE)
    return data(unique, value)


def dots(inos: tuple[int, int], after: int, plus: bool) -> list[bytes]:
    """The rows of `.` and `..` that lie behind cookie `after`; readdirplus takes no attributes of them."""
    found = []
    for cookie, name, ino in ((DOT, b".", inos[0]), (DOTDOT, b"..", inos[1])):
        if cookie > after:
            head = _NO_ENTRY if plus else ()
            pack = (_pack_rows_plus if plus else _pack_rows)[len(name)]
            found.append(pack(*head, ino, cookie, len(name), 0o040000 >> 12, name))
    return found


def _names(entries: list[DirEntry], first: int, room_bytes: int) -> tuple[list[bytes], int]:
    packed: list[bytes] = []
    add, pack, row_bytes = packed.append, _pack_rows, _ROW_BYTES
    for row in entries[first:] if first else entries:
        name = row.name.encode()
        length = len(name)
        room_bytes -= row_bytes[length]
        if room_bytes < 0:
            break
        add(pack[length](row.ino, row.cookie, length, row.mode >> 12, name))
    return packed, first + len(packed)


def rows(
    entries: list[DirEntry], first: int, room_bytes: int, plus: bool, valid_s: float
) -> tuple[list[bytes], int]:
    """Rows of READDIR(PLUS) from `entries[first]` on that fit, and the index of the first that does not.

    `valid_s` is how long the names hold. A row without attributes (the size is not known) leaves the kernel
    to look the name up when somebody wants more than its name.
    """
    if not plus:
        return _names(entries, first, room_bytes)
    packed: list[bytes] = []
    add = packed.append
    name_s, name_ns = _seconds(valid_s)
    for index in range(first, len(entries)):
        row = entries[index]
        name = row.name.encode()
        length = len(name)
        room_bytes -= wire.DIRENTPLUS_BYTES + (length + 7 & ~7)
        if room_bytes < 0:
            return packed, index
        attr = row.attr
        if attr is None or not attr.size_known:
            add(_pack_rows_plus[length](*_NO_ENTRY, row.ino, row.cookie, length, row.mode >> 12, name))
        else:
            # as `entry` is, and for the same reason
            attr_s, attr_ns = _seconds(attr.valid_s)
            size_bytes, mtime_ns = attr.size_bytes, attr.mtime_ns
            time_s = mtime_ns // _NS
            mtime_ns -= time_s * _NS
            add(_pack_rows_plus[length](
                attr.node, 0, name_s, attr_s, name_ns, attr_ns,
                attr.ino, size_bytes, size_bytes + 511 >> 9,
                time_s, time_s, time_s, mtime_ns, mtime_ns, mtime_ns,
                attr.mode, attr.nlink, attr.uid, attr.gid, 0, BLOCK_BYTES, 0,
                row.ino, row.cookie, length, row.mode >> 12, name,
            ))
    return packed, len(entries)
