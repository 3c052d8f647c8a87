"""What a test could leave behind, as /proc and mountinfo show it.

Every process that the suite starts, also one that went into the background, carries a mark in its
environment.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

MARK = "PICTOGRAPH_TEST_RUN"
LIMIT_S = 5.0


def mark_this_run() -> None:
    """From now on, our descendants can be told from everything else, and temporary files are in one folder.

    Other runs on this machine have others, and so has each worker of a run that is spread over several. The
    folder goes at the end, unless something is mounted in it.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    if not os.environ.get(MARK, "").startswith(worker):
        os.environ[MARK] = f"{worker}-{uuid.uuid4().hex}"
        os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="pictofs-tests-")
        atexit.register(_tidy, os.environ["TMPDIR"], os.getpid())


def _tidy(folder: str, owner: int) -> None:
    if os.getpid() == owner and not mounts():
        shutil.rmtree(folder, ignore_errors=True)


def _pids() -> frozenset[str]:
    return frozenset(entry for entry in os.listdir("/proc") if entry.isdigit())


def _stat(pid: str) -> list[bytes]:
    """The fields behind the command's name: state, parent, …; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return [b"X", b"0"]


def _ours(pid: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={os.environ[MARK]}".encode() in environment.split(b"\0")


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def mounts() -> frozenset[str]:
    """Mountpoints of pictofs in this run's folder."""
    if not os.path.exists("/proc/self/mountinfo"):
        return frozenset()
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines if " - fuse.pictofs " in line)
    return frozenset(point for point in points if point.startswith(os.environ["TMPDIR"]))


@dataclass(frozen=True)
class Snapshot:
    """What there was before; `left()` is what there is more of."""

    pids: frozenset[str]
    mounts: frozenset[str]
    threads: frozenset[int]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(_pids(), mounts(), frozenset(thread.ident or 0 for thread in threading.enumerate()))

    def left(self) -> list[str]:
        """One line for each thing."""
        return [
            *(f"process {pid}: {_command(pid)}" for pid in sorted(_pids() - self.pids) if self._is_left(pid)),
            *(f"mount {mountpoint}" for mountpoint in mounts() - self.mounts),
            *(
                f"thread {t.name}"
                for t in threading.enumerate()
                if t.ident not in self.threads and t.is_alive()
            ),
        ]

    def _is_left(self, pid: str) -> bool:
        state, parent, *_ = _stat(pid)
        if state in (b"Z", b"X") or not _ours(pid):
            return False
        # What a process of before has started (a restart) is that one's affair.
        above = parent.decode()
        return above == str(os.getpid()) or above not in self.pids or not _ours(above)

    def settled(self) -> list[str]:
        """`left`, after what is just ending has had its time."""
        deadline = time.monotonic() + LIMIT_S
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left
