"""A fetching process for one mount: found where another's serves, else started, replaced when it ends."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from pictofs.mount import handover
from pictofs.mount.events import Events
from pictofs.mount.fetching import FetchingProcess, Outcome
from pictofs.mount.handover import Before
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)

DRAIN_LIMIT_S = 3.0  # an older process, to write down what it has


class Supply:
    """Sees that some process fetches, when `seek` is called.

    `found()`: one answers; `failed(outcome)`: the one that was started does not; `died(lived_s)`: the
    one that was started here has ended.
    """

    def __init__(
        self,
        plan: Plan,
        events: Events,
        *,
        found: Callable[[], None],
        failed: Callable[[Outcome], None],
        died: Callable[[float], None],
    ) -> None:
        self._process = FetchingProcess(plan)
        self._events = events
        self._found = found
        self._failed = failed
        self._died = died
        self._since_s = 0.0

    @property
    def pid(self) -> int:
        """The process that was started here; 0 for none."""
        return self._process.pid

    @property
    def starting(self) -> bool:
        """Whether one has been started that has not answered yet."""
        return self._process.ready_fd >= 0

    def seek(self) -> None:
        """Find one, or start one."""
        if self.starting:
            return
        if self._process.pid or self._process.held():
            self._found()
            return
        self._process.start()
        self._since_s = time.monotonic()
        self._events.on_readable(self._process.ready_fd, self._told)

    def take_over(self, before: Before) -> None:
        """Go on with the former program's, unless it is older than this one: then it ends."""
        older = handover.older(str(before.attached.get("version", before.version)))
        if before.fetching:
            self._process.adopt(before.fetching)
            self._since_s = time.monotonic()
            if older:
                self._process.stop(DRAIN_LIMIT_S)
        elif older and self._process.held():
            try:
                # Another mount's: who needs it elects a new one, as after any end of it.
                os.kill(int(before.attached["fetching"]), signal.SIGTERM)
            except (KeyError, ProcessLookupError):
                pass  # it has never been attached, or has gone meanwhile

    def reap(self) -> None:
        """A child has ended: perhaps this one."""
        if self._process.ended():
            self._died(time.monotonic() - self._since_s)

    def stop(self, limit_s: float) -> None:
        """End what was started here."""
        self._process.stop(limit_s)

    def let_go(self) -> None:
        """In a forked child: it is the supervisor's."""
        self._process.let_go()

    def _told(self) -> None:
        self._events.forget(self._process.ready_fd)
        outcome = self._process.outcome()
        if outcome.answers:
            self._found()
        else:
            self._failed(outcome)
