"""Commands over the link: status, refresh, pin, unpin, reload, advise.

    status   {}                  what this process knows of interfaces.md's status.json
    refresh  {"nodes": […]}      looks at each as if nothing known were fresh → {"refreshed": n}
    pin      {"nodes": […]}      keeps what is below them from eviction → {"pinned": [every pin]}
    unpin    {"nodes": […]}      takes pins away → {"pinned": [every pin left]}
    warm     {"nodes": […]}      fetches files, unless they are here
                                 → {"fetched": n, "bytes": n, "failed": [[node, why], …]}
    evict    {"nodes": […]}      drops what is here of them, unless something is pinned → {"evicted": n}
    reload   {}                  forgets backoffs and tries the service now → {"tried": n}
    advise   {"nodes": […]}      the order in which files will be read, kept until the next; with "more" these
                                 come behind the others → {"advised": n}
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import ROOT_NODE, Kind, node_id
from pictofs.errors import UsageError
from pictofs.mirror.access import Membership
from pictofs.mirror.attach import Register
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.locate import organization, place
from pictofs.mirror.looks import Looks
from pictofs.mirror.policy import Limits
from pictofs.mirror.singleflight import Progress
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.warmer import Warmer
from pictofs.mirror.writer import Writer

ADVICE_LIMIT_NODES = 10_000_000


class Advise(Protocol):
    """`Prefetch.advise`."""

    def __call__(self, member: Membership, nodes: Sequence[int], *, more: bool) -> int:
        """Takes an order in; how many files it has now."""


class Control:
    """Answers commands. `carried` gives (requests, bytes) of all storage transfers so far."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        register: Register,
        looks: Looks,
        fetcher: Fetcher,
        limits: Limits,
        cache_dir: str,
        troubles: Troubles,
        carried: Callable[[], tuple[int, int]],
        warmer: Warmer,
        advise: Advise,
        ahead: Callable[[], dict[str, int]],
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._register = register
        self._looks = looks
        self._fetcher = fetcher
        self._limits = limits
        self._cache_dir = cache_dir
        self._troubles = troubles
        self._carried = carried
        self._warmer = warmer
        self._advise = advise
        self._ahead = ahead

    async def answer(
        self, members: Sequence[Membership], verb: str, arguments: dict[str, Any], moved: Progress
    ) -> dict[str, Any]:
        """What to tell. UsageError for a verb or an argument that makes no sense; else as the work fails."""
        match verb:
            case "status":
                return self._status(members)
            case "refresh":
                return await self._refresh(members, _nodes(arguments), moved)
            case "pin":
                return await self._pins(_nodes(arguments), self._catalog.pin)
            case "unpin":
                return await self._pins(_nodes(arguments), self._catalog.unpin)
            case "warm":
                return await self._warmer.warm(members, _nodes(arguments), moved)
            case "evict":
                return await self._warmer.evict(_nodes(arguments))
            case "reload":
                return self._reload(members)
            case "advise":
                return {"advised": self._advised(members, _nodes(arguments), bool(arguments.get("more")))}
        raise UsageError(f"the fetching process knows no command {verb!r}")

    def _advised(self, members: Sequence[Membership], nodes: Sequence[int], more: bool) -> int:
        """One order at a time for each cache directory, since one epoch runs at a time."""
        known: dict[int, int] = {}
        pk = organization(self._reader, nodes[0], known) if nodes else 0
        member = next((member for member in members if not nodes or member.organization == pk), None)
        if member is None:
            raise UsageError("what will be read is not served by a mount of this cache directory")
        return self._advise(member, nodes, more=more)

    def _status(self, members: Sequence[Membership]) -> dict[str, Any]:
        size_bytes, files = self._reader.block_totals()
        ahead = self._ahead()
        requests, received_bytes = self._carried()
        budgets = [budget for member in members if (budget := member.access.client.budget)]
        tightest = min(budgets, key=lambda budget: budget.remaining, default=None)
        return {
            "pids": {"fetching": os.getpid()},
            "dialect": next((member.access.dialect for member in members if member.access.dialect), ""),
            "online": all(member.access.standing.online for member in members),
            "refused": any(member.access.standing.refused for member in members),
            "requests": {"api": self._register.api_requests, "storage": requests},
            "bytes_fetched": received_bytes,
            "cache": {
                "dir": self._cache_dir,
                "bytes": size_bytes,
                "limit": self._limits.cache_size_bytes,
                "files": files,
            },
            "budget": {
                "limit": tightest.limit if tightest else None,
                "remaining": tightest.remaining if tightest else None,
                "reset": tightest.reset_s if tightest else None,
            },
            "queue": {name: count + ahead.get(name, 0) for name, count in self._fetcher.counts().items()},
            "datasets": [
                {"name": count.file_name, "images": count.images, "cached": count.cached}
                for member in members
                for count in self._reader.image_counts(member.organization)
            ],
            "errors": self._troubles.recent(),
        }

    async def _refresh(
        self, members: Sequence[Membership], nodes: Sequence[int], moved: Progress
    ) -> dict[str, Any]:
        of_organization = {member.organization: member for member in members}
        refreshed = 0
        for node in nodes:
            if node == ROOT_NODE:
                for each in members:
                    of_all = node_id(each.organization, Kind.ORGANIZATION)
                    await self._looks.look(each, of_all, force=True, moved=moved)
                refreshed += 1
                continue
            where = place(self._reader, node)
            member = of_organization.get(where.organization) if where else None
            if where is None or member is None:
                raise UsageError("what is to be refreshed is not served by a mount of this cache directory")
            await self._looks.look(member, node, force=True, moved=moved)
            refreshed += 1
            moved()
        return {"refreshed": refreshed}

    async def _pins(self, nodes: Sequence[int], put: Callable[[int], None]) -> dict[str, Any]:
        def write() -> list[int]:
            for node in nodes:
                put(node)
            return self._catalog.pinned()

        return {"pinned": await self._writer.run(write)}

    def _reload(self, members: Sequence[Membership]) -> dict[str, Any]:
        self._looks.forget_setbacks()
        accesses = {id(member.access): member.access for member in members}
        for access in accesses.values():
            access.retry_now()
        return {"tried": len(accesses)}


def _nodes(arguments: dict[str, Any]) -> list[int]:
    nodes = arguments.get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, int) for node in nodes):
        raise UsageError("a list of nodes is missing")
    if len(nodes) > ADVICE_LIMIT_NODES:
        raise UsageError(f"more than {ADVICE_LIMIT_NODES} nodes at once")
    return nodes
