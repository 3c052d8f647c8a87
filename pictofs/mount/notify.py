"""systemd's readiness protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET, nothing where there is none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


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
