"""How many bytes each dataset has in the store, as of a moment ago.

Counting goes through every block, a page at a time, in a thread and over a connection of its own. Who asks
gets the last count and causes the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from pictofs.catalog import CatalogReader
from pictofs.errors import PictofsError
from pictofs.mirror.troubles import Troubles

PAGE_BLOCKS = 5000
OLD_S = 30.0
SHARE = 50      # of the time at most one part in so many is spent counting


def count(path: str, stopped: Callable[[], bool] = lambda: False) -> dict[int, int]:
    """Dataset → bytes of its blocks; 0 is nobody's. CacheUnusable."""
    found: Counter[int] = Counter()
    after = (-1, 0)
    reader = CatalogReader.open(path)
    try:
        while not stopped() and (page := reader.kept(after, PAGE_BLOCKS)):
            for block in page:
                found[block.dataset] += block.size_bytes
            after = page[-1].node, page[-1].block
    finally:
        reader.close()
    return dict(found)


class Usage:
    """Counts now and then, when asked. Lives in one event loop."""

    def __init__(
        self, path: str, troubles: Troubles, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._troubles = troubles
        self._clock = clock
        self._found: dict[int, int] | None = None
        self._due_s = 0.0
        self._counting: asyncio.Task[None] | None = None
        self._stopped = False

    def latest(self) -> dict[int, int] | None:
        """The last count; None before there is one."""
        if self._counting is None and not self._stopped and self._clock() >= self._due_s:
            self._counting = asyncio.ensure_future(self._count())
        return self._found

    async def stop(self) -> None:
        """No further count; one under way ends behind its page."""
        self._stopped = True
        if self._counting is not None:
            await self._counting

    async def _count(self) -> None:
        begun_s = self._clock()
        try:
            self._found = await asyncio.to_thread(count, self._path, lambda: self._stopped)
        except PictofsError as error:
            self._troubles.note(f"the store could not be counted: {error}")
        finally:
            self._due_s = self._clock() + max(OLD_S, SHARE * (self._clock() - begun_s))
            self._counting = None
