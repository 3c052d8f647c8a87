"""Mounts for tests: a serving process, and a certain end for it.

`Mounted` starts `tests.contract.serving` at a folder and unmounts it whatever happened in between: first as
anybody would, then by aborting the connection, then by ending the process. No step waits without a bound.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.contract.fetching import Fetching

ROOT = Path(__file__).parents[1]
START_S = 20.0
UNMOUNTED_S = 3.0
END_S = 10.0


def connection_of(mountpoint: Path) -> str | None:
    """The number of the FUSE connection behind a mountpoint, without touching it."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(mountpoint):
            return fields[2].split(":")[1]
    return None


def abort(number: str | None) -> None:
    """Ends every request of a connection with an errno, where fusectl is mounted."""
    switch = Path("/sys/fs/fuse/connections") / (number or "none") / "abort"
    if switch.exists():
        switch.write_text("1")


def unmount(mountpoint: Path) -> None:
    """Lazily, by whatever is installed."""
    for command in (["fusermount3", "-uz"], ["fusermount", "-uz"], ["umount", "-l"]):
        if connection_of(mountpoint) is None:
            return
        run(*command, str(mountpoint), check=False)


def run(
    *command: str, timeout_s: float = 30.0, check: bool = True, **more: Any
) -> subprocess.CompletedProcess[str]:
    """A command with a bound, its output as text."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, **more)
    if check:
        assert ended.returncode == 0, (command, ended.returncode, ended.stderr)
    return ended


class Mounted:
    """A mount of `fetching`'s world at `mountpoint`, served by `driver`; a context manager."""

    def __init__(self, fetching: Fetching, mountpoint: Path, driver: str, **settings: Any) -> None:
        self.fetching = fetching
        self.world = fetching.world
        self.mountpoint = mountpoint
        self.driver = driver
        self._settings = {"ttl_s": 60.0, "timeout_s": 5.0, "cache_dir": str(self.world.cache_dir), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.world.cache_dir / "serving.log"

    @property
    def root(self) -> Path:
        """The organization's folder."""
        return self.mountpoint / "org"

    @property
    def pid(self) -> int:
        """The serving process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it said."""
        return self._log.read_text() if self._log.exists() else ""

    def end_input(self) -> int:
        """Has the driver stop by itself; the exit code of its process."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(END_S)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(END_S)

    def __enter__(self) -> Mounted:
        self.mountpoint.mkdir(parents=True, exist_ok=True)
        order = {
            "mountpoint": str(self.mountpoint), "socket": str(self.fetching.path), "driver": self.driver,
            "settings": self._settings,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.contract.serving", json.dumps(order)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )
        try:
            self._await_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process is not None
        hung = False
        number = connection_of(self.mountpoint)
        unmount(self.mountpoint)
        if not self._ended(UNMOUNTED_S):
            # a mount namespace that somebody made meanwhile may hold a copy of the mount
            abort(number)
            if not self._ended(END_S):
                self._process.send_signal(signal.SIGUSR1)      # where it stands goes to its log
                self._ended(1.0)
                self._process.send_signal(signal.SIGKILL)
                self._process.wait(END_S)
                hung = True
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        unmount(self.mountpoint)
        assert not hung, f"the serving process did not end by itself: {self.log}"
        assert "Traceback" not in self.log, self.log

    def _ended(self, limit_s: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _await_ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(START_S), f"no mount in {START_S:g} s: {self.log}"
        assert self._process.stdout.readline() == b"ready\n", self.log
        deadline_s = time.monotonic() + START_S
        while connection_of(self.mountpoint) is None:
            assert time.monotonic() < deadline_s, self.log
            time.sleep(0.01)


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every regular file below a folder, by relative path."""
    found = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory) / name
            if not path.is_symlink():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def inode_listing(folder: Path) -> str:
    """`find -printf` of everything: type, inode, links, size, mtime and path, sorted."""
    found = run("find", str(folder), "-printf", "%P %y %i %n %s %T@\\n").stdout
    return "\n".join(sorted(re.sub(r" \.pictofs.*", "", line) for line in found.splitlines()))
