"""The storage host: signed GETs over HTTP/1.1, on an asyncio protocol of its own.

Measured on two cores with one thread of wrk and objects of 60 KB: an ASGI application on uvicorn that only
sends a constant body reaches 9,500 GETs a second, a bare protocol on the same parser 28,000. The storage host
is what benchmarks of pictofs run against, so it takes the latter; the API stays on uvicorn.

An answer goes out at once, in the callback that completed the request, or of a timer where there is latency,
unless something has to be waited for: shared bandwidth, a fault, an object of more than `_AT_ONCE`, or
checksums of a big object. Then a task does it. Further requests on the connection wait in line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, cast

import httptools

from pictofs.emulator import delivery
from pictofs.emulator.content import StoredObject, hashes_of
from pictofs.emulator.counters import HostCounters
from pictofs.emulator.faults import REPLACING, Fault, FaultPlan
from pictofs.emulator.pacing import Pace
from pictofs.emulator.replacement import replacement
from pictofs.emulator.service import Service
from pictofs.emulator.signing import Rejected, expired
from pictofs.emulator.storage_answers import (
    Answer,
    error_answer,
    no_such_key,
    object_answer,
    rejection,
    unreadable,
)

_AT_ONCE = 1 << 20  # an object up to this is read and written in one go
_PIECE = 256 * 1024
_KEPT = frozenset(
    {
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"x-goog-if-generation-match",
    }
)


class _Asked(NamedTuple):
    method: str
    path: str  # raw, without the query
    query: str
    headers: dict[bytes, bytes]
    keep_alive: bool


class StorageHost:
    """What all connections of the storage host share."""

    def __init__(self, service: Service, counters: HostCounters, faults: FaultPlan) -> None:
        self.service, self.counters, self.faults = service, counters, faults
        self.pace = Pace(service.switches)
        self.connections: set[StorageProtocol] = set()

    def protocol(self) -> StorageProtocol:
        """A protocol for a new connection."""
        return StorageProtocol(self)

    def drop(self) -> None:
        """Break every open connection."""
        for connection in list(self.connections):
            connection.drop()

    def look(self, asked: _Asked) -> tuple[Answer | StoredObject, int | None]:
        """The answer, and the signing generation of the URL where it was good.

        In place of the answer the object, where its checksums have to be computed first and that takes long.
        """
        bare = asked.method == "HEAD"
        if asked.method not in ("GET", "HEAD"):
            return error_answer(405, "MethodNotAllowed", "The specified method is not allowed."), None
        try:
            grant = self.service.granted(asked.method, asked.path, asked.query)
        except Rejected as error:
            return rejection(error, bare=bare), None
        stored = self.service.stored_at(grant.path)
        if stored is None:
            return no_such_key(grant.path, bare=bare), grant.generation
        try:
            hashes = stored.hashes if stored.size > _AT_ONCE else hashes_of(stored)
        except OSError as error:
            return unreadable(error, bare=bare), grant.generation
        if hashes is None:
            return stored, grant.generation
        return object_answer(
            stored, hashes, asked.headers, self.service.switches.hashes, bare=bare
        ), grant.generation


class StorageProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, host: StorageHost) -> None:
        self._host = host
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._waiting: deque[_Asked] = deque()
        self._task: asyncio.Task[None] | None = None
        self._late: tuple[_Asked, asyncio.TimerHandle] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    # the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        self._transport = cast(asyncio.Transport, transport)
        self._host.connections.add(self)
        self._host.counters.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let it go, and whatever was being sent on it."""
        self._host.connections.discard(self)
        self._host.counters.disconnected()
        self._may_write.set()
        if self._task is not None:
            self._task.cancel()
        if self._late is not None:
            asked, timer = self._late
            self._late = None
            timer.cancel()
            self._waiting.appendleft(asked)
        if self._task is None:
            self._go_on()

    def drop(self) -> None:
        """Break it."""
        delivery.reset(self._transport)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        """Parse; what is not HTTP/1.1 ends the connection with a 400."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            answer = error_answer(400, "InvalidRequest", "Invalid request.", extra={"Connection": "close"})
            self._transport.write(answer.head + answer.body)
            self._transport.close()

    # the parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers = b"", {}

    def on_url(self, url: bytes) -> None:
        """Part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers: those that count are kept, secrets that must not come here are recorded."""
        name = name.lower()
        if name in _KEPT:
            self._headers[name] = value
        elif name == b"x-api-key":
            self._host.counters.keys.add(value.decode("latin-1"))
        elif name in (b"authorization", b"cookie"):
            self._host.counters.authorization += 1

    def on_message_complete(self) -> None:
        """The request is whole."""
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        asked = _Asked(method, path, query, self._headers, self._parser.should_keep_alive())
        counters = self._host.counters
        counters.begin(method, path)
        wanted = asked.headers.get(b"range")
        if wanted is not None:
            counters.ranged(path, wanted.decode("latin-1"))
        self._waiting.append(asked)
        self._go_on()

    # answering

    def _go_on(self) -> None:
        """Answer what waits in line, until one has to be waited for; none once the connection is closing."""
        while self._waiting and self._task is None and self._late is None:
            asked = self._waiting.popleft()
            latency_ms = self._host.service.switches.storage_latency_ms
            if self._transport.is_closing():
                self._done(asked, 0, 0)
            elif latency_ms:
                timer = asyncio.get_running_loop().call_later(latency_ms / 1000, self._in_time)
                self._late = asked, timer
            elif not self._at_once(asked):
                self._later(asked)

    def _in_time(self) -> None:
        """The latency of a request is over."""
        assert self._late is not None
        asked, _ = self._late
        self._late = None
        if not self._at_once(asked):
            self._later(asked)
        self._go_on()

    def _at_once(self, asked: _Asked) -> bool:
        """Answer now, unless something has to be waited for."""
        host = self._host
        if host.service.switches.bandwidth or host.faults.concern("storage"):
            return False
        answer, _ = host.look(asked)
        if isinstance(answer, StoredObject) or answer.length > _AT_ONCE:
            return False
        body: list[bytes | memoryview] = [answer.body]
        if answer.stored is not None:
            try:
                body = answer.stored.content.pieces(answer.start, answer.end)
            except OSError as error:
                answer = unreadable(error)
                body = [answer.body]
        self._transport.writelines([answer.head, *body])
        self._done(asked, answer.status, answer.length)
        return True

    def _done(self, asked: _Asked, status: int, body_bytes: int) -> None:
        counters = self._host.counters
        counters.bytes_sent += body_bytes
        counters.end(f"{asked.method} {_route(asked.path)}", status)
        if not asked.keep_alive:
            self._transport.close()

    def _later(self, asked: _Asked) -> None:
        """Answer this request, whatever it has to wait for, and then those that came in meanwhile."""
        status, sent = [0], [0]

        def ended(task: asyncio.Task[None]) -> None:
            self._task = None
            if not task.cancelled() and task.exception() is not None:
                self._transport.abort()     # or the answer to the next would be taken for the one to this
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "an answer failed", "exception": task.exception()}
                )
            self._done(asked, status[0], sent[0])
            self._go_on()

        self._task = asyncio.get_running_loop().create_task(self._answer(asked, status, sent))
        self._task.add_done_callback(ended)     # called also where it is cancelled before it begins

    async def _answer(self, asked: _Asked, status: list[int], sent: list[int]) -> None:
        host = self._host
        answer, generation = host.look(asked)
        while isinstance(answer, StoredObject):
            try:
                await asyncio.to_thread(hashes_of, answer)
                answer, generation = host.look(asked)
            except OSError as error:
                answer = unreadable(error, bare=asked.method == "HEAD")
        fault = host.faults.pick("storage", asked.method, asked.path, generation)
        if fault is not None:
            host.counters.faults[fault.kind] += 1
            if fault.kind == "expire":
                answer = rejection(expired(host.service.clock()), bare=asked.method == "HEAD")
        status[0] = answer.status
        if fault is None or fault.kind == "expire":
            await self._send(answer, sent)
        elif fault.kind in REPLACING:
            status[0], headers, body = replacement(fault)
            self._transport.write(
                delivery.head_of(status[0], {**headers, "content-length": str(len(body))}) + body
            )
            sent[0] = len(body)
        else:
            await self._strike(fault, answer, sent)

    async def _send(self, answer: Answer, sent: list[int]) -> None:
        self._transport.write(answer.head)
        if answer.stored is None:
            self._transport.write(answer.body)
            sent[0] += len(answer.body)
            return
        at = answer.start
        while at < answer.end and not self._transport.is_closing():
            end = min(answer.end, at + self._host.pace.piece(_PIECE))
            await self._host.pace.turn(end - at)
            try:
                piece = answer.stored.content.read(at, end)
            except OSError:
                self._transport.abort()  # the head has promised what is no longer there
                return
            self._transport.write(piece)
            sent[0] += len(piece)
            at = end
            await self._may_write.wait()

    async def _strike(self, fault: Fault, answer: Answer, sent: list[int]) -> None:
        body = answer.body
        if answer.stored is not None:
            try:
                body = answer.stored.content.read(answer.start, answer.end)
            except OSError:
                self._transport.abort()
                return
        wire = [0]

        def count(number: int) -> None:
            wire[0] += number

        await delivery.perform(
            self._transport,
            delivery.steps(fault, answer.head, body),
            lambda: fault not in self._host.faults.entries,
            count,
        )
        sent[0] = max(0, wire[0] - len(answer.head))


def _route(path: str) -> str:
    return "/images/…" if "/images/" in path else "/exports/…" if "/exports/" in path else "(other)"
