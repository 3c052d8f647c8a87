"""Images: their sizes and their bytes, by signed URL; where none reaches, out of an export or by the API.

A URL that the storage host refuses is replaced. Bytes that turn out to be of another version are kept
under that version's node and the reader of the old one gets ESTALE; see `versions`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from pictofs.api import Client, Dataset, Links
from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import Change, DatasetRow, ImageRow, Kind, block_bytes, node_pk
from pictofs.errors import NotFound, ObjectChanged, ObjectGone, Stale, TransferError, UrlExpired, UsageError
from pictofs.mirror import facts, versions
from pictofs.mirror.access import Membership
from pictofs.mirror.bulk import Bulk
from pictofs.mirror.economy import Face
from pictofs.mirror.links import BATCH_LIMIT, Scope, Signed
from pictofs.mirror.listing import Listings
from pictofs.mirror.plan import Extent, Fetch, extent, length
from pictofs.mirror.renamed import ask_by_name
from pictofs.mirror.singleflight import Flight, SingleFlight, unheard
from pictofs.mirror.transfer import Courier, Progress
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.versions import Seen, Settled, Superseded
from pictofs.mirror.writer import Block, Writer
from pictofs.storage import Get, Got

_log = logging.getLogger(__name__)
# An object that comes whole through the API is held in memory; a larger one needs a signed URL.
API_OBJECT_LIMIT_BYTES = 256 << 20
# How many URLs of one image may be refused before it is asked for without one.
REFUSALS = 8
# And how many in all, with those that were over when they came: where URLs live two seconds and their batches
# take as long, that is nobody's fault, and the next may lead to the bytes.
TRIES = 40


@dataclass(frozen=True, slots=True)
class Arrived:
    """Bytes of an image, however they came."""

    body: bytes | memoryview
    first: int
    seen: Seen
    crc32c: int | None     # of `body`, where it was computed on the way


class Images:
    """Sizes and bytes of images.

    `doubt` is told of a dataset whose listing turned out untrue, `used` whenever somebody needs a URL.
    """

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        flights: SingleFlight,
        listings: Listings,
        bulk: Bulk,
        courier: Callable[[Membership], Courier],
        push: Callable[[Change], None],
        doubt: Callable[[Membership, int], None],
        troubles: Troubles,
        used: Callable[[], None] = unheard,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._flights = flights
        self._listings = listings
        self._bulk = bulk
        self._courier = courier
        self._push = push
        self._doubt = doubt
        self._troubles = troubles
        self._used = used
        self._wall_ns = wall_ns
        self._large = asyncio.Lock()
        self._single: set[int] = set()  # datasets of which single requests were told
        self._renewing: set[asyncio.Task[None]] = set()

    async def measured(
        self, member: Membership, image: int, moved: Callable[[], None] = unheard
    ) -> None:
        """Learns the size of an image that the listing gave none, from one byte of it."""
        row = self._row(image)
        arrived = await self._arrive(member, row, Extent(0, 0), lambda size_bytes: moved())
        settled = await self._settle(image, arrived.seen)
        if settled.stale:
            raise Stale(f"{row.file_name} changed while it was looked at: look again")

    async def bring(
        self, member: Membership, fetch: Fetch, progress: Progress, nearly: Callable[[], None]
    ) -> None:
        """Makes a block of an image present. Stale when the node's version is no longer to be had."""
        row = self._row(node_pk(fetch.node))
        if not row.directory:
            raise Stale(f"this version of {row.file_name} was replaced and is not on disk: open it again")
        wanted = extent(Kind.IMAGE, row.size_bytes, fetch.block)
        try:
            arrived = await self._arrive(member, row, wanted, progress)
        except ObjectChanged:
            await self._replaced(member, row)
            raise
        except ObjectGone:
            self._doubt(member, row.dataset)
            raise
        nearly()
        settled = await self._keep(fetch, arrived)
        if settled is None:
            return
        if settled.node:
            await self._store(settled.node, arrived, None if settled.stale else fetch.block)
        if settled.stale:
            raise Stale(f"{row.file_name} was replaced by another version: open it again")

    async def _keep(self, fetch: Fetch, arrived: Arrived) -> Settled | None:
        """Settles the version; where the bytes are just the block, stores them in the same job: None then."""
        image = node_pk(fetch.node)
        first = fetch.block * block_bytes(Kind.IMAGE)
        size_bytes = length(Kind.IMAGE, arrived.seen.size_bytes, fetch.block)
        if arrived.crc32c is None or (first, size_bytes) != (arrived.first, len(arrived.body)):
            return await self._settle(image, arrived.seen)
        try:
            await self._writer.store(
                Block(fetch.node, fetch.block, arrived.body, arrived.crc32c, arrived.seen)
            )
        except Superseded as superseded:
            self._push(superseded.settled.change)
            return superseded.settled
        return None

    async def _replaced(self, member: Membership, row: ImageRow) -> None:
        """The stored object is not of this version: one byte of it, held to nothing, tells what it is now."""
        anything = msgspec.structs.replace(row, size_bytes=None, generation="")
        arrived = await self._arrive(member, anything, Extent(0, 0), None)
        await self._settle(row.pk, arrived.seen)

    def _row(self, image: int) -> ImageRow:
        row = self._reader.image(image)
        if row is None:
            raise Stale("this image is no longer known: list its directory again")
        return row

    def _dataset(self, row: ImageRow) -> DatasetRow:
        dataset = self._reader.dataset(row.dataset)
        if dataset is None:
            raise Stale(f"the dataset of {row.file_name} is no longer known")
        return dataset

    async def _settle(self, image: int, seen: Seen) -> Settled:
        settled = await self._writer.run(lambda: versions.settle_image(self._catalog, image, seen))
        self._push(settled.change)
        return settled

    async def _store(self, node: int, arrived: Arrived, wanted: int | None) -> None:
        """Stores every block that `arrived` holds whole; TransferError when `wanted` is not among them."""
        step = block_bytes(Kind.IMAGE)
        end = arrived.first + len(arrived.body)
        stored = False
        block = -(-arrived.first // step)
        while True:
            size_bytes = length(Kind.IMAGE, arrived.seen.size_bytes, block)
            at = block * step - arrived.first
            if not size_bytes or at + size_bytes > len(arrived.body):
                break
            piece, crc32c = arrived.body, arrived.crc32c
            if size_bytes != len(arrived.body):
                piece, crc32c = memoryview(arrived.body)[at : at + size_bytes], None
            if crc32c is None:
                crc32c = versions.crc32c(piece)
            await self._writer.store(Block(node, block, piece, crc32c))
            stored = stored or block == wanted
            block += 1
        if wanted is not None and not stored:
            raise TransferError(f"bytes {arrived.first} to {end} came where block {wanted} was asked for")

    async def _arrive(
        self, member: Membership, row: ImageRow, wanted: Extent, progress: Progress | None
    ) -> Arrived:
        """The bytes, by URL where there is one. A batch of URLs that are good is progress too."""
        pool = member.partition.pool
        refusals = 0
        for tried in range(TRIES):
            signed = await self.link(member, row) if refusals < REFUSALS else None
            if signed is None:
                break
            if tried and progress is not None and pool.alive(signed.scope):
                progress(0)
            try:
                got = await self._courier(member).get(request(signed.url, wanted, row), progress)
            except UrlExpired as error:
                self._troubles.note(str(error))
                was_over = pool.refused(signed)
                refusals += 0 if was_over else 1
                continue
            pool.worked(signed)
            return as_arrived(got)
        return await self._without_url(member, row, wanted, progress)

    async def _without_url(
        self, member: Membership, row: ImageRow, wanted: Extent, progress: Progress | None
    ) -> Arrived:
        """Out of an export where that saves, else through the API.

        A large one comes whole, once for all of its blocks, and no two at a time: they are held in memory.
        """
        if wanted == Extent(0, 0) or (row.size_bytes or 0) <= block_bytes(Kind.IMAGE):
            return await self._whole(member, row, wanted, progress)

        async def alone(flight: Flight) -> Arrived:
            async with self._large:
                return await self._whole(member, row, wanted, lambda size_bytes: flight.moved())

        moved = (lambda: progress(0)) if progress is not None else unheard
        return await member.join(self._flights, ("whole", row.pk), alone, moved)

    async def _whole(
        self, member: Membership, row: ImageRow, wanted: Extent, progress: Progress | None
    ) -> Arrived:
        if wanted != Extent(0, 0):
            body = await self._bulk.image(member, row, lambda: progress(0) if progress is not None else None)
            if body is not None:
                return Arrived(body, 0, Seen(len(body)), versions.crc32c(body))
        self._bulk.spend(row.dataset, Face.IMAGES)
        return await self._through_api(member, row, wanted)

    async def _through_api(self, member: Membership, row: ImageRow, wanted: Extent) -> Arrived:
        """One API request; all blocks at once, since the route tells no generation to hold them together."""
        if (row.size_bytes or 0) > API_OBJECT_LIMIT_BYTES:
            raise TransferError(f"{row.file_name} is too large to fetch without a signed URL")
        if row.dataset not in self._single:
            self._single.add(row.dataset)
            self._troubles.log(
                _log,
                f"images of {self._dataset(row).file_name} are beyond the reach of signed URLs "
                f"({BATCH_LIMIT} a batch, or refused by the storage host): each costs one API request",
            )
        image = facts.to_image(row, self._reader.directory(row.directory))
        first, last = (0, 0) if wanted == Extent(0, 0) else (None, None)
        try:
            body, total_bytes = await member.ask(lambda client: client.images.read(image, first, last))
        except NotFound as error:
            self._doubt(member, row.dataset)
            raise Stale(f"{row.file_name} is gone: list its directory again") from error
        except UsageError as error:  # a dialect whose batches hold everything, but not this
            self._doubt(member, row.dataset)
            raise Stale(f"there is no URL for {row.file_name}: list its directory again") from error
        if first is None and total_bytes != len(body):
            raise TransferError(f"{row.file_name}: {len(body)} bytes came where {total_bytes} were promised")
        return Arrived(body, 0, Seen(total_bytes), None)

    async def exported(self, member: Membership, row: ImageRow, coming: int) -> bool:
        """Whether an image that has no URL is to be had out of an export; `coming` more of its kind wait."""
        self._bulk.expect(row.dataset, Face.IMAGES, coming)
        return row.size_bytes is not None and await self._bulk.has_image(member, row)

    def beyond(self, member: Membership, row: ImageRow) -> bool:
        """Whether no batch of URLs holds it, as far as the batches that came have shown."""
        cap = None if member.access.dialect == "a" else BATCH_LIMIT
        pool = member.partition.pool
        return self.pooled(member, row) is None and pool.wanted(self._dataset(row), row, cap) is None

    def pooled(self, member: Membership, row: ImageRow) -> Signed | None:
        """A URL that is good now, if the pool has one."""
        return member.partition.pool.url(row, self._path)

    def pooled_each(self, member: Membership, rows: Sequence[ImageRow]) -> Iterator[Signed | None]:
        """The same of each of these, to be used up at once."""
        return member.partition.pool.urls(rows, self._path)

    async def link(self, member: Membership, row: ImageRow) -> Signed | None:
        """A URL that is good now, from the pool or by the batches that may hold it; None where none does."""
        self._used()
        pool = member.partition.pool
        cap = None if member.access.dialect == "a" else BATCH_LIMIT
        for _ in range(3):  # all; of its status; and once more when a listing came in between
            signed = pool.url(row, self._path)
            if signed is not None:
                if pool.due(signed):
                    self.renew(member, row.dataset, signed.scope)
                return signed
            wanted = pool.wanted(self._dataset(row), row, cap)
            if wanted is None:
                return None
            if wanted.wait_s:
                if cap is not None:
                    return None  # the storage host takes none of them: the API serves meanwhile
                await asyncio.sleep(wanted.wait_s)
            await self._signed(member, row.dataset, wanted.scope)
        return pool.url(row, self._path)

    def renew(self, member: Membership, dataset: int, scope: Scope) -> None:
        """Asks for the next batch while the one in use is still good; nobody waits for it."""
        if ("links", scope) in self._flights:
            return
        task = asyncio.ensure_future(self._signed(member, dataset, scope))
        self._renewing.add(task)
        task.add_done_callback(self._renewed)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing.discard(task)
        if not task.cancelled():
            task.exception()  # who needs the batch meets the same

    async def _signed(self, member: Membership, dataset: int, scope: Scope) -> None:
        await member.join(
            self._flights, ("links", scope), lambda flight: self._batch(member, dataset, scope)
        )

    async def _batch(self, member: Membership, dataset: int, scope: Scope) -> None:
        asked_ns, asked_s = self._wall_ns(), time.monotonic()

        def sign(client: Client, meant: Dataset) -> Links:
            return client.datasets.links(meant, mode="images_only", status=scope.status, limit=BATCH_LIMIT)

        links = await ask_by_name(self._reader, self._listings.renew, member, dataset, sign)
        took_s = time.monotonic() - asked_s
        member.partition.pool.fill(scope, links, asked_ns, whole=not links.capped, took_s=took_s)

    def _path(self, row: ImageRow) -> str:
        directory = self._reader.directory(row.directory) if row.directory else None
        return directory.remote_path if directory else "/"


def request(url: str, wanted: Extent, row: ImageRow, sink: str | None = None) -> Get:
    """Held to the size and generation that the version has, where they are known."""
    generation = row.generation if row.generation.isdigit() else None  # else it is an ETag
    expect_bytes = None
    if row.size_bytes is not None:
        last = row.size_bytes - 1 if wanted.last is None else min(wanted.last, row.size_bytes - 1)
        expect_bytes = max(0, last + 1 - (wanted.first or 0))
    return Get(
        url, wanted.first, wanted.last, generation=generation, expect_bytes=expect_bytes, sink=sink
    )


def as_arrived(got: Got) -> Arrived:
    """A transfer's bytes, with what the storage host said of the object."""
    seen = Seen(got.total_bytes, got.generation or got.etag, got.md5, got.crc32c_object)
    return Arrived(got.body, got.first, seen, got.crc32c)

