"""Annotations: bodies by one API request each, or out of an export where that saves; kept by their hash.

The size of an annotation is that of its body, so a look at one fetches it. The body goes into the store
before its version is known to the catalog's readers' kernel: a size is never told of bytes that are not here.
Bodies that have come are kept together, by `deposit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from pictofs.api import Client, Dataset
from pictofs.catalog import CatalogReader
from pictofs.catalog.model import AnnotationRow, Change, ImageRow, node_pk
from pictofs.errors import NotFound, Stale
from pictofs.link.messages import Priority
from pictofs.mirror import revalidate
from pictofs.mirror.access import Membership
from pictofs.mirror.bulk import Bulk, Document
from pictofs.mirror.deposit import Deposit
from pictofs.mirror.economy import Face
from pictofs.mirror.errands import Brought, Errands, brought
from pictofs.mirror.listing import Listings
from pictofs.mirror.plan import Fetch
from pictofs.mirror.renamed import Names, ask_by_name
from pictofs.mirror.singleflight import SingleFlight, unheard
from pictofs.mirror.transfer import Progress
from pictofs.mirror.versions import version_of

THREADS_TAKEN = 18  # of those for API calls, by what nobody waits for: demand finds the others
# What B and C give for an image without annotations, as the mount shows it.
EMPTY_BODY = b'{\n  "annotations": []\n}\n'


class Annotations:
    """Fetches and keeps bodies. `push` tells the mounts of a body that changed.

    `doubt` is told of a dataset whose listing turned out untrue.
    """

    def __init__(
        self,
        reader: CatalogReader,
        flights: SingleFlight,
        listings: Listings,
        bulk: Bulk,
        errands: Errands,
        deposit: Deposit,
        push: Callable[[Change], None],
        doubt: Callable[[Membership, int], None],
        *,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._errands = errands
        self._names = Names(reader)
        self._ordinary = asyncio.Semaphore(THREADS_TAKEN)
        self._deposit = deposit
        self._flights = flights
        self._listings = listings
        self._bulk = bulk
        self._push = push
        self._doubt = doubt
        self._wall_ns = wall_ns

    async def fetched(
        self,
        member: Membership,
        image: int | ImageRow,
        *,
        background: bool = False,
        priority: Priority = Priority.DEMAND,
        doubted: bool = False,
        moved: Callable[[], None] = unheard,
    ) -> AnnotationRow:
        """The current version of an image's annotation, just fetched (or known to be empty) and stored.

        `background`: the budget's reserve is not for this. `doubted`: a body is known and its age in doubt,
        or somebody wants the truth: the service is asked. `moved` is called as something of it comes.
        """
        row = self._reader.image(image) if isinstance(image, int) else image
        if row is None or not row.directory:
            raise Stale("this image is no longer known: list its directory again")
        asked_ns = self._wall_ns()
        document = None
        if not doubted and not revalidate.known_empty(row, member.access.dialect):
            document = await self._bulk.annotation(member, row, moved)
        body = document.source.shape.body(document.content) if document is not None else None
        known = self._reader.annotation(row.annotation) if body else None
        if body and document and known and document.source.offer.created_ns <= known.fetched_ns:
            # The archive is older than what was fetched: good for bytes that were evicted, and no news.
            asked_ns = known.fetched_ns
            if version_of(body) != known.version:
                body = document = None
        if body is not None:
            found = brought(body)
        else:
            asked_ns = self._wall_ns()
            found = await self._asked(member, row, document, background, priority, moved)
        kept = await self._deposit.keep(row.pk, found, asked_ns)
        self._push(kept.change)
        return kept.annotation

    async def bring(
        self, member: Membership, fetch: Fetch, progress: Progress, nearly: Callable[[], None]
    ) -> None:
        """Makes the body of an annotation present. Stale when it is another version by now."""
        row = self._reader.annotation(node_pk(fetch.node))
        image = self._reader.image_of_annotation(node_pk(fetch.node))
        if row is None or image is None or row.superseded or not image.directory:
            raise Stale("this version of an annotation was replaced and is not on disk: open it again")
        await member.join(
            self._flights, ("annotation", image.ino),
            lambda flight: self.fetched(member, image.pk, moved=flight.moved), lambda: progress(0),
        )  # fmt: skip
        current = self._reader.image(image.pk)
        if current is None or current.annotation != row.pk:
            raise Stale(f"the annotation of {image.file_name} was replaced by another version: open it again")

    async def _asked(
        self,
        member: Membership,
        row: ImageRow,
        document: Document | None,
        background: bool,
        priority: Priority,
        moved: Callable[[], None],
    ) -> Brought:
        """The API's body, which teaches how an archive's documents become bodies; a few do for all."""
        if document is None or document.source.shape.broken:
            return await self._body(member, row, background, priority, moved)
        shape = document.source.shape
        async with document.source.lessons:
            body = shape.body(document.content)  # the lessons of those before may have been enough
            if body is None:
                body = await self._ordinarily(member, row, background, priority)
                if not shape.learn(document.content, body):
                    self._bulk.disagreed(document.source)
        return brought(body)

    async def _body(
        self,
        member: Membership,
        row: ImageRow,
        background: bool,
        priority: Priority,
        moved: Callable[[], None],
    ) -> Brought:
        if revalidate.known_empty(row, member.access.dialect):
            return brought(EMPTY_BODY)
        ahead = priority is not Priority.DEMAND
        dataset = self._names.dataset(row.dataset) if ahead else None
        if dataset is not None:
            member.check()
            found = await self._errands.body(member, dataset, self._names.image(row), moved)
            if found is not None:
                self._bulk.spend(row.dataset, Face.ANNOTATIONS)
                return found
        return brought(await self._ordinarily(member, row, background, priority))

    async def _ordinarily(
        self, member: Membership, row: ImageRow, background: bool, priority: Priority
    ) -> bytes:
        image = self._names.image(row)

        def body(client: Client, meant: Dataset) -> bytes:
            return client.annotations.get(meant, image)

        self._bulk.spend(row.dataset, Face.ANNOTATIONS)
        try:
            async with contextlib.nullcontext() if priority is Priority.DEMAND else self._ordinary:
                return await ask_by_name(
                    self._reader, self._listings.renew, member, row.dataset, body, priority,
                    background=background,
                )  # fmt: skip
        except NotFound as error:
            self._doubt(member, row.dataset)
            raise Stale(f"the annotation of {row.file_name} is gone: list its directory again") from error
