"""The line between supervisor and serving process: one JSON object a line, a descriptor with some.

serving → supervisor                                     supervisor → serving
attached {organizations, notes, fetching, version}       link         a fetching process answers: connect
failed {error, exit_code}   it cannot be served          serve + fd   the kernel's descriptor, negotiated
ready {io}                  the mount answers
link_lost                   no fetching process, or none any more
linked {fetching, version}  attached again
changed                     names lead elsewhere, and the kernel has been told
gone                        the kernel has unmounted
"""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

_CHUNK_BYTES = 65536


class Channel:
    """One end. Any thread may `send`; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        # Held while sending: a line that is longer than the socket's room goes in pieces.
        self._sending = threading.Lock()
        self._buffer = b""
        self._descriptors: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two ends that are joined."""
        left, right = socket.socketpair()
        return cls(left), cls(right)

    def fileno(self) -> int:
        """For a selector: readable when `receive` has something, or the other end is gone."""
        return self._socket.fileno()

    def send(self, word: str, *, fd: int | None = None, **content: Any) -> None:
        """Say `word`, and hand over a copy of `fd`; lost when the other end is gone, which `receive` tells.
        """
        line = json.dumps({"say": word, "with_fd": fd is not None, **content}).encode() + b"\n"
        try:
            with self._sending:
                if fd is not None:
                    sent = socket.send_fds(self._socket, [line], [fd])
                    line = line[sent:]
                self._socket.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> list[dict[str, Any]] | None:
        """The words that are here (waits for the first bytes); None when the other end is gone.

        A word that a descriptor came with holds it under `fd`.
        """
        try:
            chunk, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
        except (ConnectionResetError, BrokenPipeError):
            return None
        self._descriptors += descriptors
        if not chunk:
            return None
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        words = [json.loads(line) for line in lines]
        for word in words:
            if word["with_fd"] and self._descriptors:
                word["fd"] = self._descriptors.pop(0)
        return words

    def close(self) -> None:
        """Close this end, and every descriptor that nobody took."""
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
