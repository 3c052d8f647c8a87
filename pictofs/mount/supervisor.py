"""The supervisor of one mount: holds the descriptor, starts the two other processes, restarts what dies.

It waits for events in one thread and decides; what it decides about is small:

    starting ── attached ──→ mounting ── ready ──→ up ── SIGTERM, SIGINT or unmounted ──→ stopping ──→ gone
       └── failed: everything is taken back and the reason goes to the person

`supply` sees that some process fetches. A serving process that dies is replaced: with the kernel driver on
the same descriptor, which the kernel then asks again; with fusepy, and before Linux 6.9, by a lazy unmount
and a new mount. An upgrade is the same, with a program that takes this one's place (`handover`).
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from pictofs import drivers, stacks
from pictofs.errors import PictofsError
from pictofs.mount import handover, mountpoint, record, upgrade, watch
from pictofs.mount.background import Failed
from pictofs.mount.deaths import Deaths
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.events import Events
from pictofs.mount.fetching import Outcome
from pictofs.mount.handover import Before
from pictofs.mount.notify import keep_watchdog, notify, watchdog_s
from pictofs.mount.overlay import Overlay
from pictofs.mount.plan import Plan
from pictofs.mount.reload import Reload
from pictofs.mount.server import REPLACED, Server
from pictofs.mount.supply import Supply

_log = logging.getLogger(__name__)

BUSY_LIMIT_S = 2.0  # how long a stop waits for readers to leave before it unmounts lazily
DRAIN_LIMIT_S = 5.0  # and how long readers that are inside may go on after that
RETRY_S = 1.0  # before what the system refused is tried again
END_LIMIT_S = 3.0  # a process that was asked to end


class Supervisor:
    """One mount from its claim to its end. `run` returns the exit code.

    `ready(notes)` is called once, when the mount answers; `let_go()` in every forked child, for what the
    caller holds that a child must not. `before`: a former program of this process, whose mount goes on.
    A serving loop that is silent for `silence_limit_s` hangs.
    """

    def __init__(
        self,
        plan: Plan,
        ready: Callable[[list[str]], None],
        let_go: Callable[[], None] = lambda: None,
        *,
        before: Before | None = None,
        silence_limit_s: float = watch.LIMIT_S,
    ) -> None:
        self._ready = ready
        self._let_go = let_go
        self._events = Events()
        self._supply = Supply(
            plan, self._events,
            found=self._tell_link, failed=self._fetching_failed, died=self._fetching_ended,
        )  # fmt: skip
        self._file = record.RecordFile(plan.run_dir, plan.mountpoint)
        self._before = before
        self._driver = drivers.choose(plan.settings) if before is None else before.driver
        self._kernel = KernelMount() if self._driver == "kernel" else None
        self._server = Server(
            plan, self._events, self._driver, self._kernel, silence_limit_s=silence_limit_s,
            let_go=self._apart, heard=self._heard, ended=self._serving_ended,
        )  # fmt: skip
        self._reload = Reload(plan, self._events, self._server, self._supply, self._kernel)
        self._overlay: Overlay | None = None
        if plan.settings.overlay is not None:
            self._overlay = Overlay(plan.settings, plan.mountpoint, plan.beneath, self._events)
        self._deaths = {"serving": Deaths(), "fetching": Deaths()}
        self._io = plan.settings.io
        self._restarts = before.restarts if before is not None else 0
        self._upgrades = before.upgrades + 1 if before is not None else 0
        self._attached: dict[str, Any] = before.attached if before is not None else {}
        self._attach_first = True  # nothing is served before the fetching process of this program has said so
        self._up = before is not None  # it was ready once
        self._answers = False  # and the present serving process is
        self._stopping = False
        self._code = 0
        self._failure: Failed | None = None

    @property
    def _plan(self) -> Plan:
        return self._reload.plan

    def run(self) -> int:
        """Mount, stay until unmounted, leave nothing behind. Failed when it never came up."""
        self._file.claim(self._before.lock if self._before is not None else None)
        try:
            self._events.on_signals(
                {
                    signal.SIGTERM: lambda: self._stop("SIGTERM", 0),
                    signal.SIGINT: lambda: self._stop("SIGINT", 130),
                    signal.SIGCHLD: self._reap,
                    signal.SIGHUP: lambda: self._reload.ask(lambda: self._answers),
                    signal.SIGUSR1: self._dump,
                    signal.SIGUSR2: self._upgrade,
                }
            )
            signal.pthread_sigmask(signal.SIG_UNBLOCK, handover.SIGNALS)
            if self._before is not None:
                self._take_over(self._before)
            self._write_record()
            self._start_serving()
            self._find_fetching()
            keep_watchdog(self._events, watchdog_s())
            self._events.run()
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure
        return self._code

    # The serving process

    def _start_serving(self) -> None:
        if self._stopping:
            return
        self._answers = False
        try:
            self._server.start(self._restarts, {} if self._attach_first else self._attached)
        except OSError as error:
            self._cannot("start a serving process", error, self._replace_serving)
        self._write_record()

    def _cannot(self, what: str, error: OSError, act: Callable[[], None]) -> None:
        """For want of processes, descriptors, room: a mount does not come up for it, nor end for it."""
        self._events.after(what, RETRY_S, act)
        _log.error("the supervisor cannot %s: %s", what, error)
        if not self._up:
            self._fail(f"the supervisor cannot {what}: {error}", 1)

    def _apart(self) -> None:
        """In the serving process."""
        self._events.close(forked=True)
        self._file.release()
        self._supply.let_go()
        self._reload.let_go()
        self._let_go()

    def _heard(self, word: dict[str, Any]) -> None:
        said = word["say"]
        if said == "attached":
            self._on_attached(word)
        elif said == "failed":
            self._on_failed(word)
        elif said == "ready":
            self._on_ready(word)
        elif said == "link_lost":
            self._find_fetching()
        elif said == "linked":
            self._attached |= {name: word[name] for name in ("fetching", "fetching_started", "version")}
            self._write_record()
        elif said in ("refused", "accepted", "reloaded"):
            self._reload.heard(word)
        elif said == "changed" and self._overlay is not None and not self._stopping:
            self._overlay.changed()
        elif said == "gone":
            self._stop("unmounted", 0)

    def _mounts_changed(self) -> None:
        # By somebody: the kernel tells the serving process only once no namespace has a copy.
        if self._answers and not self._still_mounted():
            self._stop("unmounted", 0)

    def _on_attached(self, word: dict[str, Any]) -> None:
        self._attached, self._attach_first = word, False
        if self._kernel is not None:
            try:
                if self._overlay is not None and self._kernel.negotiated is None:
                    self._overlay.make_room()
                self._kernel.mount(self._plan)
            except PictofsError as error:
                self._fail(str(error), error.exit_code)
                return
            self._server.dismiss()
            self._server.say("serve", fd=self._kernel.fd, **self._kernel.state())
        self._write_record()

    def _on_failed(self, word: dict[str, Any]) -> None:
        if self._up:
            _log.error("%s", word["error"])
        else:
            self._fail(word["error"], word["exit_code"])

    def _on_ready(self, word: dict[str, Any]) -> None:
        self._io = word["io"]
        if self._overlay is None or self._overlay.mounted:
            self._answering(None)
        else:
            self._overlay.mount(self._answering)

    def _answering(self, error: PictofsError | None) -> None:
        if error is not None:
            self._fail(str(error), error.exit_code)
            return
        first, self._up, self._answers = not self._up, True, True
        self._write_record()
        self._server.watch()
        if not first:
            _log.warning("serving again, after %d restarts", self._restarts)
            return
        _log.info("%s is mounted", self._plan.mountpoint)
        self._events.on_mounts_changed(self._mounts_changed)
        self._ready([*self._attached.get("notes", []), *(self._kernel.notes if self._kernel else [])])
        notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving {self._plan.mountpoint}")

    def _serving_ended(self, how_it_ended: str, in_order: bool, lived_s: float) -> None:
        self._answers = False
        self._events.cancel(("kill",))
        if self._stopping:
            self._finish_if_done()
            return
        if how_it_ended == REPLACED:
            self._replace_serving()
            return
        if not self._up:
            self._fail(f"the serving process ended ({how_it_ended}); see the log", 1)
            return
        if in_order if self._driver == "fusepy" else not self._still_mounted():
            self._stop("unmounted", 0)
            return
        _log.error("the serving process ended (%s) and is replaced", how_it_ended)
        if self._kernel is None or not self._kernel.resends:
            self._mount_anew()
        self._again("serving", lived_s, self._replace_serving)

    def _mount_anew(self) -> None:
        """What the kernel has asked it will not ask again: that fails, and so do the files that are open."""
        _log.warning("no hand-over here (it takes driver=kernel, Linux 6.9): unmounting and mounting anew")
        if self._still_mounted():
            mountpoint.let_go(self._plan.mountpoint, lazy=True)
        if self._kernel is not None:
            self._kernel.forsake()
        if self._overlay is not None:
            self._overlay.rest()
            self._overlay.mounted = False

    def _replace_serving(self) -> None:
        self._start_serving()
        self._find_fetching()

    def _again(self, which: str, lived_s: float, act: Callable[[], None]) -> None:
        self._restarts += 1
        if (delay_s := self._deaths[which].delay_s(lived_s)) is not None:
            self._events.after(which, delay_s, act)
            return
        _log.critical("the %s process ends again and again; the mount is given up", which)
        self._stop("given up", 1)

    # The fetching process

    def _find_fetching(self) -> None:
        """See that some process fetches, then tell the serving process to connect."""
        if not self._stopping:
            self._supply.seek()

    def _tell_link(self) -> None:
        self._write_record()
        self._server.say("link", restarts=self._restarts)

    def _fetching_failed(self, outcome: Outcome) -> None:
        if not self._up:
            self._fail(outcome.error, outcome.exit_code)
        else:
            _log.error("%s", outcome.error)  # its end is reaped, and it is tried again

    def _fetching_ended(self, lived_s: float) -> None:
        if not self._stopping:
            _log.warning("the fetching process ended and is replaced")
            self._again("fetching", lived_s, self._find_fetching)

    def _reap(self) -> None:
        self._supply.reap()
        self._server.reap()

    def _dump(self) -> None:
        _log.info("state dump: %s; stacks\n%s", self._as_record(), stacks.of_threads())
        self._server.dump()
        self._supply.dump(self._attached)

    # Another program in our place

    def _upgrade(self) -> None:
        if self._stopping:
            return
        if not self._answers or self._supply.starting or self._reload.busy:
            self._events.after("upgrade", 0.1, self._upgrade)  # in between there is nothing to hand over
            return
        program = upgrade.wanted(self._plan.run_dir, self._plan.mountpoint)
        if program is None:
            return
        before = Before(
            self._plan, self._driver, self._io, self._restarts, self._upgrades, self._file.lock,
            *self._server.holds(), self._supply.pid, attached=self._attached,
        )  # fmt: skip
        if self._kernel is not None:
            before = before.holding(*self._kernel.held())
        if self._overlay is not None:
            self._overlay.settle()
        try:
            handover.execute(before, program.python, program.pythonpath)
        except OSError as error:
            _log.error("%s cannot be executed (%s); this program goes on", program.python, error.strerror)

    def _take_over(self, before: Before) -> None:
        self._supply.take_over(before)
        self._server.succeed(before)
        if self._overlay is not None:
            self._overlay.mounted = True
        if self._kernel is not None:
            self._kernel.adopt(before.fuse, before.shared, before.negotiated)
        if self._kernel is None or not self._kernel.resends:
            self._server.dismiss()
            self._mount_anew()
        self._events.on_mounts_changed(self._mounts_changed)

    # The end

    def _fail(self, message: str, exit_code: int) -> None:
        if self._failure is None:
            self._failure = Failed(message, exit_code)
        self._stop("failed", exit_code)

    def _stop(self, why: str, code: int) -> None:
        if self._stopping:
            return
        self._stopping, self._code = True, code
        _log.info("stopping: %s", why)
        notify("STOPPING=1")
        self._events.cancel(("serving", "start a serving process", "fetching", "kill", "upgrade"))
        self._server.unwatch()
        self._reload.stop()  # or it would have the serving process replaced
        if self._overlay is not None:
            self._overlay.rest()
        patience = time.monotonic() + BUSY_LIMIT_S
        self._events.after("leave", 0.0, lambda: self._leave(patience))  # a timer is tried again

    def _leave(self, patience: float) -> None:
        """Unmount; readers inside are waited for until `patience`, then it vanishes from under their path."""
        if self._still_mounted():
            lazy = time.monotonic() >= patience
            if not mountpoint.let_go(self._plan.mountpoint, lazy=lazy) and not lazy:
                self._events.after("leave", 0.05, lambda: self._leave(patience))
                return
            drain_s = DRAIN_LIMIT_S if lazy else END_LIMIT_S
        else:
            drain_s = END_LIMIT_S if self._up and self._server.pid else 0.0
        # Once unmounted and unused, the kernel tells the serving process, which ends by itself.
        self._events.after("term", drain_s, lambda: self._server.kill(signal.SIGTERM))
        self._events.after("kill", drain_s + END_LIMIT_S, lambda: self._server.kill(signal.SIGKILL))
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if not self._server.pid:
            self._events.finish()

    def _end(self) -> None:
        """Take everything back, whatever happened."""
        self._reload.stop()
        self._server.end(END_LIMIT_S)
        if self._kernel is not None:
            self._kernel.close()
        if self._still_mounted():
            mountpoint.let_go(self._plan.mountpoint, lazy=True)
        if self._overlay is not None:
            self._overlay.close()
        self._supply.stop(END_LIMIT_S)
        self._events.close()
        self._file.withdraw()
        _log.info("%s is unmounted", self._plan.mountpoint)

    def _still_mounted(self) -> bool:
        return mountpoint.is_ours(self._plan.mountpoint)

    def _write_record(self) -> None:
        try:
            self._file.write(self._as_record())
        except OSError as error:
            self._cannot("write the mount's record", error, self._write_record)

    def _as_record(self) -> record.Record:
        return record.of(
            self._plan, self._attached, driver=self._driver, io=self._io, serving=self._server.pid,
            fetching=self._supply.pid, restarts=self._restarts, upgrades=self._upgrades, ready=self._answers,
        )  # fmt: skip
