"""A loop for one thread: descriptors, signals and timers, in that order of urgency, and nothing else.

Signals arrive through a wake-up descriptor, so a handler never runs in the middle of something. What fails
for want of descriptors, processes or room on a disk ends nothing: it is logged and called again.
"""

from __future__ import annotations

import logging
import os
import select
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial

_log = logging.getLogger(__name__)

Act = Callable[[], None]
RETRY_S = 1.0  # before what failed is called again


class Events:
    """`run` calls what was registered until `finish`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: dict[str, tuple[float, Act]] = {}
        self._signals: dict[int, Act] = {}
        self._former: dict[int, object] = {}
        self._wake: tuple[int, int] | None = None
        self._former_wake = -1
        self._finished = False
        self._mountinfo = -1
        self._changes: select.epoll | None = None
        self._faults: set[tuple[type[OSError], int | None]] = set()

    def on_signals(self, acts: dict[int, Act]) -> None:
        """Take these signals from now on."""
        receive, send = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake = receive, send
        self._former_wake = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
        self._signals = acts
        for number in acts:
            self._former[number] = signal.signal(number, lambda *_: None)
        self._selector.register(receive, selectors.EVENT_READ, self._signalled)

    def on_readable(self, descriptor: int, act: Act) -> None:
        """Call `act` whenever `descriptor` is readable or has ended."""
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def on_mounts_changed(self, act: Act) -> None:
        """Call `act` after something was mounted or unmounted in our namespace; never where nobody can tell.
        """
        try:
            self._mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        # mountinfo is "readable" always and has priority data when it changed: only epoll can wait for that
        # alone.
        self._changes = select.epoll()
        self._changes.register(self._mountinfo, select.EPOLLPRI | select.EPOLLET)
        self._changes.poll(0)

        def changed() -> None:
            # The look by which our selector saw it has consumed it: a look of our own would find nothing.
            if self._changes is not None:
                self._changes.poll(0)
                act()

        self._selector.register(self._changes, selectors.EVENT_READ, changed)

    def forget(self, descriptor: int) -> None:
        """No longer; before it is closed."""
        self.cancel((_pause(descriptor),))
        try:
            self._selector.unregister(descriptor)
        except KeyError:
            pass

    def after(self, name: str, delay_s: float, act: Act) -> None:
        """Call `act` once, later; a timer of the same name is replaced."""
        self._timers[name] = self._clock() + delay_s, act

    def cancel(self, names: Iterable[str]) -> None:
        """Forget these timers."""
        for name in names:
            self._timers.pop(name, None)

    def finish(self) -> None:
        """Let `run` return after what it is doing."""
        self._finished = True

    def run(self) -> None:
        """Until `finish`."""
        while not self._finished:
            due = min((when for when, _ in self._timers.values()), default=None)
            ready = self._selector.select(None if due is None else max(0.0, due - self._clock()))
            for key, _ in ready:
                if not self._finished and key.fd in self._selector.get_map():
                    self._try(key.data, partial(self._rest, key.fd, key.data))
            now = self._clock()
            for name in [name for name, (when, _) in self._timers.items() if when <= now]:
                timer = self._timers.pop(name, None)
                if timer is not None and not self._finished:
                    self._try(timer[1], partial(self._later, name, timer[1]))

    def close(self, *, forked: bool = False) -> None:
        """Give the signals back; in a forked child to their defaults, since the former handlers are the
        parent's.
        """
        if self._wake is not None:
            signal.set_wakeup_fd(-1 if forked else self._former_wake)
            for number, former in self._former.items():
                signal.signal(number, signal.SIG_DFL if forked else former)  # type: ignore[arg-type]
            for descriptor in self._wake:
                os.close(descriptor)
            self._wake = None
        if self._changes is not None:
            self._changes.close()
            os.close(self._mountinfo)
            self._changes = None
        self._selector.close()

    def _signalled(self) -> None:
        assert self._wake is not None
        try:
            numbers = os.read(self._wake[0], 64)
        except BlockingIOError:
            return
        for number in dict.fromkeys(numbers):
            act = self._signals.get(number)
            if act is not None:
                self._try(act, partial(self._later, f"signal {number}", act))

    def _try(self, act: Act, again: Act) -> None:
        try:
            act()
        except OSError as error:
            fault = type(error), error.errno
            _log.error("%s; tried again in %g s", error, RETRY_S, exc_info=fault not in self._faults)
            self._faults.add(fault)
            if not self._finished:
                again()

    def _later(self, name: str, act: Act) -> None:
        if name not in self._timers:  # else it has seen to that itself
            self.after(name, RETRY_S, act)

    def _rest(self, descriptor: int, act: Act) -> None:
        """It stays readable: without a pause this would be all that is done."""
        key = self._selector.get_map().get(descriptor)
        if key is not None and key.data is act:
            self._selector.unregister(descriptor)
            self.after(_pause(descriptor), RETRY_S, lambda: self.on_readable(descriptor, act))


def _pause(descriptor: int) -> str:
    return f"descriptor {descriptor}"
