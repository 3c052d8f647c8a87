"""Storage transfers as awaitables.

`Transfers` calls back in its own thread. What it says is gathered there and handed to the event loop in
one call for as many transfers as have ended meanwhile; progress is passed on at most twice a second for
each transfer, since it only has to outpace a timeout of seconds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from pictofs.errors import PictofsError
from pictofs.storage import Get, Got

PROGRESS_SPACING_S = 0.5
Progress = Callable[[int], None]


class Carrier(Protocol):
    """The part of `storage.Transfers` that is used here."""

    requests: int
    bytes_received: int

    def start(self) -> None:
        """Begins its thread."""

    def stop(self) -> None:
        """Ends every transfer and the thread."""

    def submit(
        self,
        get: Get,
        done: Callable[[Got | PictofsError], None],
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        """Starts a transfer; the callbacks come in its thread."""

    def cancel(self, handle: Any) -> object:
        """Ends one early, without a callback that anybody waits for."""

    def spend(self, size_bytes: int) -> None:
        """So many bytes came another way, within the same bandwidth."""


class Courier:
    """Awaitable transfers over one `Carrier`. Lives in one event loop, where `ended` hears of each."""

    def __init__(
        self,
        carrier: Carrier,
        ended: Callable[[Got | PictofsError], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._carrier = carrier
        self._observe = ended
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # guards the two below; never held across a call
        self._news: list[tuple[asyncio.Future[Got], Got | PictofsError]] = []
        self._told = False

    @property
    def requests(self) -> int:
        """Requests made to storage hosts so far."""
        return self._carrier.requests

    @property
    def bytes_received(self) -> int:
        """Body bytes received so far."""
        return self._carrier.bytes_received

    def start(self) -> None:
        """Begins the transfer thread; called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._carrier.start()

    def stop(self) -> None:
        """Ends the thread and every transfer."""
        self._carrier.stop()

    async def get(self, get: Get, progress: Progress | None = None) -> Got:
        """The object's bytes; a PictofsError of the transfer. Cancelling the awaiter cancels the transfer."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("the transfers have not been started")
        future: asyncio.Future[Got] = loop.create_future()
        listen = self._paced(progress) if progress else None
        handle = self._carrier.submit(get, lambda outcome: self._ended(future, outcome), listen)
        try:
            return await future
        except asyncio.CancelledError:
            self._carrier.cancel(handle)
            raise

    def spend(self, size_bytes: int) -> None:
        """So many bytes came another way, within the same bandwidth."""
        self._carrier.spend(size_bytes)

    def _paced(self, progress: Progress) -> Progress:
        last_s = self._clock()

        def received(size_bytes: int) -> None:
            nonlocal last_s
            now_s = self._clock()
            if now_s - last_s >= PROGRESS_SPACING_S and self._loop is not None:
                last_s = now_s
                try:
                    self._loop.call_soon_threadsafe(progress, size_bytes)
                except RuntimeError:
                    pass  # the loop has closed

        return received

    def _ended(self, future: asyncio.Future[Got], outcome: Got | PictofsError) -> None:
        with self._lock:
            self._news.append((future, outcome))
            told, self._told = self._told, True
        if not told and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._settle)
            except RuntimeError:
                pass  # the loop has closed: nobody waits any more

    def _settle(self) -> None:
        with self._lock:
            news, self._news, self._told = self._news, [], False
        for future, outcome in news:
            if self._observe is not None:
                self._observe(outcome)
            if future.cancelled():
                continue
            if isinstance(outcome, PictofsError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
