"""The supervisor of one mount: holds the descriptor, starts the two other processes, restarts what dies.

It is single-threaded, waits for events and decides; what it decides about is small:

    starting ── attached ──→ mounting ── ready ──→ up ── SIGTERM, SIGINT or unmounted ──→ stopping ──→ gone
       └── failed: everything is taken back and the reason goes to the person

A fetching process is looked for when the serving process has none: held by another mount it is used, else
started. A serving process that dies is replaced: with the kernel driver on the same descriptor, which the
kernel then asks again; with fusepy by a lazy unmount and a new mount.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from pictofs import __version__, drivers
from pictofs.errors import NotMounted, PictofsError
from pictofs.mount import assembly, logs, mountinfo, record, serving
from pictofs.mount.background import Failed
from pictofs.mount.channel import Channel
from pictofs.mount.deaths import Deaths, how
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.events import Events
from pictofs.mount.fetching import FetchingProcess
from pictofs.mount.mountpoint import Busy, unmount
from pictofs.mount.notify import notify
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)

BUSY_LIMIT_S = 2.0  # how long a stop waits for readers to leave before it unmounts lazily
DRAIN_LIMIT_S = 5.0  # and how long readers that are inside may go on after that
END_LIMIT_S = 3.0  # a process that was asked to end
SILENCE_LIMIT_S = 30.0  # a serving loop at one request for so long hangs
WATCH_S = 5.0  # how often that is looked at


class Supervisor:
    """One mount from its claim to its end. `run` returns the exit code.

    `ready(notes)` is called once, when the mount answers; `let_go()` in every forked child, for what the
    caller holds that a child must not.
    """

    def __init__(
        self, plan: Plan, ready: Callable[[list[str]], None], let_go: Callable[[], None] = lambda: None
    ) -> None:
        self._plan = plan
        self._ready = ready
        self._let_go = let_go
        self._events = Events()
        self._fetching = FetchingProcess(plan)
        self._file = record.RecordFile(plan.run_dir, plan.mountpoint)
        self._driver = drivers.choose(plan.settings)
        self._kernel = KernelMount() if self._driver == "kernel" else None
        self._channel: Channel | None = None
        self._serving_pid = 0
        self._serving_since = 0.0
        self._deaths = {"serving": Deaths(), "fetching": Deaths()}
        self._fetching_since = 0.0
        self._io = plan.settings.io
        self._restarts = 0
        self._attached: dict[str, Any] | None = None
        self._up = False  # it was ready once
        self._answers = False  # and the present serving process is
        self._stopping = False
        self._code = 0
        self._failure: Failed | None = None

    def run(self) -> int:
        """Mount, stay until unmounted, leave nothing behind. Failed when it never came up."""
        self._file.claim()
        try:
            self._events.on_signals(
                {
                    signal.SIGTERM: lambda: self._stop("SIGTERM", 0),
                    signal.SIGINT: lambda: self._stop("SIGINT", 130),
                    signal.SIGCHLD: self._reap,
                    signal.SIGHUP: lambda: None,
                }
            )
            self._write_record()
            self._start_serving()
            self._find_fetching()
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
        ours, theirs = Channel.pair()
        pid = os.fork()
        if pid == 0:
            self._become_serving(ours, theirs)
        theirs.close()
        self._channel, self._serving_pid, self._serving_since = ours, pid, time.monotonic()
        self._answers = False
        self._events.on_readable(ours.fileno(), self._hear)
        self._write_record()

    def _become_serving(self, ours: Channel, theirs: Channel) -> None:
        code = 1
        try:
            supervisor = os.getppid()
            self._events.close(forked=True)
            self._file.release()
            self._fetching.let_go()
            self._let_go()
            ours.close()
            if self._kernel is not None:
                self._kernel.let_go()
            logs.configure(self._plan.settings, "serving", self._plan.log)
            facts = assembly.Facts(
                self._plan, self._driver, self._plan.settings.io, supervisor, restarts=self._restarts
            )
            code = serving.run(self._plan, theirs, self._kernel, facts)
        except Exception:  # noqa: BLE001 - the outermost frame of a forked process
            _log.critical("the serving process failed", exc_info=True)
        finally:
            os._exit(code)

    def _hear(self) -> None:
        assert self._channel is not None
        words = self._channel.receive()
        if words is None:
            self._hang_up()
            return
        for word in words:
            self._heard(word)

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
        elif said == "gone":
            self._stop("unmounted", 0)

    def _mounts_changed(self) -> None:
        """Somebody has unmounted us: the kernel tells the serving process only when no namespace has a copy.
        """
        if self._answers and not self._still_mounted():
            self._stop("unmounted", 0)

    def _watch(self) -> None:
        """A serving loop that has been at one request for too long hangs: its stacks are dumped, it is
        replaced.
        """
        if self._kernel is None or self._stopping:
            return
        if self._serving_pid and self._kernel.shared.silent_s() > SILENCE_LIMIT_S:
            _log.error("the serving process has been silent for %.0f s and is replaced", SILENCE_LIMIT_S)
            self._kill_serving(signal.SIGUSR1)
            self._events.after("kill", 0.5, lambda: self._kill_serving(signal.SIGKILL))
        self._events.after("watch", WATCH_S, self._watch)

    def _kill_serving(self, number: int) -> None:
        if self._serving_pid:
            os.kill(self._serving_pid, number)

    def _on_attached(self, word: dict[str, Any]) -> None:
        self._attached = word
        if self._kernel is not None:
            try:
                self._kernel.mount(self._plan)
            except PictofsError as error:
                self._fail(str(error), error.exit_code)
                return
            assert self._channel is not None
            self._channel.send("serve", fd=self._kernel.fd, **self._kernel.state())
        self._write_record()

    def _on_failed(self, word: dict[str, Any]) -> None:
        if self._up:
            _log.error("%s", word["error"])
        else:
            self._fail(word["error"], word["exit_code"])

    def _on_ready(self, word: dict[str, Any]) -> None:
        first, self._up, self._answers, self._io = not self._up, True, True, word["io"]
        self._write_record()
        if first:
            _log.info("%s is mounted", self._plan.mountpoint)
            self._events.on_mounts_changed(self._mounts_changed)
            self._ready(
                [*(self._attached or {}).get("notes", []), *(self._kernel.notes if self._kernel else [])]
            )
            self._watch()
            notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving {self._plan.mountpoint}")
        else:
            _log.warning("serving again after %d restarts", self._restarts)

    def _serving_ended(self, status: int) -> None:
        lived_s = time.monotonic() - self._serving_since
        self._serving_pid, self._answers = 0, False
        self._hang_up()
        self._events.cancel(("kill",))
        if self._stopping:
            self._finish_if_done()
            return
        if not self._up:
            self._fail(f"the serving process ended ({how(status)}); see the log", 1)
            return
        if self._driver != "fusepy" and not self._still_mounted():
            self._stop("unmounted", 0)
            return
        if self._driver == "fusepy" and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            self._stop("unmounted", 0)
            return
        _log.error("the serving process ended (%s) and is replaced", how(status))
        if self._driver == "fusepy" and self._still_mounted():
            self._unmount(lazy=True)
        self._again("serving", lived_s, self._replace_serving)

    def _replace_serving(self) -> None:
        self._start_serving()
        self._find_fetching()

    def _again(self, which: str, lived_s: float, act: Callable[[], None]) -> None:
        self._restarts += 1
        delay_s = self._deaths[which].delay_s(lived_s)
        if delay_s is not None:
            self._events.after(which, delay_s, act)
            return
        _log.critical("the %s process ends again and again; the mount is given up", which)
        self._stop("given up", 1)

    # The fetching process

    def _find_fetching(self) -> None:
        """See that some process fetches, then tell the serving process to connect."""
        if self._stopping or self._fetching.ready_fd >= 0:
            return
        if self._fetching.pid or self._fetching.held():
            self._tell_link()
            return
        self._fetching.start()
        self._fetching_since = time.monotonic()
        self._events.on_readable(self._fetching.ready_fd, self._fetching_told)

    def _fetching_told(self) -> None:
        self._events.forget(self._fetching.ready_fd)
        outcome = self._fetching.outcome()
        if outcome.answers:
            self._write_record()
            self._tell_link()
        elif not self._up:
            self._fail(outcome.error, outcome.exit_code)
        else:
            _log.error("%s", outcome.error)  # its end is reaped, and it is tried again

    def _tell_link(self) -> None:
        if self._channel is not None:
            self._channel.send("link", restarts=self._restarts)

    def _fetching_ended(self) -> None:
        if self._stopping:
            return
        _log.warning("the fetching process ended and is replaced")
        self._again("fetching", time.monotonic() - self._fetching_since, self._find_fetching)

    # The end

    def _reap(self) -> None:
        if self._fetching.ended():
            self._fetching_ended()
        if self._serving_pid:
            pid, status = os.waitpid(self._serving_pid, os.WNOHANG)
            if pid:
                self._serving_ended(status)

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
        self._events.cancel(("serving", "fetching", "kill"))
        self._leave(time.monotonic() + BUSY_LIMIT_S)

    def _leave(self, patience: float) -> None:
        """Unmount; readers inside are waited for until `patience`, then it vanishes from under their path."""
        if self._still_mounted():
            lazy = time.monotonic() >= patience
            if not self._unmount(lazy=lazy) and not lazy:
                self._events.after("leave", 0.05, lambda: self._leave(patience))
                return
            drain_s = DRAIN_LIMIT_S if lazy else END_LIMIT_S
        else:
            drain_s = END_LIMIT_S if self._up and self._serving_pid else 0.0
        # Once unmounted and unused, the kernel tells the serving process, which ends by itself.
        self._events.after("term", drain_s, lambda: self._kill_serving(signal.SIGTERM))
        self._events.after("kill", drain_s + END_LIMIT_S, lambda: self._kill_serving(signal.SIGKILL))
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if not self._serving_pid:
            self._events.finish()

    def _end(self) -> None:
        """Take everything back, whatever happened."""
        if self._serving_pid:
            self._kill_serving(signal.SIGKILL)
            os.waitpid(self._serving_pid, 0)
            self._serving_pid = 0
        if self._kernel is not None:
            self._kernel.close()
        if self._still_mounted():
            self._unmount(lazy=True)
        self._fetching.stop(END_LIMIT_S)
        self._hang_up()
        self._events.close()
        self._file.withdraw()
        _log.info("%s is unmounted", self._plan.mountpoint)

    def _still_mounted(self) -> bool:
        if sys.platform != "linux":
            return os.path.ismount(self._plan.mountpoint)
        above = mountinfo.at(self._plan.mountpoint)
        return above is not None and above.kind == mountinfo.TYPE

    def _unmount(self, *, lazy: bool) -> bool:
        try:
            unmount(self._plan.mountpoint, lazy=lazy)
        except Busy:
            return False
        except NotMounted as error:
            _log.warning("%s", error)
            return False
        return True

    def _organizations(self) -> tuple[tuple[int, str], ...]:
        attached = self._attached["organizations"] if self._attached is not None else ()
        names = (profile.organization or "" for profile in self._plan.settings.profiles)
        return tuple(zip(attached, names, strict=False))

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._events.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def _write_record(self) -> None:
        self._file.write(
            record.Record(
                mountpoint=self._plan.mountpoint,
                source=self._plan.settings.source,
                supervisor=os.getpid(),
                started=record.start_ticks(os.getpid()),
                version=__version__,
                cache_dir=self._plan.settings.cache_dir,
                log=self._plan.log,
                driver=self._driver,
                io=self._io,
                serving=self._serving_pid,
                fetching=self._fetching.pid or int((self._attached or {}).get("fetching", 0)),
                restarts=self._restarts,
                ready=self._up,
                organizations=self._organizations(),
            )
        )
