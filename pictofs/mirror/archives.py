"""The parts that read archives, joined: to show them opened, and to take files out of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import Change
from pictofs.mirror.bulk import Bulk
from pictofs.mirror.chest import Chest
from pictofs.mirror.excerpts import Bring, Excerpts
from pictofs.mirror.exports import Exports
from pictofs.mirror.listing import Listings
from pictofs.mirror.members import Members
from pictofs.mirror.openings import Openings
from pictofs.mirror.ordering import Ordering
from pictofs.mirror.room import Room
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.writer import Writer


@dataclass(frozen=True, slots=True)
class Archives:
    """What opens an archive, what reads its members, and what takes other files out of it."""

    openings: Openings
    members: Members
    bulk: Bulk
    ordering: Ordering


def join(
    reader: CatalogReader,
    catalog: Catalog,
    writer: Writer,
    flights: SingleFlight,
    listings: Listings,
    exports: Exports,
    room: Room,
    bring: Bring,
    push: Callable[[Change], None],
    cache_dir: str,
    limit_bytes: int,
    troubles: Troubles,
    ordered: Callable[[int], None],
    *,
    wall_ns: Callable[[], int],
) -> Archives:
    """`bring` makes blocks of an archive present; `limit_bytes` is the store's.

    `ordered` is told of a dataset that may have an export by now.
    """

    def done(dataset: int) -> None:
        bulk.renew(dataset)
        ordered(dataset)

    excerpts = Excerpts(reader, bring, cache_dir, room.boot)
    openings = Openings(reader, catalog, writer, flights, exports, excerpts, push)
    ordering = Ordering(flights, exports, troubles, done)
    bulk = Bulk(
        reader, flights, listings, exports, openings, Chest(reader, exports, excerpts), ordering, troubles,
        wall_ns=wall_ns,
    )  # fmt: skip
    members = Members(reader, catalog, writer, flights, excerpts, room.drop, cache_dir, limit_bytes)
    return Archives(openings, members, bulk, ordering)
