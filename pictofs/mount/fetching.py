"""The fetching process of a cache directory, as its supervisor sees it: held by someone, or to be started.

It is a program of its own (`python -m pictofs.mirror`), not a fork: it must not hold the kernel's descriptor.
It ends when the supervisor that started it does, also when that one is killed; the others elect a new one.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pictofs.config import Settings
from pictofs.mount.background import end_with_parent

_log = logging.getLogger(__name__)

_ALREADY = "held"
KILLED_LIMIT_S = 1.0  # a process that was killed


@dataclass(frozen=True, slots=True)
class Outcome:
    """How starting went: it answers (perhaps another's process), or it failed with a line and an exit code.
    """

    answers: bool
    error: str = ""
    exit_code: int = 1


class _Adopted:
    """A child that a former program of this process started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0  # it is nobody's any more
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline_s = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline_s:
                raise subprocess.TimeoutExpired("pictofs.mirror", timeout or 0.0)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Order(Protocol):
    """What of a `Plan` is used here."""

    @property
    def settings(self) -> Settings:
        """Where, and within which limits."""

    @property
    def log(self) -> str:
        """Where it says what it has no log for yet; "" for nowhere."""

    @property
    def environ(self) -> Mapping[str, str]:
        """What it inherits, but for the keys."""


class FetchingProcess:
    """At most one child at a time."""

    def __init__(self, plan: Order) -> None:
        self._plan = plan
        self._child: subprocess.Popen[bytes] | _Adopted | None = None
        self.ready_fd = -1

    @property
    def pid(self) -> int:
        """The child's id; 0 when another supervisor's serves, or none does."""
        return self._child.pid if self._child is not None else 0

    def held(self) -> bool:
        """Whether some process holds the cache directory right now."""
        lock = os.open(
            os.path.join(self._plan.settings.cache_dir, "fetch.lock"),
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
            0o600,
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def follow(self, plan: Order) -> None:
        """Whoever is started from now on has this plan."""
        self._plan = plan

    def adopt(self, pid: int) -> None:
        """Take over a child of a former program of this process."""
        self._child = _Adopted(pid)

    def start(self) -> None:
        """Start the child; `ready_fd` becomes readable when `outcome` can tell how it went."""
        assert self._child is None, "one child at a time"
        # Its own log is fetch.log; what it says before it has one (a broken installation) is found in ours.
        errors = open(self._plan.log, "ab") if self._plan.log else None  # noqa: SIM115 - closed below
        receive, send = os.pipe()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "pictofs.mirror", *self._arguments(), "--ready-fd", str(send)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd="/",
                env=self._environment(),
                pass_fds=(send,),
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        except BaseException:
            os.close(receive)
            raise
        finally:
            os.close(send)
            if errors is not None:
                errors.close()
        self.ready_fd = receive

    def outcome(self) -> Outcome:
        """How starting went; call it once, when `ready_fd` is readable."""
        with os.fdopen(self.ready_fd, "rb") as words:
            text = words.read(65536)
        self.ready_fd = -1
        try:
            word: dict[str, Any] = json.loads(text)
        except ValueError:
            return Outcome(
                False, "the fetching process ended before it answered; its log is fetch.log in cache_dir"
            )
        if word.get("ready") or word.get("error") == _ALREADY:
            return Outcome(True)
        return Outcome(
            False, word.get("error", "the fetching process could not start"), word.get("exit_code", 1)
        )

    def ended(self) -> bool:
        """Whether the child has ended (and is reaped); False without one."""
        if self._child is None or self._child.poll() is None:
            return False
        self._child = None
        return True

    def stop(self, limit_s: float) -> None:
        """End the child: asked first, killed after `limit_s`."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            try:
                self._child.wait(KILLED_LIMIT_S)
            except subprocess.TimeoutExpired:
                # Its disk keeps it; it ends when that answers.
                _log.warning("the fetching process %d was killed and has not ended", self._child.pid)
        self._child = None

    def let_go(self) -> None:
        """In a forked child: the process is the supervisor's, and so is the end of the pipe."""
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1
        if self._child is not None:
            self._child.returncode = 0  # or Popen would warn that it still runs
            self._child = None

    def _arguments(self) -> list[str]:
        settings = self._plan.settings
        limits = {
            "--cache-dir": settings.cache_dir,
            "--cache-size": settings.cache_size_bytes,
            "--min-free": settings.min_free_bytes,
            "--eviction": settings.eviction,
            "--jobs": settings.jobs,
            "--bandwidth": settings.bandwidth_bytes_s,
            "--max-fetch": settings.max_fetch_bytes_day,
            "--log-level": settings.log_level,
            "--log-format": settings.log_format,
        }
        return [f"{name}={value}" for name, value in limits.items() if value is not None]

    def _environment(self) -> dict[str, str]:
        secret = {profile.key.variable for profile in self._plan.settings.profiles}
        return {name: value for name, value in self._plan.environ.items() if name not in secret}
