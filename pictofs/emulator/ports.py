"""Listening on a port that can be shut and opened again, so that connections are truly refused meanwhile.

A socket that is bound but never listens keeps the number for us; with SO_REUSEADDR another may listen beside
it, and while none does, the kernel refuses connections. Two listeners on one port stay impossible, so a port
in use is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pictofs.emulator.api import TRANSPORT
from pictofs.emulator.counters import HostCounters
from pictofs.emulator.storage import StorageHost
from pictofs.errors import UsageError

_BACKLOG = 4096  # a burst of connections must not be what a benchmark measures
_START_S = 5.0


class Tls:
    """Certificate and key of a host that speaks TLS. Raises `UsageError` where they are not a pair."""

    def __init__(self, cert: Path, key: Path) -> None:
        self.cert, self.key = cert, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            self.context.load_cert_chain(cert, key)
        except OSError as error:  # SSLError is one
            raise UsageError(f"--tls-cert {cert}: {error}") from None


class Place:
    """An address that is ours: `listener` makes a listening socket on it."""

    def __init__(self, option: str, host: str, port: int, tls: Tls | None = None) -> None:
        self.tls, self._option = tls, option
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._host = host
        self._holder = self._bound(port, listening=False)
        self.port: int = self._holder.getsockname()[1]

    def _bound(self, port: int, *, listening: bool) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        try:
            sock.bind((self._host, port))
            if listening:
                sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            where = f"{self._host} port {port}"
            raise UsageError(f"{self._option}: cannot listen on {where}: {error.strerror}") from None
        return sock

    @property
    def url(self) -> str:
        """The origin of this address."""
        scheme = "https" if self.tls is not None else "http"
        return f"{scheme}://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    def listener(self) -> socket.socket:
        """A new listening socket. Raises `UsageError` where somebody else listens there."""
        return self._bound(self.port, listening=True)

    def close(self) -> None:
        """Give the number back."""
        self._holder.close()


class Port(Protocol):
    """A host that can be shut and opened."""

    async def open(self) -> None:
        """Listen; nothing where it does already."""

    async def shut(self, *, drop: bool = True) -> None:
        """Refuse connections, and break the open ones where `drop`."""


class StoragePort:
    """The storage host's port."""

    def __init__(self, host: StorageHost, place: Place) -> None:
        self._host, self._place = host, place
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                self._host.protocol,
                sock=self._place.listener(),
                backlog=_BACKLOG,
                ssl=None if self._place.tls is None else self._place.tls.context,
            )

    async def shut(self, *, drop: bool = True) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if drop:
            self._host.drop()


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the emulator has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class AppPort:
    """An ASGI application on uvicorn, on a port of its own."""

    def __init__(self, app: ASGIApp, place: Place, counters: HostCounters | None = None) -> None:
        self._app, self._place = app, place
        self._protocol = _protocol(counters)
        self._server: _Server | None = None  # the one that listens
        # That one too, and those before it that only see their connections to an end.
        self._serving: list[tuple[_Server, asyncio.Task[None]]] = []

    async def open(self) -> None:
        """Listen; returns once connections are taken."""
        if self._server is not None:
            return
        tls = self._place.tls
        config = uvicorn.Config(
            self._app,
            ssl_certfile=None if tls is None else tls.cert,
            ssl_keyfile=None if tls is None else tls.key,
            http=self._protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,    # nobody stands before it, and a layer is a fiftieth of an answer
            backlog=_BACKLOG,
            timeout_keep_alive=75,
        )
        server = self._server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[self._place.listener()]))
        self._serving.append((server, task))
        deadline = asyncio.get_running_loop().time() + _START_S
        while not server.started and not task.done() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.001)
        if not server.started:
            raise UsageError(f"port {self._place.port}: the server did not start")

    async def shut(self, *, drop: bool = True) -> None:
        """Stop listening; returns once connections are refused."""
        if self._server is not None:
            for listening in self._server.servers:
                listening.close()
            self._server = None
        if drop:
            await self._drop()

    async def _drop(self) -> None:
        serving, self._serving = self._serving, []
        for server, task in serving:
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            # Cancelled, not asked to exit: uvicorn looks round every 100 ms only, and nothing is left to end.
            task.cancel()
        await asyncio.gather(*(task for _, task in serving), return_exceptions=True)


def _protocol(counters: HostCounters | None) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which counts connections and shows the application its transport."""

    class Seen(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if counters is not None:
                counters.connected()

        def connection_lost(self, exc: Exception | None) -> None:
            if counters is not None:
                counters.disconnected()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            extensions: dict[str, Any] = {TRANSPORT: self.transport}
            self.scope["extensions"] = extensions

    return Seen
