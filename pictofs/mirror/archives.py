"""The parts that read archives, joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import Change
from pictofs.mirror.excerpts import Bring, Excerpts
from pictofs.mirror.exports import Exports
from pictofs.mirror.members import Members
from pictofs.mirror.openings import Openings
from pictofs.mirror.room import Room
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.writer import Writer


@dataclass(frozen=True, slots=True)
class Archives:
    """What opens an archive, and what reads its members."""

    openings: Openings
    members: Members


def join(
    reader: CatalogReader,
    catalog: Catalog,
    writer: Writer,
    flights: SingleFlight,
    exports: Exports,
    room: Room,
    bring: Bring,
    push: Callable[[Change], None],
    cache_dir: str,
    limit_bytes: int,
) -> Archives:
    """`bring` makes blocks of an archive present; `limit_bytes` is the store's."""
    excerpts = Excerpts(reader, bring, cache_dir, room.boot)
    return Archives(
        Openings(reader, catalog, writer, flights, exports, excerpts, push),
        Members(reader, catalog, writer, flights, excerpts, room.drop, cache_dir, limit_bytes),
    )
