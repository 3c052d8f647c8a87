"""The watch over the serving process: whether its loop hangs, and whether it has ended without a word.

It looks from outside, at what the loop writes into shared memory and at the descriptor both hold: a loop that
is well pays nothing for it. Two ways to hang are told apart from a mount that nobody uses:

    busy       one request has been in hand for too long
    deaf       requests have been waiting at the descriptor, and none was taken
    stopped    by a signal; then it may also have taken a request and not know it yet
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from pictofs.drivers.kernel.shared import gone
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.events import Events

_log = logging.getLogger(__name__)

LIMIT_S = 30.0  # no request is answered as late as that: every wait ends within `timeout`, and off the loop
LOOK_S = 1.0
_DUMP_S = 0.5  # what faulthandler has for writing the stacks down


@dataclass(slots=True)
class Silence:
    """For how long a loop has said nothing to those who wait. Pure."""

    since_s: float = 0.0
    requests: int = -1

    def look(self, now_s: float, busy_s: float, waiting: bool, requests: int) -> float:
        """What is seen now: seconds at the request in hand, whether others may wait, requests taken."""
        if not waiting or requests != self.requests:
            self.since_s, self.requests = now_s, requests
        return max(busy_s, now_s - self.since_s)


class Watch:
    """Over one serving process after another; `ended()` is called for one that has gone unnoticed."""

    def __init__(
        self, kernel: KernelMount, events: Events, limit_s: float, ended: Callable[[], None]
    ) -> None:
        self._kernel = kernel
        self._events = events
        self._limit_s = limit_s
        self._look_s = min(LOOK_S, limit_s / 4)
        self._ended = ended
        self._pid = 0
        self._silence = Silence()

    def over(self, pid: int) -> None:
        """From now on over `pid`, which serves; 0: over none."""
        self._pid, self._silence = pid, Silence()
        self._events.cancel(("watch", "dumped"))
        if pid:
            self._events.after("watch", self._look_s, self._look)

    def _look(self) -> None:
        if gone(self._pid):
            self._ended()
            return
        shared = self._kernel.shared
        silent_s = self._silence.look(
            time.monotonic(),
            shared.silent_s(),
            _readable(self._kernel.fd) or _stopped(self._pid),
            sum(shared.requests().values()),
        )
        if silent_s > self._limit_s:
            _log.error("the serving process has been silent for %.0f s and is replaced", silent_s)
            pid = self._pid
            os.kill(pid, signal.SIGUSR1)
            os.kill(pid, signal.SIGCONT)  # one that was stopped writes its stacks down too
            self._events.after("dumped", _DUMP_S, lambda: os.kill(pid, signal.SIGKILL))
            self._silence = Silence()
        self._events.after("watch", self._look_s, self._look)


def _readable(descriptor: int) -> bool:
    """Whether a request waits to be read."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return any(state & select.POLLIN for _, state in poller.poll(0))


def _stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"T"
    except FileNotFoundError:
        return False


def ended_within(pid: int, limit_s: float) -> bool:
    """Wait for a child that was killed; whether it is reaped.

    One that can answer nothing any more is not waited for longer: held in a notification, it cannot be reaped
    until its successor has answered (`shared.gone`).
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if gone(pid) or time.monotonic() > deadline_s:
            return False
        time.sleep(0.002)
