"""How the kernel reaches `vfs`: `kernel` speaks /dev/fuse's own protocol, `fusepy` goes through libfuse 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Protocol

from pictofs.config import Settings

NAMES = ("kernel", "fusepy")


class Driver(Protocol):
    """What the mount needs of a driver. It owns the thread, or the lock, in which vfs is called."""

    def serve(self, mountpoint: str, ready: Callable[[], None]) -> None:
        """Mount and answer until unmounted; `ready()` once the kernel can be answered.

        NoFuse when this machine cannot, MountpointUnusable when the folder cannot.
        """

    def stop(self) -> None:
        """Unmount lazily, so that `serve` returns. Safe from any thread, and more than once."""

    def submit(self, act: Callable[[], None]) -> None:
        """Run `act` where vfs may be called (for `Vfs.relink`), soon. Safe from any thread."""


def choose(settings: Settings) -> str:
    """The driver for these settings: as asked, else `kernel` on Linux with a /dev/fuse, else `fusepy`."""
    if settings.driver != "auto":
        return settings.driver
    return "kernel" if sys.platform == "linux" and os.path.exists("/dev/fuse") else "fusepy"
