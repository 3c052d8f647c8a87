"""API calls in a few threads, each answered by one word to the thread that orders them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from pictofs.errors import PictofsError

Call = Callable[[], Any]
Told = Callable[[Any], None]


class Calling:
    """Runs calls in `threads` threads, which start with the first call and end with `close`.

    `told` gets what a call returns or raises, in the thread that ran it. Where that is no PictofsError, the
    one who reads it is to raise it.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._jobs: SimpleQueue[tuple[Call, Told] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Call, told: Told) -> None:
        """Run it as soon as a thread is free."""
        self._jobs.put((call, told))
        if len(self._threads) < self._most:
            # Daemons: an interrupted command does not wait for an answer that may be twenty seconds away.
            thread = threading.Thread(target=self._run, name="pictofs-calls", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self, *, wait: bool = True) -> None:
        """Nothing comes any more; `wait` for the calls that were submitted."""
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, told = job
            try:
                outcome = call()
            except PictofsError as error:
                outcome = error
            except Exception as error:  # noqa: BLE001 -- raised by the thread that reads the word
                outcome = error
            told(outcome)
