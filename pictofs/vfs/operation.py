"""One operation from its first attempt to its one answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pictofs.tree.need import Asked, Key, Need, key_of
from pictofs.vfs.errnos import INTERRUPTED, errno_of
from pictofs.vfs.types import Done, Fail
from pictofs.vfs.waiting import Waits

T = TypeVar("T")
V = TypeVar("V")

_log = logging.getLogger(__name__)

# An operation that is answered and still lacks something goes on needing; a fault must not make it endless.
MOST_NEEDS = 64


class Operation(Generic[T]):
    """Runs `attempt` again with each answer until it returns, fails, or is interrupted.

    `attempt(asked)` returns the value, or raises Need for what is missing. `done` or `fail` is called exactly
    once. `resolves`: a lookup, worth another try whenever a page of the awaited listing arrives.
    """

    __slots__ = ("_asked", "_attempt", "_done", "_fail", "_key", "_waits", "ended", "known", "needs",
                 "resolves", "started_s", "waiting_since_s")

    def __init__(
        self, waits: Waits, attempt: Callable[[Asked], T], done: Done[T], fail: Fail, now_s: float,
        resolves: bool = False,
    ) -> None:
        self._waits = waits
        self._attempt = attempt
        self._done = done
        self._fail = fail
        self._asked = Asked()
        self._key: Key | None = None
        self.started_s = now_s
        self.waiting_since_s = now_s
        self.known = False
        self.resolves = resolves
        self.ended = False
        self.needs = 0

    def begin(self, need: Need) -> None:
        """Starts to wait for what the first attempt lacked."""
        self._wait(need)

    def resume(self, key: Key, answer: dict[str, Any] | None) -> None:
        """`key` was answered: run again."""
        if not self.ended:
            self._asked.note(key, answer)
            self._key = None
            self._run()

    def retry(self) -> None:
        """Something moved: run again, still waiting for the same if that was not enough."""
        if self.ended or self._key is None:
            return
        try:
            value = self._attempt(self._asked)
        except Need as need:
            if key_of(need.request) == self._key:
                return
            self._waits.leave(self, self._key)
            self._wait(need)
        except Exception as error:  # noqa: BLE001 - the boundary: every operation ends in an errno
            self._waits.leave(self, self._key)
            self.end(errno_of(error))
        else:
            self._waits.leave(self, self._key, satisfied=True)
            self._finish(value)

    def end(self, errno: int) -> None:
        """It fails."""
        if not self.ended:
            self.ended = True
            self._tell(self._fail, errno)

    def interrupt(self) -> None:
        """The reader gave up: EINTR now, and what nobody else wants is cancelled."""
        if not self.ended:
            if self._key is not None:
                self._waits.leave(self, self._key)
            self.end(INTERRUPTED)

    def _run(self) -> None:
        try:
            value = self._attempt(self._asked)
        except Need as need:
            self._wait(need)
        except Exception as error:  # noqa: BLE001 - the boundary: every operation ends in an errno
            self.end(errno_of(error))
        else:
            self._finish(value)

    def _wait(self, need: Need) -> None:
        self.needs += 1
        if self.needs > MOST_NEEDS:
            self.end(errno_of(RuntimeError(f"an operation goes on needing {need.request!r}")))
            return
        self._key = key_of(need.request)
        self._waits.wait(self, need)

    def _finish(self, value: T) -> None:
        self.ended = True
        self._tell(self._done, value)

    def _tell(self, callback: Callable[[V], None], value: V) -> None:
        try:
            callback(value)
        except Exception:  # noqa: BLE001 - logged, with its traceback
            # the fault of one driver callback must not cost the others that the same message answers
            _log.exception("a driver's callback failed")


