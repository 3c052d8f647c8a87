"""The carter as the fetching process sees it: orders by the batch, outcomes by the batch.

    send ──▶ Orders ──▶ carter (a process: transfers, checksums, files) ──▶ Report ──▶ arrived

A carter that dies is replaced, and what it had not told of is ordered once more from the next one; what dies
with that one too ends in TransferError. One that cannot be started ends all of it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from pictofs.errors import PictofsError, TransferError
from pictofs.link.frames import Frames, LinkLost, pack
from pictofs.mirror.freight import Connections, Order, Orders, Report, Route, Spent
from pictofs.mirror.plan import unreserved
from pictofs.mirror.policy import Limits, Policy
from pictofs.storage import Get, Got

_log = logging.getLogger(__name__)
TRIES = 2
Arrived = Callable[[Sequence[tuple[int, "Got | PictofsError"]]], None]
Moved = Callable[[int, int], None]


class Freight(Protocol):
    """What carries batches of transfers. Lives in one event loop."""

    @property
    def requests(self) -> int:
        """Requests made to storage hosts so far."""

    @property
    def bytes_received(self) -> int:
        """Body bytes received so far."""

    def send(
        self, policy: Policy, gets: Sequence[tuple[int, Get]], arrived: Arrived, moved: Moved
    ) -> None:
        """Begins these, each with a path as its sink and a number for `arrived`, which tells of each once.

        `moved` is told now and then how many bytes of one have come, while more do.

        What has headers of its own is an annotation, asked of the API: its file is what the mount shows, its
        `etag` the hash of that.
        """

    def spend(self, size_bytes: int) -> None:
        """So many bytes came another way, within the same bandwidth."""

    def set_connections(self, connections: int) -> None:
        """Change how many run at once; the others wait."""

    def prepare(self) -> None:
        """Something will be sent soon."""

    async def stop(self) -> None:
        """Ends; nothing is told any more."""


@dataclass(slots=True)
class _Sent:
    order: Order
    number: int     # the sender's
    arrived: Arrived
    moved: Moved
    tries: int = 1


@dataclass(frozen=True, slots=True)
class _Fork:
    """A child that this process forked, as `subprocess.Popen` would show it."""

    pid: int

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


class Carriage(asyncio.Protocol):
    """Freight by a process of its own. `spare`: the first one, if it was forked off (`carter.fork_off`)."""

    def __init__(self, limits: Limits, spare: tuple[int, socket.socket] | None = None) -> None:
        self._limits = limits
        self._spare = spare
        self._connections = unreserved(limits.transfers)
        self._before = 0, 0   # requests and bytes of the carters that are gone
        self._told = 0, 0     # and of this one
        self._routes: dict[tuple[str | None, str | None, bool], Route] = {}
        self._id = 0
        self._sent: dict[int, _Sent] = {}
        self._frames: Frames[Report] = Frames(Report)
        self._process: subprocess.Popen[bytes] | _Fork | None = None
        self._transport: asyncio.Transport | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def requests(self) -> int:
        """Requests made to storage hosts so far."""
        return self._before[0] + self._told[0]

    @property
    def bytes_received(self) -> int:
        """Body bytes received so far."""
        return self._before[1] + self._told[1]

    @property
    def pid(self) -> int:
        """The carter's; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def prepare(self) -> None:
        """See Freight. A program takes 0.2 s of CPU to start: not before somebody reads what is not here."""
        if self._transport is None:
            self._begin()

    async def stop(self) -> None:
        """See Freight."""
        self._stopped = True
        self._sent.clear()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._transport is not None:
            self._transport.abort()
        if self._spare is not None:
            self._begin_with(self._spare).close()
        self._reap()

    def send(
        self, policy: Policy, gets: Sequence[tuple[int, Get]], arrived: Arrived, moved: Moved
    ) -> None:
        """See Freight."""
        orders: list[Order] = []
        for number, get in gets:
            self._id += 1
            headers = None if get.headers is None else dict(get.headers)
            route = self._route(policy, headers is not None).number
            orders.append(
                Order(
                    self._id, route, get.url, str(get.sink), get.first, get.last, get.generation,
                    get.expect_bytes, headers,
                )
            )  # fmt: skip
            self._sent[self._id] = _Sent(orders[-1], number, arrived, moved)
        if self._transport is not None:
            self._transport.write(pack(Orders(orders)))
        else:
            self.prepare()

    def spend(self, size_bytes: int) -> None:
        """See Freight."""
        if self._transport is not None:
            self._transport.write(pack(Spent(size_bytes)))

    def set_connections(self, connections: int) -> None:
        """See Freight."""
        self._connections = connections
        if self._transport is not None:
            self._transport.write(pack(Connections(connections)))

    def _route(self, policy: Policy, api: bool) -> Route:
        """By certificates and proxy; nearly always the same for all mounts."""
        key = (policy.ca_file, policy.proxy, api)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = Route(len(self._routes), *key, policy.timeout_s)
            if self._transport is not None:
                self._transport.write(pack(route))
        return route

    # the process

    def _begin(self) -> None:
        if self._starting is None and not self._stopped:
            self._starting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        if self._spare is not None:
            ours = self._begin_with(self._spare)
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
            finally:
                self._starting = None
            return
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                words = [sys.executable, "-m", "pictofs.mirror.carter", "--fd", str(theirs.fileno())]
                words += ["--connections", str(self._connections)]
                if self._limits.bandwidth_bytes_s:
                    words += ["--bandwidth", str(self._limits.bandwidth_bytes_s)]
                self._process = subprocess.Popen(
                    words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        except OSError as error:
            ours.close()
            _log.error("the process for transfers ahead of need cannot be started: %s", error.strerror)
            self._give_up(list(self._sent))
        finally:
            self._starting = None

    def _begin_with(self, spare: tuple[int, socket.socket]) -> socket.socket:
        self._spare = None
        self._process = _Fork(spare[0])
        return spare[1]

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _give_up(self, ids: list[int]) -> None:
        self._tell([(each, TransferError("the transfer was lost")) for each in ids])

    def _tell(self, outcomes: list[tuple[int, Got | PictofsError]]) -> None:
        """Each sender what is its own."""
        told: dict[Arrived, list[tuple[int, Got | PictofsError]]] = {}
        for each, outcome in outcomes:
            sent = self._sent.pop(each, None)
            if sent is not None:
                told.setdefault(sent.arrived, []).append((sent.number, outcome))
        for arrived, its in told.items():
            if not self._stopped:
                arrived(its)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The carter is there, or will be: what it is sent waits in the socket."""
        self._transport = cast(asyncio.Transport, transport)
        self._frames = Frames(Report)
        for route in self._routes.values():
            self._transport.write(pack(route))
        if self._sent:
            self._transport.write(pack(Orders([sent.order for sent in self._sent.values()])))

    def data_received(self, data: bytes) -> None:
        """Outcomes."""
        outcomes: list[tuple[int, Got | PictofsError]] = []
        try:
            reports = self._frames.feed(data)
        except LinkLost as error:
            _log.error("the process for transfers ahead of need: %s", error)
            reports = []
            if self._transport is not None:
                self._transport.abort()
        for report in reports:
            self._told = report.requests, report.bytes_received
            outcomes += [(outcome.id, outcome.got()) for outcome in report.outcomes]
            for each, size_bytes in report.moved.items():
                sent = self._sent.get(each)
                if sent is not None and not self._stopped:
                    sent.moved(sent.number, size_bytes)
        self._tell(outcomes)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._transport = None
        self._before, self._told = (self.requests, self.bytes_received), (0, 0)
        self._reap()
        if self._stopped:
            return
        _log.warning("the process for transfers ahead of need has ended; another one takes over")
        # A request to the API is counted: it is not made twice without its governor.
        over = [each for each, sent in self._sent.items() if sent.tries >= TRIES or sent.order.headers]
        for sent in self._sent.values():
            sent.tries += 1
        self._give_up(over)
        if self._sent:
            self._begin()
