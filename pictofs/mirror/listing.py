"""Listings: what the service says streams into the catalog, page by page.

While a page is written the next is on its way; of a dataset that is listed for the first time some more
are, for a page is mostly waiting. Each page is visible to lookups at once and told as
progress; the listing counts as complete only when `finish_listing` has run. A listing that fails leaves
what the last complete one said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from pictofs.api import Client, Dataset, Image
from pictofs.api.paging import Pages
from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import Change, DatasetRow
from pictofs.errors import NotFound, PictofsError
from pictofs.link.messages import Priority
from pictofs.mirror import facts
from pictofs.mirror.access import Membership
from pictofs.mirror.singleflight import Flight, SingleFlight
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.writer import Writer

DATASETS_PAGE = 1000
TRANSACTION_ROWS = 1000
EARLY_PAGES = 3      # beside the one whose turn it is
_log = logging.getLogger(__name__)


class Listings:
    """Asks for datasets and their images and writes them.

    `push` tells the mounts what changed, `listing` whoever gets something ready for when a listing is there.
    """

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        flights: SingleFlight,
        push: Callable[[Change], None],
        troubles: Troubles,
        *,
        listing: Callable[[Membership, DatasetRow], None] = lambda member, dataset: None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._flights = flights
        self._push = push
        self._troubles = troubles
        self._listing = listing
        self._wall_ns = wall_ns

    async def datasets(self, member: Membership, flight: Flight) -> None:
        """The whole list of an organization's datasets."""
        organization = member.organization
        archived = member.policy.archived == "show" or member.partition.listed_archived
        asked_ns = self._wall_ns()
        listed = await member.ask(lambda client: _all_datasets(client, archived))
        before = {row.pk: row for row in self._reader.datasets(organization, archived=True)}
        change = await self._writer.run(
            lambda: self._catalog.put_datasets(
                organization, [facts.of_dataset(dataset) for dataset in listed], asked_ns, complete=True
            )
        )
        member.partition.listed_archived = archived
        for row in self._reader.datasets(organization, archived=True):
            self._compare(member, before.get(row.pk, row), row)
        self._push(change)

    async def dataset(self, member: Membership, pk: int, flight: Flight) -> None:
        """One dataset, by one request. One that is not there any more is told by the whole list."""
        row = self._reader.dataset(pk)
        if row is None:
            return
        asked_ns = self._wall_ns()
        try:
            found = await member.ask(lambda client: _one_dataset(client, row))
        except NotFound:
            await self.datasets(member, flight)
            return
        now, change = await self._writer.run(
            lambda: self._catalog.put_dataset(row.organization, facts.of_dataset(found), asked_ns)
        )
        self._compare(member, row, now)
        self._push(change)

    def _compare(self, member: Membership, before: DatasetRow, now: DatasetRow) -> None:
        """Notes when a dataset was seen to change."""
        if now.fingerprint != before.fingerprint:
            member.partition.changed_ns[now.pk] = self._wall_ns()
            if now.updated_ns <= before.updated_ns:
                member.partition.unexplained_ns[now.pk] = self._wall_ns()

    async def renew(self, member: Membership, pk: int) -> None:
        """The same, joined to whoever asks for it now."""
        await member.join(self._flights, ("dataset", pk), lambda flight: self.dataset(member, pk, flight))

    async def images(self, member: Membership, pk: int, flight: Flight) -> None:
        """Every image of a dataset; `flight` is told of each page."""
        row = self._reader.dataset(pk)
        if row is None:
            return
        began_ns = self._wall_ns()
        generation = await self._writer.run(lambda: self._catalog.begin_listing(pk))
        pages = await member.ask(lambda client: client.images.walk(facts.to_dataset(row)))
        early = _Early(member, pages, 0 if row.listed_ns else EARLY_PAGES)
        coming = asyncio.ensure_future(early.next())
        try:
            await asyncio.sleep(0)  # what is to come is asked for before anything else is
            self._listing(member, row)
            while (page := await coming) is not None:
                coming = asyncio.ensure_future(early.next())
                # a page of dialect A is the whole dataset
                for start in range(0, len(page), TRANSACTION_ROWS):
                    listed = [facts.of_image(image) for image in page[start : start + TRANSACTION_ROWS]]
                    self._push(
                        await self._writer.run(
                            lambda listed=listed: self._catalog.put_images(pk, generation, listed)  # type: ignore[misc]
                        )
                    )
                    flight.moved()
        finally:
            coming.cancel()
            early.stop()
        self._push(
            await self._writer.run(
                lambda: self._catalog.finish_listing(pk, generation, row.fingerprint, began_ns)
            )
        )

    def put_off(self, row: DatasetRow) -> None:
        """A relisting is due that the budget of the hour cannot pay for; said once a minute."""
        self._troubles.log(
            _log,
            f"the listing of {row.file_name} is served as it was: a new one takes {row.image_count // 1000} "
            "requests, more than half of what is left of this hour's; a longer ttl asks less often",
        )


class _Early:
    """The pages of a listing, so `many` of them asked for before their turn."""

    def __init__(self, member: Membership, pages: Pages[Image], many: int) -> None:
        self._member = member
        self._pages = pages
        self._many = many
        self._coming: dict[tuple[int, int], asyncio.Task[None]] = {}

    async def next(self) -> list[Image] | None:
        """The next page, None at the end; fails as it does."""
        for asked in self._pages.forecast(self._many):
            if asked not in self._coming:
                self._coming[asked] = asyncio.ensure_future(self._fetch(asked))
        asked_now = self._pages.asked
        coming = self._coming.pop(asked_now, None) if asked_now is not None else None
        if coming is not None:
            await asyncio.wait([coming])
        return await self._member.ask(lambda client: next(self._pages, None), Priority.LOOK_AHEAD)

    def stop(self) -> None:
        """Nobody wants what has not come."""
        for coming in self._coming.values():
            coming.cancel()

    async def _fetch(self, asked: tuple[int, int]) -> None:
        with contextlib.suppress(PictofsError):  # in its turn it is asked for again, and may fail aloud
            await self._member.ask(lambda client: self._pages.fetch_early(asked), Priority.LOOK_AHEAD)


def _all_datasets(client: Client, archived: bool) -> list[Dataset]:
    """The service lists archived datasets apart, or among the others: each is taken once, archived last."""
    found = {dataset.id or dataset.name: dataset for dataset in client.datasets.iter(page_size=DATASETS_PAGE)}
    if archived:
        for dataset in client.datasets.iter(page_size=DATASETS_PAGE, archived=True):
            found.setdefault(dataset.id or dataset.name, dataset)
    return list(found.values())


def _one_dataset(client: Client, row: DatasetRow) -> Dataset:
    if row.remote_id:
        return client.datasets.get_by_id(row.remote_id)
    return client.datasets.get_by_name(row.name)
