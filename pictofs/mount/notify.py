"""systemd's protocol for services (sd_notify(3), sd_watchdog_enabled(3)): datagrams to $NOTIFY_SOCKET, and
nothing where there is none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from pictofs.mount.events import Events


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager `state` (`READY=1`, `STOPPING=1`, …); whether one listened."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.connect("\0" + address[1:] if address[0] == "@" else address)
            to.sendall(state.encode())
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often the service manager is to hear of this process; None: it does not watch."""
    try:
        limit_us = int(environ.get("WATCHDOG_USEC", ""))
        meant = int(environ.get("WATCHDOG_PID", "") or os.getpid())
    except ValueError:
        return None
    return limit_us / 3e6 if limit_us > 0 and meant == os.getpid() else None


def keep_watchdog(events: Events, pause_s: float | None) -> None:
    """Tell it as long as `events` runs: a loop that hangs is a process that is replaced."""
    if pause_s is not None:
        notify("WATCHDOG=1")
        events.after("watchdog", pause_s, lambda: keep_watchdog(events, pause_s))
