"""Who is at the other end of a Unix socket, and sockets whose path is longer than the kernel takes."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pictofs.errors import CacheUnusable

# sizeof(sockaddr_un.sun_path) is 108 on Linux and 104 on macOS and BSD, with its terminating zero
PATH_LIMIT_BYTES = 103
_UCRED = struct.Struct("3i")  # pid, uid, gid
_XUCRED_BYTES = 76            # BSD's struct xucred: version, uid, …
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1


class Credentials(NamedTuple):
    """The peer's process as the kernel knows it; `pid` is 0 where the kernel does not say."""

    pid: int
    uid: int


def credentials(connection: socket.socket) -> Credentials:
    """The peer of a connected Unix socket, from SO_PEERCRED (unix(7)), elsewhere LOCAL_PEERCRED."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _ = _UCRED.unpack(raw)
        return Credentials(pid, uid)
    raw = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES)
    return Credentials(0, struct.unpack_from("=II", raw)[1])


def refuse_foreign(peer: Credentials, path: str) -> None:
    """CacheUnusable, naming `cache_dir`, when the peer is another user's process."""
    own = os.geteuid()
    if peer.uid != own:
        folder = os.path.dirname(path) or "."
        raise CacheUnusable(
            f"cache_dir {folder} is in use by user {peer.uid}, and this is user {own}: "
            "give this mount a cache_dir of its own"
        )


@contextmanager
def reachable(path: str) -> Iterator[str]:
    """A path of that socket that is short enough for the kernel, valid inside the block."""
    if len(os.fsencode(path)) <= PATH_LIMIT_BYTES:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
