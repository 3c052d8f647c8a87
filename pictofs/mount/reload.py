"""A live mount follows its settings and keys: at SIGHUP, and by itself once the service refuses the key.

    asked, or refused ──read again──▶ another key, or settings that can be followed
                                        └── the serving process attaches with them ──▶ followed
                                              └── refused: all stays as it was, and the log says why

The new key is tried before the old one is given up. A key that is refused is looked for again after
`LOOKS_S`, in its file or credential; a command is run once for each refusal, since it may ask a person.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from pictofs import secrets
from pictofs.mount import handover, logs
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.events import Events
from pictofs.mount.notify import notify
from pictofs.mount.plan import Plan
from pictofs.mount.rereading import Difference, Rereading, difference
from pictofs.mount.server import Server
from pictofs.mount.supply import Supply

_log = logging.getLogger(__name__)

LOOKS_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # the last one again and again
ATTACH_LIMIT_S = 60.0
RETRY_S = 1.0  # before a mount that does not answer at present is asked again
_TIMERS = ("look again", "reload", "no answer")


class Reload:
    """`plan` is the one that is followed at present; `server` and `supply` are told of another. Settings
    take effect by another serving process on the same descriptor, where `kernel` lets it be replaced.
    """

    def __init__(
        self, plan: Plan, events: Events, server: Server, supply: Supply, kernel: KernelMount | None
    ) -> None:
        self.plan = plan
        self._events = events
        self._server = server
        self._supply = supply
        self._kernel = kernel
        self._reading = Rereading(events, read=self._read, failed=self._failed)
        self._asked = False    # by a person, who wants to find something in the log
        self._refused = False  # the service refuses the key
        self._again = False    # while something was under way
        self._looks = 0
        self._refused_keys: tuple[str, ...] = ()
        self._next: Difference | None = None

    @property
    def busy(self) -> bool:
        """Something is being read, or tried."""
        return self._reading.busy or self._next is not None

    def ask(self, answers: Callable[[], bool]) -> None:
        """SIGHUP: read again and follow, once the mount `answers`."""
        if not answers():
            self._events.after("reload", RETRY_S, lambda: self.ask(answers))
            return
        _log.info("reading settings and keys again")
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._asked = True
        if self.busy:
            self._again = True  # what is under way may have begun before the change
        else:
            self._reading.start(self.plan)

    def heard(self, word: dict[str, Any]) -> None:
        """Word of the serving process: the service refuses the key, or takes it; attached, or not."""
        said = word["say"]
        if said == "refused":
            self._refuse()
        elif said == "accepted":
            self._accept()
        elif said == "reloaded":
            self._done(word)

    def _refuse(self) -> None:
        """Perhaps there is another key by now."""
        if not self._refused:
            self._refused, self._looks, self._refused_keys = True, 0, self.plan.api_keys
            self._look()

    def _accept(self) -> None:
        self._refused = False
        self._events.cancel(("look again",))

    def _done(self, word: dict[str, Any]) -> None:
        tried, self._next = self._next, None
        self._events.cancel(("no answer",))
        if tried is None:
            return
        if word["error"]:
            _log.error("%s; the mount goes on as it was", word["error"])
            self._refused_keys = tried.plan.api_keys
        else:
            for note in word["notes"]:
                _log.warning("%s", note)
            self._accept()
            _log.info("followed: %s", _told(tried))
            self._follow(tried)
        self._settle()

    def stop(self) -> None:
        """No more of it."""
        self._reading.stop()
        self._events.cancel(_TIMERS)

    def let_go(self) -> None:
        """In a forked child."""
        self._reading.let_go()

    # within

    def _look(self) -> None:
        if self._refused and not self.busy:
            self._reading.start(self.plan)

    def _read(self, now: Plan) -> None:
        found = difference(self.plan, now)
        if found.left and self._asked:
            _log.warning("%s: changed, and takes unmounting and mounting again", ", ".join(found.left))
        if not self._asked and not (found.keys and found.plan.api_keys != self._refused_keys):
            self._settle()
            return
        secrets.remember(*found.plan.api_keys)
        self._next = found
        self._events.after("no answer", ATTACH_LIMIT_S, lambda: self._done({"error": "no answer"}))
        self._server.say("reload", plan=handover.written(found.plan))

    def _follow(self, found: Difference) -> None:
        self.plan = found.plan
        self._server.follow(found.plan)
        self._supply.follow(found.plan)
        if not found.followed:
            return
        logs.configure(found.plan.settings, "supervisor", found.plan.log)
        if self._kernel is not None and self._kernel.resends:
            self._server.replace()
        else:
            _log.warning(
                "no hand-over here (it takes driver=kernel, Linux 6.9): the fetching process follows these "
                "settings, the mount does after unmounting and mounting again"
            )

    def _failed(self, why: str) -> None:
        _log.log(logging.ERROR if self._asked else logging.DEBUG, "%s; the mount goes on as it was", why)
        self._settle()

    def _settle(self) -> None:
        if self._again:
            self._again = False
            self._reading.start(self.plan)
            return
        if self._asked:
            self._asked = False
            notify("READY=1")
        commands = any(profile.key.command is not None for profile in self.plan.settings.profiles)
        if self._refused and not commands:
            pause_s = LOOKS_S[min(self._looks, len(LOOKS_S) - 1)]
            self._looks += 1
            self._events.after("look again", pause_s, self._look)


def _told(found: Difference) -> str:
    what = (["another key"] if found.keys else []) + list(found.followed)
    return ", ".join(what) if what else "nothing has changed; the service was asked again"
