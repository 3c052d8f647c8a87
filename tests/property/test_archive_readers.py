"""Reading an archive by blocks gives what a local file gives, whatever is read, and fetches no block twice.

Both readers of the fetching process: `Excerpts`, over blocks in the store that may go at any moment, and
`Remote`, over a parent that answers a child. The way through a mount is in tests/mount/test_exports.py.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import zipfile
from collections import Counter, deque
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pictofs.catalog.model import BlockRow
from pictofs.link.frames import Frames
from pictofs.link.messages import Want
from pictofs.mirror import excerpts
from pictofs.mirror.central import BUFFER_BYTES, Ask, Message, Remote
from pictofs.mirror.excerpts import MOST_TRIES, WINDOW_BLOCKS, Excerpts

STEP = 64              # bytes of a block here: edges are met often
NODE, BOOT = 7, 3
SETTINGS = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
MEMBER: Any = None


class Store:
    """The blocks of one archive as files; a stand-in for catalog and store, and for who fetches."""

    def __init__(self, folder: Path, content: bytes) -> None:
        self.folder, self.content = folder, content
        self.rows: dict[int, BlockRow] = {}
        self.brought: Counter[int] = Counter()
        self.dropped: Counter[int] = Counter()
        self.losing: deque[str] = deque()    # what of the next blocks brought goes again at once

    def block(self, node: int, block: int) -> BlockRow | None:
        return self.rows.get(block)

    async def bring(self, member: Any, want: Want, moved: Any) -> None:
        await asyncio.sleep(0)
        for block in range(want.first, want.last + 1):
            if block in self.rows and not want.lost:
                continue
            body = self.content[block * STEP : (block + 1) * STEP]
            assert body, "no block behind the end is asked for"
            (self.folder / str(block)).write_bytes(body)
            self.rows[block] = BlockRow(NODE, block, str(block), len(body), 0, BOOT)
            self.brought[block] += 1
            if self.losing and (what := self.losing.popleft()):
                self.drop(block, what)

    def drop(self, block: int, what: str) -> None:
        """Row and file, or the file alone: a reader may be sent to what is gone."""
        if what == "row":
            self.rows.pop(block, None)
        (self.folder / str(block)).unlink(missing_ok=True)
        self.dropped[block] += 1


@pytest.fixture(autouse=True)
def _small_blocks() -> Iterator[None]:
    with mock.patch.object(excerpts, "EXPORT_BLOCK_BYTES", STEP):
        yield


@st.composite
def reads(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """A content, and extents within it."""
    content = draw(st.binary(min_size=1, max_size=4 * WINDOW_BLOCKS * STEP))
    ends = st.integers(0, len(content))
    return content, draw(st.lists(st.tuples(ends, ends).map(sorted).map(tuple), max_size=8))  # type: ignore[arg-type]


LOST = st.sampled_from(["", "file", "row"])


@given(
    reads(),
    st.lists(LOST, max_size=MOST_TRIES - 1),
    st.lists(st.tuples(st.integers(0, 64), LOST), max_size=6),
)
@SETTINGS
def test_an_excerpt_is_what_the_file_has_there_also_while_blocks_go(
    drawn: tuple[bytes, list[tuple[int, int]]], losing: list[str], evicted: list[tuple[int, str]]
) -> None:
    content, extents = drawn

    async def main(folder: Path) -> None:
        store = Store(folder, content)
        store.losing.extend(losing)
        reader: Any = store
        readers = Excerpts(reader, store.bring, str(folder), BOOT)
        for (first, end), (block, what) in zip_longest(extents, evicted[: len(extents)], fillvalue=(0, "")):
            assert await readers.read(MEMBER, NODE, first, end, lambda: None) == content[first:end]
            if what and block in store.rows:
                store.drop(block, what)
        assert all(count <= 1 + store.dropped[block] for block, count in store.brought.items())

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


@given(reads())
@SETTINGS
def test_excerpts_at_the_same_time_do_not_disturb_each_other(
    drawn: tuple[bytes, list[tuple[int, int]]],
) -> None:
    content, extents = drawn

    async def main(folder: Path) -> None:
        store = Store(folder, content)
        reader: Any = store
        readers = Excerpts(reader, store.bring, str(folder), BOOT)
        got = await asyncio.gather(
            *(readers.read(MEMBER, NODE, first, end, lambda: None) for first, end in extents)
        )
        assert got == [content[first:end] for first, end in extents]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


class Parent(io.RawIOBase):
    """Answers a child that is this very thread; both ends of its two pipes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._frames: Frames[Message] = Frames(Message)
        self._answers = bytearray()
        self.asked_bytes = 0

    def write(self, data: Any) -> int:
        for message in self._frames.feed(bytes(data)):
            assert isinstance(message, Ask)
            assert 0 <= message.first < message.first + message.size_bytes <= len(self._content)
            self.asked_bytes += message.size_bytes
            self._answers += self._content[message.first : message.first + message.size_bytes]
        return len(data)

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), len(self._answers), 1000)    # a pipe gives what it has
        buffer[:count] = self._answers[:count]
        del self._answers[:count]
        return count


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 3 * BUFFER_BYTES), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, 4 * BUFFER_BYTES), st.just(io.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-4 * BUFFER_BYTES, 0), st.just(io.SEEK_END)),
        st.tuples(st.just("seek"), st.integers(-50, 50), st.just(io.SEEK_CUR)),
    ),
    max_size=30,
)


@given(st.integers(0, 3 * BUFFER_BYTES), STEPS)
@SETTINGS
def test_a_child_reads_its_parent_s_archive_as_a_file(
    size_bytes: int, steps: list[tuple[str, int, int]]
) -> None:
    content = bytes(at * 31 % 251 for at in range(1000)) * (size_bytes // 1000 + 1)
    content = content[:size_bytes]
    parent: Any = Parent(content)
    here = io.BufferedReader(Remote(len(content), parent, parent), BUFFER_BYTES)
    local = io.BytesIO(content)
    for verb, number, whence in steps:
        if verb == "read":
            assert here.read(number) == local.read(number)
            continue
        base = (0, local.tell(), len(content))[whence]
        if base + number < 0:
            with pytest.raises(OSError, match="before the beginning"):
                here.seek(number, whence)
            return
        assert here.seek(number, whence) == local.seek(number, whence)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=12), st.binary(max_size=300)), max_size=12))
@SETTINGS
def test_a_directory_is_read_from_little_more_than_itself(members: list[tuple[str, bytes]]) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as made:
        for number, (name, content) in enumerate(members):
            made.writestr(f"{number}{name}".replace("\0", ""), content * 1000)
    whole = body.getvalue()
    parent: Any = Parent(whole)
    with zipfile.ZipFile(io.BufferedReader(Remote(len(whole), parent, parent), BUFFER_BYTES)) as opened:
        assert [info.file_size for info in opened.filelist] == [1000 * len(each) for _, each in members]
        directory_bytes = len(whole) - opened.start_dir
    assert parent.asked_bytes <= 4 * directory_bytes + 2 * BUFFER_BYTES
