"""Into the background: a fork before any thread starts, word through a pipe, and then a session of its own.

Not before the mount answers: while an autofs waits for a mount, only processes of the group that systemd
mounts in may pass the mountpoint, and all others wait for that very mount.

The child tells exactly one of: ready (with notes for the person), or failed (one line and an exit code). A
child that ends without a word has failed too.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pictofs.errors import PictofsError

_PR_SET_PDEATHSIG = 1
SLOW_S = 2.0  # a mount whose service answers takes half a second


class Failed(PictofsError):
    """The background process said no: its line and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Started:
    """A background process that is ready."""

    pid: int
    notes: list[str] = field(default_factory=list)


class Word:
    """The child's end of the pipe: the first word counts, later ones are lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The pipe; -1 once it is closed."""
        return self._descriptor

    def ready(self, notes: list[str]) -> None:
        """The mount answers."""
        if self._descriptor >= 0:
            stand_apart()
        self._say({"notes": notes})

    def failed(self, message: str, exit_code: int) -> None:
        """It will not be."""
        self._say({"error": message, "exit_code": exit_code})

    def _say(self, word: dict[str, object]) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, json.dumps(word).encode())
        except BrokenPipeError:
            pass  # nobody waits any more: the person pressed Ctrl-C
        self.close()

    def close(self) -> None:
        """Let go of the pipe; a forked child does."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def start(
    run: Callable[[Word], int], *, log: str, tied: bool = False, slow: Callable[[], None] = lambda: None
) -> Started:
    """Run `run` in a process that gets a session of its own; return when it is ready, Failed when it is not.

    Standard input and output of the child are /dev/null and standard error is too: it logs to `log`, which
    the error for a child that dies without a word names. `tied`: the child gets SIGTERM when this process
    ends, however it does. `slow` is called once where no word has come within SLOW_S. KeyboardInterrupt, and
    whatever else a signal handler raises, ends the child first.
    """
    assert threading.active_count() == 1, "threads start after the fork"
    sys.stdout.flush()
    sys.stderr.flush()
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        if tied:
            end_with_parent()
        _become(run, Word(send))
    os.close(send)
    try:
        with os.fdopen(receive, "rb") as words:
            if not select.select([words], [], [], SLOW_S)[0]:
                slow()
            text = words.read()
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    word = json.loads(text) if text else {}
    if "notes" in word:
        return Started(pid, word["notes"])
    os.waitpid(pid, 0)
    raise Failed(
        word.get("error", f"the mount ended before it answered; its log is {log}"), word.get("exit_code", 1)
    )


def _become(run: Callable[[Word], int], word: Word) -> None:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's, which is the parent's to act on
        os.chdir("/")
        _shut_inherited(word.descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler is about the parent's wait
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        code = run(word)
    finally:
        # Not sys.exit: what the parent registered to happen at its exit is the parent's.
        os._exit(code)


def stand_apart() -> None:
    """A session of its own: what the terminal says is meant for others."""
    try:
        os.setsid()
    except PermissionError:
        pass  # it leads a group already


def _shut_inherited(kept: int) -> None:
    """Close what whoever started us let us inherit: a pipe that stays open is an end that never comes.

    What this program opened itself is marked close-on-exec (PEP 446), and may belong to an object that closes
    it.
    """
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        descriptor = int(name)
        try:
            if descriptor > 2 and descriptor != kept and os.get_inheritable(descriptor):
                os.close(descriptor)
        except OSError:
            pass  # the one that the list was read by


def await_end(started: Started) -> None:
    """Until the background process ends; what a signal handler raises goes through."""
    os.waitpid(started.pid, 0)


def reap(pid: int) -> None:
    """Collect an ended child, if it is still to be collected."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # it was


def end_with_parent() -> None:
    """In a child, before anything else: SIGTERM when the parent's thread that forked us ends (prctl(2),
    Linux).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
