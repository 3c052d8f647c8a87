"""`pictofs cache`: the blocks of the store gone through in the order of their keys, a piece at a question.

A question goes on behind the block at which the last answer ended (`after`, `next`), so that going through a
big store is many short questions: who asks can show how far it is, stop, and go on; readers come in between.

    verify   reads blocks and drops those that are not what was stored
             → {"next", "blocks", "bytes", "damaged": [[path, block, bytes], …]}
    clear    drops blocks, unless they are pinned      → {"next", "blocks", "bytes", "pinned": blocks}
    prune    drops what belongs to nothing any more    → {"next", "blocks", "bytes"}
    settle   rows and files that nobody knows go, and what is over the limits
             → {"rows", "swept": bytes, "evicted": bytes}

The first three take {"after": [node, block], "datasets": [pk, …] or null for all}; `next` is null at the end.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import google_crc32c

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import SPILL, Change
from pictofs.catalog.read_usage import Kept
from pictofs.errors import UsageError
from pictofs.mirror.plan import Fetch
from pictofs.mirror.report import path_of
from pictofs.mirror.room import Room
from pictofs.mirror.singleflight import Progress
from pictofs.mirror.upkeep import Upkeep
from pictofs.mirror.writer import Writer

VERBS = frozenset({"verify", "clear", "prune", "settle"})
PAGE_BLOCKS = 256
PIECE_S = 0.5        # of one question: bars move, Ctrl-C is heard
_READ_BYTES = 1 << 20


class Stock:
    """Answers those questions. Lives in one event loop; `push` tells mounts what they hold no longer."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        room: Room,
        cache_dir: str,
        upkeep: Callable[[], Upkeep],
        push: Callable[[Change], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._room = room
        self._cache_dir = cache_dir
        self._upkeep = upkeep
        self._push = push
        self._clock = clock

    async def answer(self, verb: str, arguments: dict[str, Any], moved: Progress) -> dict[str, Any]:
        """One piece. UsageError for arguments that make no sense."""
        if verb == "settle":
            return await self._settle(moved)
        after, datasets = _arguments(arguments)
        found: dict[str, Any] = {"next": None, "blocks": 0, "bytes": 0}
        if verb == "verify":
            found["damaged"] = []
        elif verb == "clear":
            found["pinned"] = 0
        until_s = self._clock() + PIECE_S
        for page, place in self._pages(after):
            of_these = [
                kept for kept in page
                if (datasets is None or kept.dataset in datasets) and not kept.path.startswith(SPILL)
            ]  # fmt: skip
            if verb == "verify":
                await self._verify(of_these, found)
            else:
                await self._drop(of_these, found, verb)
            moved()
            if self._clock() >= until_s:
                found["next"] = place
                break
        return found

    def _pages(self, after: tuple[int, int]) -> Iterator[tuple[list[Kept], list[int]]]:
        while page := self._reader.kept(after, PAGE_BLOCKS):
            after = page[-1].node, page[-1].block
            yield page, list(after)

    async def _verify(self, page: Sequence[Kept], found: dict[str, Any]) -> None:
        wrong = await asyncio.to_thread(lambda: [kept for kept in page if not self._is_right(kept)])
        found["blocks"] += len(page)
        found["bytes"] += sum(kept.size_bytes for kept in page)
        gone = []
        for kept in wrong:
            path = path_of(self._reader, kept.node)
            # evicted or written anew meanwhile, it is no damage: the writer looks again
            if await self._writer.run(lambda kept=kept: self._is_damaged(kept)):  # type: ignore[misc]
                found["damaged"].append([path, kept.block, kept.size_bytes])
                gone.append(kept.node)
        self._push(Change([], gone, gone))

    def _is_right(self, kept: Kept) -> bool:
        crc32c = size_bytes = 0
        try:
            with open(os.path.join(self._cache_dir, kept.path), "rb", buffering=0) as file:
                while piece := file.read(_READ_BYTES):
                    crc32c = google_crc32c.extend(crc32c, piece)
                    size_bytes += len(piece)
        except OSError:
            return False
        return (size_bytes, crc32c) == (kept.size_bytes, kept.crc32c)

    def _is_damaged(self, kept: Kept) -> bool:
        if self._catalog.block(kept.node, kept.block) is None:
            return False
        return not self._room.recheck(Fetch(kept.node, kept.block))

    async def _drop(self, page: Sequence[Kept], found: dict[str, Any], verb: str) -> None:
        if verb == "prune":
            going = [kept for kept in page if not kept.current]
        else:
            nodes = {kept.node for kept in page}
            pinned = await self._writer.run(lambda: self._catalog.pinned_among(nodes))
            going = [kept for kept in page if kept.node not in pinned]
            found["pinned"] += len(page) - len(going)
        blocks = [Fetch(kept.node, kept.block) for kept in going]
        if blocks:
            await self._writer.run(lambda: self._room.drop(blocks))
            self._push(Change([], [kept.node for kept in going]))
        found["blocks"] += len(going)
        found["bytes"] += sum(kept.size_bytes for kept in going)

    async def _settle(self, moved: Progress) -> dict[str, Any]:
        rows, swept_bytes = await self._upkeep().clear(moved)
        evicted_bytes = await self._writer.run(self._room.enforce)
        return {"rows": rows, "swept": swept_bytes, "evicted": evicted_bytes}


def _arguments(arguments: dict[str, Any]) -> tuple[tuple[int, int], Collection[int] | None]:
    after, datasets = arguments.get("after", [-1, 0]), arguments.get("datasets")
    numbers = [*after, *(datasets or ())] if isinstance(after, list) else []
    if len(numbers) < 2 or not all(isinstance(number, int) for number in numbers):
        raise UsageError("after is a node and a block, datasets a list of numbers")
    return (after[0], after[1]), None if datasets is None else frozenset(datasets)
