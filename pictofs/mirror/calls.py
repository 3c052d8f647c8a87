"""Blocking API calls in a few threads, the urgent ones first, awaited from the event loop.

The threads bound both the load on the service and the memory of answers under way; at 30 ms an answer it
takes some twenty to keep one core busy with them. A long listing is
many calls, one a page, so that it never holds a thread against a reader who waits. The threads are daemons:
a call that hangs in its last seconds does not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pictofs.link.messages import Priority

T = TypeVar("T")
THREADS = 24
_Work = tuple[asyncio.Future[Any], Callable[[], Any]]


class Calls:
    """A pool of `threads` threads. Lives in one event loop."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = [
            threading.Thread(target=self._serve, name=f"api-{number}", daemon=True)
            for number in range(threads)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[int, int, _Work]] = []
        self._order = itertools.count()
        self._idle = threads
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Begins the threads; called in the event loop, after every fork."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def run(self, call: Callable[[], T], priority: Priority = Priority.DEMAND) -> T:
        """The result of `call()`, or its exception. A caller that is cancelled first leaves it undone."""
        if self._loop is None:
            raise RuntimeError("the threads have not been started")
        future: asyncio.Future[T] = self._loop.create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), (future, call)))
        self._hand_out()
        return await future

    def stop(self, patience_s: float = 1.0) -> None:
        """Ends the threads; one that is in a call is waited for no longer than `patience_s` in all."""
        for _, _, (future, _) in self._waiting:
            future.cancel()
        self._waiting.clear()
        for _ in self._threads:
            self._work.put(None)
        if self._loop is not None:
            for thread in self._threads:
                thread.join(patience_s / len(self._threads))

    def _hand_out(self) -> None:
        while self._idle and self._waiting:
            work = heapq.heappop(self._waiting)[2]
            if not work[0].cancelled():
                self._idle -= 1
                self._work.put(work)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            result, failed = None, None
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it is the awaiter's
                failed = error
            try:
                self._tell(future, result, failed)
            except RuntimeError:
                return  # the loop has closed: nobody waits any more
            del work, future, call, result, failed  # an idle thread keeps no answer alive

    def _tell(self, future: asyncio.Future[Any], result: Any, failed: BaseException | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._done, future, result, failed)

    def _done(self, future: asyncio.Future[Any], result: Any, failed: BaseException | None) -> None:
        self._idle += 1
        if not future.cancelled():
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)
        self._hand_out()
