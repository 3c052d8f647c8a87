"""The control port: faults, counters, mutations. No key, no rate limit, no faults of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pictofs.emulator.counters import HostCounters
from pictofs.emulator.desk import json_response
from pictofs.emulator.faults import BadFault, Fault, FaultPlan
from pictofs.emulator.mutation import BadMutation
from pictofs.emulator.mutations import Mutator
from pictofs.emulator.ports import Port
from pictofs.emulator.ratelimit import RateLimit
from pictofs.emulator.service import Service


class Control:
    """The endpoints of the control port."""

    def __init__(
        self,
        service: Service,
        mutator: Mutator,
        faults: FaultPlan,
        counters: dict[str, HostCounters],
        ports: dict[str, Port],
        limit: RateLimit,
    ) -> None:
        self._service, self._mutator, self._faults = service, mutator, faults
        self._counters, self._ports, self._limit = counters, ports, limit
        self._reopening: dict[int, asyncio.Task[None]] = {}

    def app(self) -> ASGIApp:
        """The application."""
        return Starlette(
            routes=[
                Route("/counters", self._show_counters),
                Route("/counters", self._reset_counters, methods=["DELETE"]),
                Route("/faults", self._show_faults),
                Route("/faults", self._add_faults, methods=["POST"]),
                Route("/faults", self._clear_faults, methods=["DELETE"]),
                Route("/faults/{number:int}", self._remove_fault, methods=["DELETE"]),
                Route("/mutate", self._mutate, methods=["POST"]),
                Route("/state", self._state),
            ],
            exception_handlers={BadFault: _bad, BadMutation: _bad},
        )

    async def close(self) -> None:
        """Forget ports that were to open again later."""
        for task in self._reopening.values():
            task.cancel()
        await asyncio.gather(*self._reopening.values(), return_exceptions=True)

    async def _show_counters(self, request: Request) -> Response:
        detail = request.query_params.get("detail", "true") != "false"
        return json_response({host: counters.report(detail) for host, counters in self._counters.items()})

    async def _reset_counters(self, request: Request) -> Response:
        for counters in self._counters.values():
            counters.reset()
        return json_response({})

    async def _show_faults(self, request: Request) -> Response:
        return json_response({"faults": [fault.describe() for fault in self._faults.entries]})

    async def _add_faults(self, request: Request) -> Response:
        added = []
        for entry in await _bodies(request, BadFault):
            fault = self._faults.add(entry)
            if fault.kind == "expire":
                fault.url_generation = self._service.signer.next_generation()
            elif fault.kind == "refuse":
                await self._refuse(fault)
            added.append(fault.describe())
        return json_response({"faults": added})

    async def _refuse(self, fault: Fault) -> None:
        await self._ports[fault.host].shut(drop=fault.values["drop"])
        if fault.values["seconds"] is not None:
            self._reopening[fault.number] = asyncio.create_task(self._reopen(fault))

    async def _reopen(self, fault: Fault) -> None:
        await asyncio.sleep(fault.values["seconds"])
        self._reopening.pop(fault.number, None)
        if self._faults.remove(fault.number) is not None:
            await self._open(fault.host)

    async def _open(self, host: str) -> None:
        if not any(fault.kind == "refuse" and fault.host == host for fault in self._faults.entries):
            await self._ports[host].open()

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        await self.close()
        self._reopening.clear()
        for host in self._ports:
            await self._open(host)
        return json_response({})

    async def _remove_fault(self, request: Request) -> Response:
        fault = self._faults.remove(request.path_params["number"])
        if fault is None:
            return json_response({"error": "no such fault"}, 404)
        if fault.kind == "refuse":
            task = self._reopening.pop(fault.number, None)
            if task is not None:
                task.cancel()
            await self._open(fault.host)
        return json_response(fault.describe())

    async def _mutate(self, request: Request) -> Response:
        done = [await self._change(body) for body in await _bodies(request, BadMutation)]
        return json_response({"results": done})

    async def _change(self, body: dict[str, Any]) -> dict[str, Any]:
        if body == {"op": "reset_rate_limit"}:
            self._limit.reset()
            return {}
        return await self._mutator.apply(body)

    async def _state(self, request: Request) -> Response:
        """What there is, for a test's own eyes: names, ids, counts."""
        rows = [
            {
                "id": dataset.id,
                "name": dataset.name,
                "slug": dataset.slug,
                "is_archived": dataset.is_archived,
                "image_count": dataset.images.totals.images,
                "annotation_count": dataset.images.totals.annotations,
                "total_size": dataset.images.totals.size_bytes,
                "exports": [
                    {"name": export.name, "status": export.status} for export in dataset.exports.values()
                ],
            }
            for dataset in self._service.datasets.values()
        ]
        return json_response(
            {"datasets": rows, "role": self._service.role, "key_revoked": self._service.key_revoked}
        )


async def _bodies(request: Request, bad: Callable[[str], ValueError]) -> list[dict[str, Any]]:
    """One object or a list of them."""
    try:
        read = msgspec.json.decode(await request.body())
    except msgspec.DecodeError as error:
        raise bad(f"the body is not JSON: {error}") from None
    entries = read if isinstance(read, list) else [read]
    if not all(isinstance(entry, dict) for entry in entries):
        raise bad("the body must be an object or a list of objects")
    return entries


async def _bad(request: Request, error: Exception) -> Response:
    return json_response({"error": str(error)}, 400)
