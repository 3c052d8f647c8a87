"""Commands over the link.

    status   {}                  what this process knows of status.json (docs/commands.md)
    refresh  {"nodes": […]}      looks at each as if nothing known were fresh → {"refreshed": n}
    pin      {"nodes": […]}      keeps what is below them from eviction → {"pinned": [every pin]}
    unpin    {"nodes": […]}      takes pins away → {"pinned": [every pin left]}
    warm     {"nodes": […]}      fetches files, unless they are here
                                 → {"fetched": n, "bytes": n, "failed": [[node, why], …]}
    evict    {"nodes": […]}      drops what is here of them, unless something is pinned → {"evicted": n}
    verify, clear, prune, settle see `stock`; explain see `explaining`
    join     {"nodes": […]}      puts archives and members that are whole into one file each, for
                                 io=passthrough → {"joined": n}
    reload   {}                  forgets backoffs and tries the service now → {"tried": n}
    advise   {"nodes": […]}      the order in which files will be read, kept until the next; with "more" these
                                 come behind the others → {"advised": n}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import ROOT_NODE, Kind, node_id
from pictofs.errors import UsageError
from pictofs.mirror.access import Membership
from pictofs.mirror.explaining import Explaining
from pictofs.mirror.joining import Joining
from pictofs.mirror.locate import organization, place
from pictofs.mirror.looks import Looks
from pictofs.mirror.report import Report
from pictofs.mirror.singleflight import Progress
from pictofs.mirror.stock import VERBS, Stock
from pictofs.mirror.warmer import Warmer
from pictofs.mirror.writer import Writer

ADVICE_LIMIT_NODES = 10_000_000


class Advise(Protocol):
    """`Prefetch.advise`."""

    def __call__(self, member: Membership, nodes: Sequence[int], *, more: bool) -> int:
        """Takes an order in; how many files it has now."""


class Control:
    """Answers commands."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        looks: Looks,
        stock: Stock,
        explaining: Explaining,
        report: Report,
        warmer: Warmer,
        joining: Joining,
        advise: Advise,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._looks = looks
        self._stock = stock
        self._explaining = explaining
        self._report = report
        self._warmer = warmer
        self._joining = joining
        self._advise = advise

    async def answer(
        self, members: Sequence[Membership], verb: str, arguments: dict[str, Any], moved: Progress
    ) -> dict[str, Any]:
        """What to tell. UsageError for a verb or an argument that makes no sense; else as the work fails."""
        match verb:
            case "status":
                return self._report.document(members)
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
            case "join":
                return {"joined": await self._joining.join(_nodes(arguments))}
            case "explain":
                return await self._explaining.answer(members, _nodes(arguments))
            case "reload":
                return self._reload(members)
            case "advise":
                return {"advised": self._advised(members, _nodes(arguments), bool(arguments.get("more")))}
        if verb in VERBS:
            return await self._stock.answer(verb, arguments, moved)
        raise UsageError(f"the fetching process knows no command {verb!r}")

    def _advised(self, members: Sequence[Membership], nodes: Sequence[int], more: bool) -> int:
        """One order at a time for each cache directory, since one epoch runs at a time."""
        known: dict[int, int] = {}
        pk = organization(self._reader, nodes[0], known) if nodes else 0
        member = next((member for member in members if not nodes or member.organization == pk), None)
        if member is None:
            raise UsageError("what will be read is not served by a mount of this cache directory")
        return self._advise(member, nodes, more=more)

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
