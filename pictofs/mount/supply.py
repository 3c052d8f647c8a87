"""A fetching process for one mount: found where another's serves, else started, replaced when it ends."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from pictofs.mount import handover, record
from pictofs.mount.events import Events
from pictofs.mount.fetching import FetchingProcess, Outcome
from pictofs.mount.handover import Before
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)

RETRY_S = 5.0  # before a process that could not be started is tried again
DRAIN_LIMIT_S = 3.0  # an older process, to write down what it has


class Supply:
    """Sees that some process fetches, when `seek` is called.

    `found()`: one answers; `failed(outcome)`: the one that was started does not, or none can be started;
    `died(lived_s)`: the one that was started here has ended, so long after it answered.
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
        try:
            held = bool(self._process.pid) or self._process.held()
            if not held:
                self._process.start()
        except OSError as error:
            self._events.after("fetching", RETRY_S, self.seek)
            self._failed(Outcome(False, f"no fetching process can be started: {error}"))
            return
        if held:
            self._found()
            return
        self._since_s = 0.0
        self._events.on_readable(self._process.ready_fd, self._told)

    def take_over(self, before: Before) -> None:
        """Go on with the former program's, unless it is older than this one: then it ends."""
        older = handover.older(str(before.attached.get("version", before.version)))
        if before.fetching:
            self._process.adopt(before.fetching)
            self._since_s = time.monotonic()
            if older:
                self._process.stop(DRAIN_LIMIT_S)
        elif older:
            self._end_others(int(before.attached.get("fetching", 0)), before.attached.get("fetching_started"))

    def follow(self, plan: Plan) -> None:
        """What is started from now on has this plan."""
        self._process.follow(plan)

    def dump(self, attached: Mapping[str, Any]) -> None:
        """Have the process that was attached to, whoever started it, write its state to its log."""
        pid = int(attached.get("fetching", 0))
        try:
            if pid > 0 and not self.starting and record.start_ticks(pid) == attached.get("fetching_started"):
                os.kill(pid, signal.SIGUSR1)
        except OSError as error:
            _log.warning("the fetching process %d cannot be asked for its state: %s", pid, error.strerror)

    def reap(self) -> None:
        """A child has ended: perhaps this one."""
        if self._process.ended():
            self._died(time.monotonic() - self._since_s if self._since_s else 0.0)

    def stop(self, limit_s: float) -> None:
        """End what was started here."""
        self._process.stop(limit_s)

    def let_go(self) -> None:
        """In a forked child: it is the supervisor's."""
        self._process.let_go()

    def _end_others(self, pid: int, started: object) -> None:
        """Another mount's: who needs it elects a new one, as after any end of it."""
        try:
            if pid > 0 and record.start_ticks(pid) == started and self._process.held():
                os.kill(pid, signal.SIGTERM)
        except OSError as error:
            _log.warning("the older fetching process %d could not be ended: %s", pid, error.strerror)

    def _told(self) -> None:
        self._events.forget(self._process.ready_fd)
        outcome = self._process.outcome()
        if outcome.answers:
            self._since_s = time.monotonic()
            self._found()
        else:
            self._failed(outcome)
