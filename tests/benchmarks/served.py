"""A folder on a mount: the parent mounts and keeps the descriptor, a child serves, as in `pictofs mount`.

The server is another process because a page fault on its own mount would stop it for good: the thread that
faults holds the interpreter.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pictofs.config import Settings
from pictofs.drivers.kernel import mounting
from pictofs.drivers.kernel.handshake import Negotiated, negotiate
from pictofs.drivers.kernel.loop import KernelDriver
from pictofs.drivers.kernel.shared import Shared
from pictofs.errors import NotMounted
from tests.benchmarks.folder import DAY_S, FolderVfs

_PATIENCE_S = 20.0


class Served:
    """`folder` mounted at `mountpoint` (made if need be) for the length of a `with`."""

    def __init__(
        self, folder: Path, mountpoint: Path, *, io: str = "cache", valid_s: float = DAY_S,
        cpus: Sequence[int] = (), helper: bool | None = None, source: str = "pictofs",
    ) -> None:
        self.folder, self.mountpoint = folder, mountpoint
        self._io, self._valid_s, self._cpus = io, valid_s, list(cpus)
        self._helper, self._source = helper, source
        self.child: subprocess.Popen[str] | None = None
        self.fd = -1
        self.negotiated: Negotiated | None = None
        self.shared: Shared | None = None

    def __enter__(self) -> Served:
        self.mountpoint.mkdir(exist_ok=True)
        self.fd = mounting.mount(str(self.mountpoint), helper=self._helper, source=self._source)
        try:
            self.negotiated = negotiate(self.fd, io=self._io, cache_dir=str(self.folder))
            self.shared = Shared.create()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            mounting.unmount(str(self.mountpoint), lazy=True)
        except NotMounted:
            pass
        if self.child is not None:
            try:
                self.child.communicate(timeout=1.0)
            except subprocess.TimeoutExpired:
                self.kill()      # somebody has a file open still: closing every descriptor aborts that
        if self.shared is not None:
            self.shared.close()
        os.close(self.fd)

    def start(self, *, resend: bool = False) -> None:
        """Start a server on the descriptor; `resend` when another has served it before."""
        assert self.negotiated is not None
        assert self.shared is not None
        said = {
            "fd": self.fd, "shared": self.shared.fd, "negotiated": self.negotiated.to_json(),
            "resend": resend, "folder": str(self.folder), "valid_s": self._valid_s, "cpus": self._cpus,
            "mountpoint": str(self.mountpoint),
        }
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.served", json.dumps(said)],
            pass_fds=[self.fd, self.shared.fd],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        assert self.child.stdout is not None
        if self.child.stdout.readline() != "serving\n":
            raise RuntimeError("the server did not come up")

    def kill(self) -> None:
        """End the server as `kill -9` does."""
        assert self.child is not None
        self.child.kill()
        self.child.communicate()

    def ask(self, verb: str) -> Any:
        """Have the server do something: `rescan`, `release`, `state`, `stop`."""
        assert self.child is not None
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(verb + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def requests(self) -> dict[str, int]:
        """By opcode, since the mount began."""
        assert self.shared is not None
        return self.shared.requests()

    def until(self, holds: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
        """Wait until `holds()`; AssertionError when it does not in time."""
        deadline_s = time.monotonic() + patience_s
        pause = threading.Event()
        while not holds():
            assert time.monotonic() < deadline_s, "it did not come about in time"
            pause.wait(0.005)


def _serve(said: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="server: %(message)s")
    if said["cpus"]:
        os.sched_setaffinity(0, said["cpus"])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    vfs = FolderVfs(said["folder"], valid_s=said["valid_s"])
    if said.get("driver") == "fusepy":
        from pictofs.drivers.fusepy import FusepyDriver

        FusepyDriver(vfs, Settings()).serve(said["mountpoint"], lambda: print("serving", flush=True))
        return
    driver = KernelDriver(
        vfs, Settings(), said["fd"], Negotiated.from_json(said["negotiated"]),
        resend=said["resend"], shared=Shared(said["shared"]),
    )
    verbs: dict[str, Callable[[], object]] = {
        "rescan": vfs.rescan,
        "release": vfs.release,
        "state": lambda: {
            "waiting": len(vfs.waiting), "interrupted": vfs.interrupted,
            "rss_bytes": int(Path("/proc/self/statm").read_text().split()[1]) * 4096,
        },
    }

    def listen() -> None:
        for line in sys.stdin:
            if line == "stop\n":
                driver.stop()
                print("null", flush=True)
                continue
            answers: list[object] = []

            def act(verb: str, into: list[object]) -> None:
                into.append(verbs[verb]())

            driver.submit(partial(act, line.strip(), answers))
            print(json.dumps(answers[0]), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    print("serving", flush=True)
    driver.serve(said["mountpoint"])


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
