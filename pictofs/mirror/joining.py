"""An object of many blocks becomes one file: what io=passthrough can hand the kernel.

    every block is here, and there is room for all of it once more
      → a file in tmp/, each block checked as it is copied (shared, where the file system can), synced
      → in the writer's thread: into the store and the catalog as `JOINED`, then the blocks go

Blocks are files of their own and never change, so whoever has one open reads on; a sparse file filled block
by block would show zeros to a reader whose block was evicted meanwhile. Nothing is evicted for it: for a
moment the object lies in the store twice, and where there is no room for that it stays in blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence

import google_crc32c

from pictofs.catalog import JOINABLE, JOINED, Catalog, CatalogReader
from pictofs.catalog.model import SPILL, BlockRow, node_kind
from pictofs.errors import PictofsError
from pictofs.mirror.room import Room
from pictofs.mirror.singleflight import Flight, SingleFlight
from pictofs.mirror.writer import Writer
from pictofs.store import Store

_log = logging.getLogger(__name__)
# How long who opens a file waits for it: 100 MB on a quick disk. Longer ones are joined for who comes next.
PATIENCE_S = 0.25


class Joining:
    """Joins objects of one cache directory; in the event loop, its copying in threads."""

    def __init__(
        self, reader: CatalogReader, catalog: Catalog, store: Store, writer: Writer, room: Room,
        flights: SingleFlight, cache_dir: str,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._store = store
        self._writer = writer
        self._room = room
        self._flights = flights
        self._cache_dir = cache_dir
        self._stopping = threading.Event()

    async def join(self, nodes: Sequence[int]) -> int:
        """How many of these lie in one file now, after a moment's patience; the others may a little later."""
        tasks = [asyncio.ensure_future(self._flights.join(("joined", n), self._run(n))) for n in nodes]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_S)
        return sum(self._reader.joined(node) is not None for node in nodes)

    def stop(self) -> None:
        """Copies no further; what is half done is left in tmp/, which the next process empties."""
        self._stopping.set()

    def _run(self, node: int) -> Callable[[Flight], Awaitable[None]]:
        async def run(_: Flight) -> None:
            try:
                await self._join(node)
            except (OSError, PictofsError) as error:
                _log.warning("the blocks of a file could not be joined, it is read from them: %s", error)

        return run

    async def _join(self, node: int) -> None:
        size_bytes = self._reader.size_bytes(node)
        if node_kind(node) not in JOINABLE or not size_bytes or not self._reader.whole(node, size_bytes):
            return
        if self._reader.joined(node) is not None:
            return
        if self._room.spare_bytes() < size_bytes:
            _log.info("no room in cache_size to join %d bytes into one file: read from blocks", size_bytes)
            return
        parts = self._reader.blocks(node)
        path = os.path.join(self._cache_dir, SPILL, f"{node:x}.joined")
        try:
            crc32c = await asyncio.to_thread(self._copy, parts, path, size_bytes)
            if crc32c is not None:
                row = BlockRow(node, JOINED, path, size_bytes, crc32c, self._room.boot)
                await self._writer.run(lambda: self._take(row, parts))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _take(self, row: BlockRow, parts: Sequence[BlockRow]) -> None:
        """In the writer's thread: the file in the place of `parts`, unless these are others by now."""
        if self._catalog.blocks(row.node) != parts:
            return
        path = self._store.take(row.node, JOINED, row.path, row.size_bytes, row.crc32c)
        if path is None:
            return
        try:
            self._catalog.put_block(row._replace(path=path))
        except PictofsError:
            self._store.drop(row.node, JOINED)
            raise
        self._catalog.drop_each([(part.node, part.block) for part in parts])
        for part in parts:
            self._store.drop(part.node, part.block)

    def _copy(self, parts: Sequence[BlockRow], path: str, size_bytes: int) -> int | None:
        """All of these one after the other into `path`: their checksum; None where one is not as it was."""
        crc32c = copied = 0
        with open(path, "xb", buffering=0) as target:
            for part in parts:
                if self._stopping.is_set():
                    return None
                with open(os.path.join(self._cache_dir, part.path), "rb", buffering=0) as source:
                    body = source.read()
                    if google_crc32c.value(body) != part.crc32c:
                        return None
                    _append(source.fileno(), target.fileno(), copied, body)
                crc32c = google_crc32c.extend(crc32c, body)
                copied += len(body)
            # its row is believed after a crash of the machine too: nobody could check so much at an open
            os.fsync(target.fileno())
        return crc32c if copied == size_bytes else None


def _append(source: int, target: int, at: int, body: bytes) -> None:
    """`body`, all of `source`, at the end of `target`: as blocks shared by both where that can be."""
    copied = 0
    with contextlib.suppress(OSError):      # of two kinds of file systems, an old kernel: written, then
        while copied < len(body):
            now = os.copy_file_range(source, target, len(body) - copied, copied, at + copied)
            if not now:
                break
            copied += now
    while copied < len(body):
        copied += os.pwrite(target, body[copied:], at + copied)
