"""`pictofs explain PATH`: what this process knows of one file that the catalog does not tell.

    explain  {"nodes": [node]}  → {"pinned", "standing": {"online", "refused", "what", "offline"},
                                   "url": {"good": n, "seconds": s or null} or null where none is needed,
                                   "max_fetch_left": bytes or null, "prefetch",
                                   "flights": [{"block", "priority", "doing", "seconds", "bytes", "pids",
                                                "before": fetches that stand before it}]}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import ImageRow, Kind
from pictofs.errors import UsageError
from pictofs.mirror.access import Membership
from pictofs.mirror.allowance import Allowance
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.links import Scope, Signed
from pictofs.mirror.locate import Place, place
from pictofs.mirror.writer import Writer

SHOWN_FLIGHTS = 20


class Explaining:
    """Answers that. `pooled` gives the URL that an image has now."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        fetcher: Fetcher,
        allowance: Allowance,
        pooled: Callable[[Membership, ImageRow], Signed | None],
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._fetcher = fetcher
        self._allowance = allowance
        self._pooled = pooled

    async def answer(self, members: Sequence[Membership], nodes: Sequence[int]) -> dict[str, Any]:
        """What is known. UsageError for what no mount of this cache directory serves."""
        where = place(self._reader, nodes[0]) if len(nodes) == 1 else None
        member = next((m for m in members if where and m.organization == where.organization), None)
        if where is None or member is None:
            raise UsageError("one file or folder of a mount of this cache directory is explained at a time")
        pinned = await self._writer.run(lambda: self._catalog.pinned_among([where.node]))
        standing = member.access.standing
        return {
            "pinned": bool(pinned),
            "standing": {
                "online": standing.online,
                "refused": standing.refused,
                "what": standing.what,
                "offline": member.policy.offline,
            },
            "url": self._url(member, where),
            "max_fetch_left": self._allowance.left_bytes(),
            "prefetch": member.policy.prefetch,
            "flights": [
                {
                    "block": each.fetch.block,
                    "priority": each.priority.name.lower(),
                    "doing": each.doing,
                    "seconds": round(each.age_s, 1),
                    "bytes": each.size_bytes,
                    "pids": list(each.pids),
                    "before": before,
                }
                for each, before in self._fetcher.concerning(where.node, SHOWN_FLIGHTS)
            ],
        }

    def _url(self, member: Membership, where: Place) -> dict[str, Any] | None:
        pool = member.partition.pool
        if where.kind is Kind.IMAGE and where.image is not None:
            signed = self._pooled(member, where.image)
        elif where.export is not None:
            signed = pool.single(Scope("export", where.export.pk))
        else:
            return None
        left_s = None if signed is None else pool.left_s(signed)
        return {"good": signed is not None, "seconds": None if left_s is None else round(left_s, 1)}
