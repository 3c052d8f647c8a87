"""The Developer API as an ASGI application: routes of the dialect behind the gate that every request passes.

The gate counts, waits, strikes with faults, checks the key and the rate limit, and puts the rate-limit
headers on every answer. Routes match the path as it was sent, so that a name may hold an encoded slash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pictofs.emulator import delivery
from pictofs.emulator.api_datasets import DatasetEndpoints
from pictofs.emulator.api_exports import ExportEndpoints
from pictofs.emulator.api_images import ImageEndpoints
from pictofs.emulator.counters import HostCounters
from pictofs.emulator.desk import LABEL, Desk
from pictofs.emulator.dialects import dialect_of
from pictofs.emulator.exports import ExportJobs
from pictofs.emulator.faults import REPLACING, Fault, FaultPlan
from pictofs.emulator.ratelimit import RateLimit
from pictofs.emulator.replacement import replacement
from pictofs.emulator.service import Refusal, Service

TRANSPORT = "pictofs.transport"  # scope key: the connection, for faults of the wire
_NOT_FOUND = Refusal(404, "not_found", "Not Found")
_UNROUTED = {404: _NOT_FOUND, 405: Refusal(405, "method_not_allowed", "Method Not Allowed")}


def api_app(
    letter: str,
    service: Service,
    jobs: ExportJobs,
    counters: HostCounters,
    faults: FaultPlan,
    limit: RateLimit,
) -> ASGIApp:
    """The API in one dialect."""
    desk = Desk(service, dialect_of(letter, service))
    datasets = DatasetEndpoints(desk)
    routes = [
        *ImageEndpoints(desk, datasets).routes(),   # first, for they are asked for by the hundred thousand
        *datasets.routes(),
        *ExportEndpoints(desk, datasets, jobs).routes(),
    ]
    # No redirects to a slash: an id in the place of a path is 404 in c. No application around the router: its
    # layers are a sixth of an answer, and the gate renders refusals anyway.
    return Gate(Router(routes, redirect_slashes=False), desk, counters, faults, limit)


class Gate:
    """What every request passes before, and every answer after, the routes."""

    def __init__(
        self, app: ASGIApp, desk: Desk, counters: HostCounters, faults: FaultPlan, limit: RateLimit
    ) -> None:
        self._app, self._desk, self._service = app, desk, desk.service
        self._counters, self._faults, self._limit = counters, faults, limit
        self._numbered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        raw_path = scope["raw_path"].decode("latin-1")
        scope["path"] = raw_path  # names are decoded after routing, segment by segment
        method, status = scope["method"], 0
        self._see(scope, method, raw_path)

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                self._counters.bytes_sent += len(message.get("body", b""))
            await send(message)

        try:
            if self._service.switches.latency_ms:
                await asyncio.sleep(self._service.switches.latency_ms / 1000)
            fault = self._faults.pick("api", method, raw_path)
            if fault is None:
                await self._pass(scope, receive, counted)
            else:
                self._counters.faults[fault.kind] += 1
                await self._strike(fault, scope, receive, counted)
        finally:
            self._counters.end(scope.get(LABEL, f"{method} (no route)"), status)

    def _see(self, scope: Scope, method: str, raw_path: str) -> None:
        self._counters.begin(method, raw_path)
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                self._counters.keys.add(value.decode("latin-1"))
            elif name == b"range":
                self._counters.ranged(raw_path, value.decode("latin-1"))
            elif name in (b"authorization", b"cookie"):
                self._counters.authorization += 1

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Key, rate limit, routes: in this order, the headers on all of them."""
        verdict, refusal = self._limit.look(), self._key_refusal(scope)
        if refusal is None:
            verdict = self._limit.spend()
            if verdict.retry_after_s is not None:
                refusal = Refusal(429, "rate_limit_exceeded", "Rate limit exceeded")
        headers = [*verdict.headers]
        if verdict.retry_after_s is not None:
            headers.append(("Retry-After", str(verdict.retry_after_s)))
        if self._desk.dialect.letter == "c":
            self._numbered += 1
            headers.append(("X-Request-Id", f"req_{self._numbered:012d}"))

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.lower().encode(), value.encode()) for name, value in headers),
                ]
            await send(message)

        if refusal is None:
            scope["app"] = self     # so that the router raises what it has no route for
            try:
                await self._app(scope, receive, headed)
                return
            except Refusal as error:
                refusal = error
            except HTTPException as error:
                refusal = _UNROUTED.get(error.status_code, _NOT_FOUND)
        await self._desk.refuse(refusal)(scope, receive, headed)

    def _key_refusal(self, scope: Scope) -> Refusal | None:
        key = next((value for name, value in scope["headers"] if name == b"x-api-key"), None)
        if key is None:
            return Refusal(401, "unauthorized", "Missing API key")
        if self._service.key_revoked or key.decode("latin-1") != self._service.api_key:
            return Refusal(401, "unauthorized", "Invalid API key")
        return None

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind in REPLACING:
            status, headers, body = replacement(fault)
            await Response(body, status, headers)(scope, receive, send)
            return
        head, body, status = await self._answer(scope, receive)
        plan = delivery.steps(fault, head, body)
        transport: asyncio.Transport = scope["extensions"][TRANSPORT]
        gone: Callable[[], bool] = lambda: fault not in self._faults.entries  # noqa: E731
        wire_bytes = 0

        def sent(count: int) -> None:
            nonlocal wire_bytes
            wire_bytes += count

        await delivery.perform(transport, plan, gone, sent)
        self._counters.bytes_sent += max(0, wire_bytes - len(head))
        while (await receive())["type"] != "http.disconnect":  # uvicorn must see that nothing more will come
            pass

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes, int]:
        """The true answer, kept back."""
        start: dict[str, Any] = {}
        parts: list[bytes] = []

        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._pass(scope, receive, kept)
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        return delivery.head_of(start["status"], pairs), b"".join(parts), start["status"]
