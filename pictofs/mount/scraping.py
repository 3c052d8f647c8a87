"""The process that answers Prometheus, as the serving process sees it: started, started again, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from pictofs.mount.plan import Plan

AGAIN_S = 5.0
END_LIMIT_S = 2.0
# Of the environment: what a Python needs, and no key.
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL")


class Scraping:
    """Keeps one child from `start` to `stop`; nothing without `metrics=`. The thread that does it waits."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()        # guards the child; held for a fork
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins; after any fork."""
        if self._plan.settings.metrics is not None:
            self._thread = threading.Thread(target=self._keep, name="metrics", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the child."""
        self._stopping.set()
        with self._lock:
            if self._child is not None:
                self._child.kill()
        if self._thread is not None:
            self._thread.join(END_LIMIT_S)

    def _keep(self) -> None:
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                child = self._child = self._spawn()
            child.wait()
            if self._stopping.wait(AGAIN_S):
                return

    def _spawn(self) -> subprocess.Popen[bytes]:
        address = self._plan.settings.metrics or ""
        said = open(self._plan.log, "ab") if self._plan.log else None  # noqa: SIM115 - closed below
        try:
            return subprocess.Popen(
                [
                    sys.executable, "-m", "pictofs.mount.scraped",
                    self._plan.mountpoint, address, str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )  # fmt: skip
        finally:
            if said is not None:
                said.close()
