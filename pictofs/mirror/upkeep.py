"""What gathers over months, cleared in the background: rows of old versions, files that nobody knows.

A killed process leaves files without an entry; versions that were replaced leave rows once their last block
is evicted. Both are cleared some time after the start and once a day, a step at a time between the writer's
other jobs, and only while nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from pictofs.catalog import Catalog
from pictofs.errors import PictofsError
from pictofs.mirror.singleflight import Progress
from pictofs.mirror.writer import Writer
from pictofs.store import Store

_log = logging.getLogger(__name__)
FIRST_S = 120.0
EVERY_S = 86_400.0
PAUSE_S = 0.05   # between steps, and between looks at whether somebody waits


class Upkeep:
    """Clears one cache directory. `busy` says whether somebody waits."""

    def __init__(self, catalog: Catalog, store: Store, writer: Writer, busy: Callable[[], bool]) -> None:
        self._catalog = catalog
        self._store = store
        self._writer = writer
        self._busy = busy

    async def run(self) -> None:
        """Clears now and then, until cancelled."""
        wait_s = FIRST_S
        while True:
            await asyncio.sleep(wait_s)
            wait_s = EVERY_S
            try:
                rows, freed_bytes = await self.clear()
            except PictofsError as error:
                _log.warning("upkeep ended early: %s", error)
                continue
            if rows or freed_bytes:
                _log.info("upkeep: %d old rows and %d bytes that nobody knew are gone", rows, freed_bytes)

    async def clear(self, moved: Progress | None = None) -> tuple[int, int]:
        """Clears everything once; how many rows and bytes went.

        With `moved` somebody waits for it, who is told of every step: then it makes way for nobody.
        """
        rows = 0
        while removed := await self._step(self._catalog.collect, moved):
            rows += removed
        steps = await self._writer.run(self._steps)
        freed_bytes = 0
        while (freed := await self._step(lambda: next(steps, None), moved)) is not None:
            freed_bytes += freed
        return rows, freed_bytes

    def _steps(self) -> Iterator[int]:
        def known(node: int, block: int) -> bool:
            row = self._catalog.block(node, block)
            return row is not None and row.block == block

        return self._store.sweep(known)

    async def _step(self, call: Callable[[], int | None], moved: Progress | None) -> int | None:
        if moved is not None:
            moved()
            return await self._writer.run(call)
        await asyncio.sleep(PAUSE_S)
        while self._busy():
            await asyncio.sleep(PAUSE_S)
        return await self._writer.run(call)
