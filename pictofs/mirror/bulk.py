"""Files out of exports, where that costs fewer API requests than one by one.

    Annotations, Images ── annotation, image ──▶ Bulk ── economy.decide (pure) ──▶ one by one: None
                                                  │                              └▶ Ordering: one is ordered
                                                  ▼
                                   a Source: an archive that was opened, and what is known of its documents

Nothing here is ever the reason why a file cannot be had: what an archive does not hold, or does not hold as
its own directory says, is None, and whoever asked goes the other way. So is an archive that fails, for
SETBACK_S.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DatasetRow, ImageRow
from pictofs.errors import PictofsError
from pictofs.mirror import economy
from pictofs.mirror.access import Membership
from pictofs.mirror.chest import Chest
from pictofs.mirror.economy import Budget, Face, Offer, Way
from pictofs.mirror.exports import Exports
from pictofs.mirror.listing import Listings
from pictofs.mirror.openings import Openings
from pictofs.mirror.ordering import Ordering
from pictofs.mirror.revalidate import dataset_due, exports_due
from pictofs.mirror.shape import Shape, document_of
from pictofs.mirror.singleflight import Flight, Progress, SingleFlight, unheard
from pictofs.mirror.troubles import Troubles

_log = logging.getLogger(__name__)
SETBACK_S = 600.0
LOOK_S = 10.0             # where no export serves, the catalog is asked again after so long,
ORDER_LOOK_S = 0.5        # and where one may be ordered, whether that is the way by now
RESERVE_SHARE = 0.15      # of the hour's requests; as for bodies ahead of need
IMAGE_LIMIT_BYTES = 64 << 20  # of one that is held in memory


@dataclass(slots=True)
class Source:
    """An archive in use."""

    offer: Offer
    shape: Shape = field(default_factory=Shape)
    lessons: asyncio.Lock = field(default_factory=asyncio.Lock)  # one at a time: few are needed


@dataclass(slots=True)
class _Account:
    """What one face of a dataset has cost so far."""

    spent: int = 0
    coming: int = 0
    source: Source | None = None
    not_before_s: float = float("-inf")  # after a setback, or when no export was found


@dataclass(frozen=True, slots=True)
class Document:
    """What an archive says of one image's annotations."""

    content: dict[str, Any]
    source: Source


