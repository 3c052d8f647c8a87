"""Bytes of an archive at any place, out of its blocks in the store; what is not there is fetched first.

So what was read of an archive is there for all that is in it, and the other way round, and nothing of it is
fetched twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from pictofs.catalog import JOINED, CatalogReader
from pictofs.catalog.model import EXPORT_BLOCK_BYTES, BlockRow
from pictofs.errors import TransferError
from pictofs.link.messages import Priority, Want
from pictofs.mirror.access import Membership
from pictofs.mirror.singleflight import Progress

WINDOW_BLOCKS = 16  # a long excerpt is fetched so much at a time, and as much ahead
MOST_TRIES = 3      # of a block that is gone again when it is read

Bring = Callable[[Membership, Want, Progress], Awaitable[None]]


class Excerpts:
    """Reads archives for this process itself.

    `bring` makes blocks present; `boot` is the catalog's index of this boot.
    """

    def __init__(self, reader: CatalogReader, bring: Bring, cache_dir: str, boot: int) -> None:
        self._reader = reader
        self._bring = bring
        self._cache_dir = cache_dir
        self._boot = boot

    def here(self, node: int, first: int, end: int) -> bool:
        """Whether the bytes from `first` to before `end` are all in the store."""
        return all(
            self._reader.block(node, block) is not None
            for block in range(first // EXPORT_BLOCK_BYTES, -(-end // EXPORT_BLOCK_BYTES))
        )

    async def read(self, member: Membership, node: int, first: int, end: int, moved: Progress) -> bytes:
        """The bytes from `first` to before `end`: not many. PictofsError."""
        return b"".join([piece async for piece in self.pieces(member, node, first, end, moved)])

    async def pieces(
        self, member: Membership, node: int, first: int, end: int, moved: Progress
    ) -> AsyncIterator[bytes]:
        """The same in pieces of at most a block, the next ones being fetched meanwhile."""
        if first >= end:
            return
        blocks = range(first // EXPORT_BLOCK_BYTES, -(-end // EXPORT_BLOCK_BYTES))
        ahead: asyncio.Task[None] | None = None
        try:
            for start in blocks[::WINDOW_BLOCKS]:
                last = min(start + WINDOW_BLOCKS, blocks.stop) - 1
                await (ahead or self._present(member, node, start, last, moved))
                ahead = None
                if last + 1 < blocks.stop:
                    behind = min(last + WINDOW_BLOCKS, blocks.stop - 1)
                    ahead = asyncio.ensure_future(self._present(member, node, last + 1, behind, moved))
                for block in range(start, last + 1):
                    at = block * EXPORT_BLOCK_BYTES
                    yield await self._read(member, node, block, max(first - at, 0), end - at, moved)
        finally:
            if ahead is not None:
                ahead.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({ahead})

    async def _present(self, member: Membership, node: int, first: int, last: int, moved: Progress) -> None:
        if any(self._reader.block(node, block) is None for block in range(first, last + 1)):
            await self._bring(member, Want(0, node, first, last, Priority.DEMAND), moved)

    async def _read(
        self, member: Membership, node: int, block: int, start: int, stop: int, moved: Progress
    ) -> bytes:
        for _ in range(MOST_TRIES):
            row = self._reader.block(node, block)
            if row is not None and (row.boot == self._boot or row.block == JOINED):
                body = self._body(row, block, start, stop)
                if body is not None:
                    return body
            await self._bring(member, Want(0, node, block, block, Priority.DEMAND, row is not None), moved)
        raise TransferError("cache_size is too small: a block of an archive is gone before it can be read")

    def _body(self, row: BlockRow, block: int, start: int, stop: int) -> bytes | None:
        """From the page cache nearly always: it has just been written."""
        stop = min(stop, EXPORT_BLOCK_BYTES)
        if row.block == JOINED:
            start, stop = start + block * EXPORT_BLOCK_BYTES, stop + block * EXPORT_BLOCK_BYTES
        wanted = min(stop, row.size_bytes) - start
        try:
            with open(os.path.join(self._cache_dir, row.path), "rb", buffering=0) as file:
                body = os.pread(file.fileno(), wanted, start)
        except OSError:
            return None
        return body if len(body) == wanted else None
