"""The fetching process' end of the link: one asyncio server, a `Peer` for each connected mount.

Everything here runs in the event loop's thread. What a peer does not read is buffered; `Moved` is left
out for a peer that lags, since the next one says the same, and a peer that lags by more than
`LAG_LIMIT_BYTES` is dropped as if it had died.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from typing import Protocol, cast

from pictofs.errors import CacheUnusable
from pictofs.link.frames import Frames, LinkLost, pack
from pictofs.link.messages import Failed, Moved, Reply, Request
from pictofs.link.peer import Credentials, credentials, reachable, refuse_foreign

LAG_LIMIT_BYTES = 64 << 20
_LAG_BYTES = 1 << 20
_log = logging.getLogger(__name__)


class Peer:
    """One connected mount."""

    def __init__(self, transport: asyncio.Transport, who: Credentials) -> None:
        self._transport = transport
        self.who = who

    def send(self, reply: Reply) -> None:
        """Sends, or leaves it when the peer is gone."""
        if self._transport.is_closing():
            return
        lag = self._transport.get_write_buffer_size()
        if lag > _LAG_BYTES and isinstance(reply, Moved):
            return
        if lag > LAG_LIMIT_BYTES:
            _log.warning("the mount of process %d does not read its answers and is dropped", self.who.pid)
            self._transport.abort()
            return
        self._transport.write(pack(reply))

    def close(self) -> None:
        """Ends the connection after what was sent has left."""
        self._transport.close()


class Receiver(Protocol):
    """What the server calls, always in the event loop's thread."""

    def opened(self, peer: Peer) -> None:
        """A process of our user has connected."""

    def received(self, peer: Peer, message: Request) -> None:
        """It says something."""

    def closed(self, peer: Peer) -> None:
        """It is gone, cleanly or not; nothing sent to it arrives any more."""


class Server:
    """Listens at `path` and hands what arrives to `receiver`.

    The caller holds the lock of the cache directory: a socket file that is there already is a dead one.
    """

    def __init__(self, path: str, receiver: Receiver) -> None:
        self._path = path
        self._receiver = receiver
        self._server: asyncio.AbstractServer | None = None
        self._peers: set[Peer] = set()
        self._closed = False

    async def start(self) -> None:
        """Listens; OSError when the socket cannot be made."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with reachable(self._path) as path:
                listener.bind(path)
            os.chmod(self._path, 0o600)
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(
                lambda: _Conversation(self), sock=listener, backlog=128
            )
        except BaseException:
            listener.close()
            raise

    def stop_listening(self) -> None:
        """Takes nobody new; those connected stay."""
        if self._server is not None:
            self._server.close()
            self._server = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def close(self) -> None:
        """Stops listening and ends every connection, also one that is just being made."""
        self._closed = True
        self.stop_listening()
        for peer in tuple(self._peers):
            peer.close()

    def join(self, transport: asyncio.Transport) -> Peer | None:
        """A new connection: its peer, or None (and told why) when it is another user's."""
        connection = cast(socket.socket, transport.get_extra_info("socket"))
        peer = Peer(transport, credentials(connection))
        if self._closed:
            peer.close()
            return None
        try:
            refuse_foreign(peer.who, self._path)
        except CacheUnusable as error:
            peer.send(Failed(0, errno.EACCES, str(error), error.exit_code))
            peer.close()
            return None
        self._peers.add(peer)
        self._receiver.opened(peer)
        return peer

    def hear(self, peer: Peer, message: Request) -> None:
        """One message of a connection."""
        self._receiver.received(peer, message)

    def leave(self, peer: Peer) -> None:
        """The end of a connection."""
        self._peers.discard(peer)
        self._receiver.closed(peer)


class _Conversation(asyncio.Protocol):
    """The bytes of one connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._frames: Frames[Request] = Frames(Request)
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peer = self._server.join(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        if self._peer is None:
            return
        try:
            messages = self._frames.feed(data)
        except LinkLost as error:
            _log.warning("the mount of process %d is dropped: %s", self._peer.who.pid, error)
            self._peer.close()
            return
        for message in messages:
            self._server.hear(self._peer, message)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._peer is not None:
            self._server.leave(self._peer)
