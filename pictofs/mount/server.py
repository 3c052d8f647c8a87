"""The serving process as its supervisor sees it: a fork, the line to it, the watch over it, and its end.

A fork, so that replacing one costs milliseconds. Of a former program of this process (an upgrade) there may
be one more, which goes on serving until the first of ours takes the kernel's descriptor over.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from pictofs.mount import assembly, serving, watch
from pictofs.mount.channel import Channel
from pictofs.mount.deaths import how
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.events import Events
from pictofs.mount.handover import Before
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)

KILLED_LIMIT_S = 1.0  # a process that was killed
DUMP_LIMIT_S = 2.0  # one that was asked where it stands
REPLACED = "replaced"  # how one ended that another was wanted for


class Server:
    """At most one child at a time, but for those that the kernel holds beyond their end.

    `let_go()` is called in the fork, for what is the supervisor's; `heard(word)` for each word of the child;
    `ended(how, in order, seconds that it has answered)` when it has ended.
    """

    def __init__(
        self,
        plan: Plan,
        events: Events,
        driver: str,
        kernel: KernelMount | None,
        *,
        silence_limit_s: float,
        let_go: Callable[[], None],
        heard: Callable[[dict[str, Any]], None],
        ended: Callable[[str, bool, float], None],
    ) -> None:
        self._plan = plan
        self._events = events
        self._driver = driver
        self._kernel = kernel
        self._let_go = let_go
        self._heard = heard
        self._ended = ended
        self._watch: watch.Watch | None = None
        if kernel is not None:
            self._watch = watch.Watch(kernel, events, silence_limit_s, self._lost)
        self.pid = 0
        self._channel: Channel | None = None
        self._since_s = 0.0
        self._lingering: list[int] = []
        self._replaced = False
        self._before: Before | None = None

    def start(self, restarts: int, known: Mapping[str, Any]) -> None:
        """Fork one; what it says is heard from now on. `known`: what a former one said as it was attached."""
        ours, theirs = Channel.pair()
        supervisor = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            facts = assembly.Facts(
                self._plan, self._driver, self._plan.settings.io, supervisor, restarts=restarts
            )
            serving.become(self._plan, theirs, self._kernel, facts, known, lambda: self._apart(ours))
        theirs.close()
        self._channel, self.pid, self._since_s = ours, pid, 0.0
        self._events.on_readable(ours.fileno(), self._hear)

    def _apart(self, ours: Channel) -> None:
        self._let_go()
        ours.close()
        if self._kernel is not None:
            self._kernel.let_go()

    def follow(self, plan: Plan) -> None:
        """Whoever is started from now on has this plan."""
        self._plan = plan

    def say(self, word: str, *, fd: int | None = None, **content: Any) -> None:
        """A word to the child; lost when there is none."""
        if self._channel is not None:
            self._channel.send(word, fd=fd, **content)

    def watch(self) -> None:
        """It answers: see that it goes on doing so."""
        self._since_s = time.monotonic()
        if self._watch is not None:
            self._watch.over(self.pid)

    def unwatch(self) -> None:
        """It may be silent now."""
        if self._watch is not None:
            self._watch.over(0)

    def replace(self) -> None:
        """End it for another, with the plan that is followed now."""
        self._replaced = bool(self.pid)
        self.kill(signal.SIGKILL)

    def dump(self) -> None:
        """Have it write to the log where it stands; one whose threads are stuck does so by faulthandler."""
        if self.pid:
            self.say("dump")
            self._events.after("dump", DUMP_LIMIT_S, lambda: self.kill(signal.SIGUSR1))

    def kill(self, number: int) -> None:
        """Send it a signal, if there is one."""
        if self.pid:
            os.kill(self.pid, number)

    def reap(self) -> None:
        """A child has ended: perhaps this one."""
        self._lingering = [pid for pid in self._lingering if not os.waitpid(pid, os.WNOHANG)[0]]
        if self.pid:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._gone(how(status), os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0)

    def end(self, limit_s: float) -> None:
        """Kill what there is and wait for it, within reason."""
        self.dismiss()
        self.unwatch()
        self.kill(signal.SIGKILL)
        if self.pid:
            watch.ended_within(self.pid, limit_s)
        self.pid = 0
        self._hang_up()

    # another program in our place

    def holds(self) -> tuple[int, int]:
        """(process, descriptor of the line to it), for the program that comes next; 0 and -1 for none."""
        return self.pid, self._channel.fileno() if self._channel is not None else -1

    def succeed(self, before: Before) -> None:
        """The former program's child goes on until `dismiss`."""
        self._before = before

    def dismiss(self) -> None:
        """End the former program's child, if it is still there: from here on another answers."""
        before, self._before = self._before, None
        if before is None:
            return
        os.kill(before.serving, signal.SIGKILL)
        if not watch.ended_within(before.serving, KILLED_LIMIT_S):
            self._lingering.append(before.serving)
        os.close(before.channel)

    # within

    def _hear(self) -> None:
        assert self._channel is not None
        words = self._channel.receive()
        if words is None:
            self._hang_up()
            return
        for word in words:
            if word["say"] == "dumped":
                self._events.cancel(("dump",))
                continue
            try:
                self._heard(word)
            except OSError:
                # It may wait for what could not be done; its successor is told anew.
                _log.exception("%r of the serving process could not be acted on", word["say"])
                self.kill(signal.SIGKILL)

    def _lost(self) -> None:
        """It has ended and cannot be reaped: the kernel holds a thread of its until a successor answers."""
        self._lingering.append(self.pid)
        self._gone("killed", False)

    def _gone(self, how_it_ended: str, in_order: bool) -> None:
        self.pid = 0
        self._hang_up()
        self.unwatch()
        self._events.cancel(("dump",))
        if self._replaced:
            how_it_ended, self._replaced = REPLACED, False
        lived_s = time.monotonic() - self._since_s if self._since_s else 0.0
        self._ended(how_it_ended, in_order, lived_s)

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._events.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None