class Bulk:
    """Every dataset's exports as sources. Lives in one event loop."""

    def __init__(
        self,
        reader: CatalogReader,
        flights: SingleFlight,
        listings: Listings,
        exports: Exports,
        openings: Openings,
        chest: Chest,
        ordering: Ordering,
        troubles: Troubles,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._flights = flights
        self._listings = listings
        self._exports = exports
        self._openings = openings
        self._chest = chest
        self._ordering = ordering
        self._troubles = troubles
        self._clock = clock
        self._wall_ns = wall_ns
        self._accounts: dict[tuple[int, Face], _Account] = {}

    def expect(self, dataset: int, face: Face, coming: int) -> None:
        """So many more are asked for already."""
        self._account(dataset, face).coming = coming

    def spend(self, dataset: int, face: Face) -> None:
        """A request went into a single one."""
        self._account(dataset, face).spent += 1

    def ready(self, member: Membership, dataset: int, face: Face) -> bool:
        """Whether an archive is in use, so that the next costs no request as a rule."""
        account = self._accounts.get((dataset, face))
        if account is None or account.source is None:
            return False
        row = self._reader.dataset(dataset)
        return row is not None and self._good(member, row, account.source) and not account.source.shape.broken

    def promising(self, member: Membership, image: ImageRow, face: Face) -> bool:
        """Whether the next is likely to come out of an archive: one in use, or one that pays by now."""
        if member.policy.bulk == "off":
            return False
        if self.ready(member, image.dataset, face):
            return True
        account = self._account(image.dataset, face)
        if self._clock() < account.not_before_s:
            return False
        dataset = self._reader.dataset(image.dataset)
        return dataset is not None and self._way(member, dataset, image, face, account) is not Way.SINGLE

    def renew(self, dataset: int) -> None:
        """There may be an export by now: what was found of a dataset's is forgotten."""
        for face in Face:
            self._account(dataset, face).not_before_s = float("-inf")

    def ordered(self, dataset: int) -> bool:
        """Whether an export is on its way that what nobody waits for should wait for."""
        return self._ordering.pending(dataset)

    async def annotation(
        self, member: Membership, image: ImageRow, moved: Progress = unheard
    ) -> Document | None:
        """What an export says of an image, in the state that the listing knows."""
        source = await self._source(member, image, Face.ANNOTATIONS, moved)
        if source is None or source.shape.broken:
            return None
        path = self._path(image)
        for row in self._chest.documents(source.offer.row, image, path):
            try:
                content = await self._chest.document(member, source.offer.row, row, moved)
            except PictofsError as error:
                self._troubles.note(f"bulk: {error}")
                return None
            found = document_of(content, image, path)
            if found is not None:
                return Document(found, source)
        return None

    async def image(self, member: Membership, image: ImageRow, moved: Progress = unheard) -> bytes | None:
        """The bytes of an image of known size, checked."""
        if image.size_bytes is None or image.size_bytes > IMAGE_LIMIT_BYTES:
            return None
        source = await self._source(member, image, Face.IMAGES, moved)
        row = self._chest.image(source.offer.row, image, self._path(image)) if source else None
        if source is None or row is None:
            return None
        try:
            return await self._chest.content(member, source.offer.row, row, moved)
        except PictofsError as error:
            self._troubles.note(f"bulk: {error}")
            return None

    async def has_image(self, member: Membership, image: ImageRow) -> bool:
        """Whether `image` would find it."""
        source = await self._source(member, image, Face.IMAGES, unheard)
        return source is not None and (
            self._chest.image(source.offer.row, image, self._path(image)) is not None
        )

    def disagreed(self, source: Source) -> None:
        """The archive's documents turned out to be no ground for bodies."""
        self._troubles.log(
            _log,
            f"annotations are not taken out of export {source.offer.row.file_name}: it does not say what the "
            "API says",
        )

    def _path(self, image: ImageRow) -> str:
        directory = self._reader.directory(image.directory)
        return directory.remote_path if directory else "/"

    def _account(self, dataset: int, face: Face) -> _Account:
        return self._accounts.setdefault((dataset, face), _Account())

    def _good(self, member: Membership, dataset: DatasetRow, source: Source) -> bool:
        """Whether the archive still is what the dataset is."""
        row = self._reader.export(source.offer.row.pk)
        unexplained_ns = member.partition.unexplained_ns.get(dataset.pk, 0)
        return (
            row is not None
            and not row.gone
            and not economy.stale(source.offer, dataset, unexplained_ns, self._wall_ns())
        )

    async def _source(
        self, member: Membership, image: ImageRow, face: Face, moved: Progress
    ) -> Source | None:
        """The archive to take an image or its annotation from; None: one by one."""
        if member.policy.bulk == "off":
            return None
        account = self._account(image.dataset, face)
        dataset = self._reader.dataset(image.dataset) if self._clock() >= account.not_before_s else None
        if dataset is None or dataset.gone:
            return None
        if account.source is not None:
            if self._good(member, dataset, account.source):
                return account.source if account.source.offer.covers(image, face) else None
            account.source = None
        if account.spent + account.coming <= 1:
            return None
        if self._way(member, dataset, image, face, account) is Way.SINGLE:
            return None
        try:
            await member.join(
                self._flights, ("bulk", dataset.pk, face),
                lambda flight: self._open(member, dataset.pk, image, face, account, flight), moved,
            )  # fmt: skip
        except PictofsError as error:
            account.not_before_s = self._clock() + SETBACK_S
            self._troubles.log(_log, f"bulk: no export of {dataset.file_name} is of use now: {error}")
        source = self._account(image.dataset, face).source
        return source if source is not None and source.offer.covers(image, face) else None

    def _way(
        self, member: Membership, dataset: DatasetRow, image: ImageRow, face: Face, account: _Account
    ) -> Way:
        listed = not exports_due(dataset, ttl_ns=member.policy.ttl_ns, now_ns=self._wall_ns())
        found = self._choose(member, dataset, image, face)
        way = economy.decide(
            member.policy.bulk,
            found,
            listed=listed,
            expected_members=dataset.image_count * (2 if face is Face.IMAGES else 1),
            spent=account.spent,
            coming=account.coming,
            lacking=self._lacking(dataset, face),
            budget=_budget(member),
        )
        if way is Way.SINGLE and found is None and listed:
            creates = member.policy.bulk == "create"
            account.not_before_s = self._clock() + (ORDER_LOOK_S if creates else LOOK_S)
        return way

    def _choose(self, member: Membership, dataset: DatasetRow, image: ImageRow, face: Face) -> Offer | None:
        offers = [found for row in self._reader.exports(dataset.pk) if (found := economy.offer(row))]
        unexplained_ns = member.partition.unexplained_ns.get(dataset.pk, 0)
        return economy.choose(offers, dataset, image, face, unexplained_ns, self._wall_ns())

    def _lacking(self, dataset: DatasetRow, face: Face) -> int:
        """How many requests all that is not here would take, at least; here means asked for in this life."""
        if face is Face.ANNOTATIONS:
            return dataset.image_count - self._account(dataset.pk, face).spent
        return economy.beyond(dataset.image_count, len(self._reader.views(dataset.pk, "status")))

    async def _open(
        self,
        member: Membership,
        pk: int,
        image: ImageRow,
        face: Face,
        account: _Account,
        flight: Flight,
    ) -> None:
        """Looks for an export that serves, and opens it; without one, orders one where that is the way."""
        if account.source is not None:
            return
        dataset = await self._looked_at(member, pk)
        if dataset is None:
            return
        way, found = self._way(member, dataset, image, face, account), None
        if way is Way.EXPORT:
            found = self._choose(member, dataset, image, face)
        if found is None:
            if way is Way.ORDER:
                self._ordering.order(member, dataset, face, _budget(member), self._lacking(dataset, face))
            wait_s = SETBACK_S if member.policy.bulk == "auto" else 0.0
            if way is Way.ORDER:
                wait_s = member.policy.ttl_s
            account.not_before_s = max(account.not_before_s, self._clock() + wait_s)
            return
        _log.info(
            "%s",
            economy.announcement(
                dataset, found, face, bulk=member.policy.bulk, coming=account.coming, budget=_budget(member)
            ),
        )
        if self._reader.opened(found.row.pk) is None:
            await member.join(
                self._flights, ("opened", found.row.pk),
                lambda opening: self._openings.opened(member, found.row.pk, opening), flight.moved,
            )  # fmt: skip
        account.source = Source(found)

    async def _looked_at(self, member: Membership, pk: int) -> DatasetRow | None:
        """The dataset's row, no older than ttl, and so its list of exports."""
        row = self._reader.dataset(pk)
        if row is None:
            return None
        ttl_ns, now_ns = member.policy.ttl_ns, self._wall_ns()
        if dataset_due(row, ttl_ns=ttl_ns, now_ns=now_ns):
            await self._listings.renew(member, pk)
        if exports_due(row, ttl_ns=ttl_ns, now_ns=now_ns):
            await member.join(
                self._flights, ("exports", pk), lambda flight: self._exports.listed(member, pk, flight)
            )
        return self._reader.dataset(pk)


def _budget(member: Membership) -> Budget | None:
    """What may be spent on what nobody waits for."""
    told = member.access.client.budget
    if told is None:
        return None
    return Budget(told.limit, max(0, told.remaining - int(told.limit * RESERVE_SHARE)))
