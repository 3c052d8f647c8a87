"""Looks: makes what the catalog says fresh enough, by what `revalidate` and `availability` decide.

A look is a chain of steps (the list of datasets; one dataset; its images; a size; a body). Each step runs
once for all who look meanwhile. Where something complete is known, a service that does not answer is waited
for only a few seconds, and one that failed is left alone for a backoff: what is known is served.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from cachetools import LRUCache

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DatasetRow, Kind, node_pk
from pictofs.errors import Forbidden, KeyRefused, NotFound, PictofsError, RateLimited
from pictofs.mirror import availability, revalidate
from pictofs.mirror.access import Membership
from pictofs.mirror.annotations import Annotations
from pictofs.mirror.availability import Verdict
from pictofs.mirror.exports import Exports
from pictofs.mirror.images import Images
from pictofs.mirror.listing import Listings
from pictofs.mirror.locate import OF_EXPORT, Place, place
from pictofs.mirror.members import Members
from pictofs.mirror.openings import Openings
from pictofs.mirror.revalidate import Due
from pictofs.mirror.singleflight import Flight, Progress, SingleFlight

_log = logging.getLogger(__name__)
LONGEST_BACKOFF_S = 30.0
SETBACKS = 10_000  # a step each, many of them of single images
Run = Callable[[Flight], Awaitable[object]]


@dataclass(slots=True)
class Setback:
    """A step that failed: when it may be tried again, and what it failed with."""

    failures: int
    next_try_s: float
    error: PictofsError


class Looks:
    """Answers looks. Lives in one event loop; reads the catalog, writes through its collaborators."""

    def __init__(
        self,
        reader: CatalogReader,
        flights: SingleFlight,
        listings: Listings,
        images: Images,
        annotations: Annotations,
        exports: Exports,
        openings: Openings,
        members: Members,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._flights = flights
        self._listings = listings
        self._images = images
        self._annotations = annotations
        self._exports = exports
        self._openings = openings
        self._members = members
        self._clock = clock
        self._wall_ns = wall_ns
        self._chance = chance
        self._setbacks: LRUCache[Hashable, Setback] = LRUCache(SETBACKS)
        self._doubted: dict[int, float] = {}
        self._relisting: set[asyncio.Task[None]] = set()
        # steps under way that somebody has waited for in vain: what is known is served at once meanwhile
        self._late: set[Hashable] = set()

    async def look(self, member: Membership, node: int, *, force: bool, moved: Progress) -> None:
        """Returns when the catalog is fresh enough for `node`, or is to be served as it is. PictofsError."""
        where = place(self._reader, node)
        if where is None:
            return  # a lookup in the catalog will say so
        if where.dataset is None:
            await self._datasets(member, force, moved)
        elif where.dataset.gone:
            return
        elif where.kind in (Kind.DATASET, Kind.DATASET_JSON):
            await self._dataset(member, where.dataset, force, moved)
        elif where.kind is Kind.EXPORTS or where.kind in OF_EXPORT:
            await self._of_exports(member, where, where.dataset, force, moved)
        elif where.kind is Kind.MEMBER:
            await self._step(
                member, ("member", node), False, force, moved,
                lambda flight: self._members.located(member, node_pk(node), flight),
            )  # fmt: skip
        elif where.kind is Kind.IMAGE:
            await self._size(member, node, moved)
        elif where.kind is Kind.ANNOTATION:
            await self._dataset(member, where.dataset, force, moved)
            await self._body(member, node, force, moved)
        else:
            await self._of_images(member, where.dataset, force, moved)

    def doubt(self, member: Membership, dataset: int) -> None:
        """Something showed that the listing of a dataset is not true: it is made anew, at most once a ttl."""
        now_s = self._clock()
        if now_s - self._doubted.get(dataset, float("-inf")) < member.policy.ttl_s:
            return
        self._doubted[dataset] = now_s
        task = asyncio.ensure_future(self._relist(member, dataset))
        self._relisting.add(task)
        task.add_done_callback(self._relisting.discard)

    async def stop(self) -> None:
        """Cancels what `doubt` began."""
        for task in self._relisting:
            task.cancel()
        await asyncio.gather(*self._relisting, return_exceptions=True)

    async def _relist(self, member: Membership, dataset: int) -> None:
        row = self._reader.dataset(dataset)
        if row is None or row.gone:
            return
        try:
            await self._of_images(member, row, True, _nobody)
        except PictofsError as error:
            _log.info("the listing of %s could not be made anew: %s", row.file_name, error)

    def forget_setbacks(self) -> None:
        """The service is back: nothing waits for a backoff."""
        self._setbacks.clear()

    async def _datasets(self, member: Membership, force: bool, moved: Progress) -> None:
        row = self._reader.organization(member.organization)
        if row is None:
            return
        archived = member.policy.archived == "show" and not member.partition.listed_archived
        if archived or revalidate.datasets_due(
            row, ttl_ns=member.policy.ttl_ns, now_ns=self._wall_ns(), force=force
        ):
            await self._step(
                member, ("datasets", row.pk), bool(row.checked_ns), force, moved,
                lambda flight: self._listings.datasets(member, flight),
            )  # fmt: skip

    async def _dataset(self, member: Membership, row: DatasetRow, force: bool, moved: Progress) -> None:
        if revalidate.dataset_due(row, ttl_ns=member.policy.ttl_ns, now_ns=self._wall_ns(), force=force):
            await self._step(
                member, ("dataset", row.pk), True, force, moved,
                lambda flight: self._listings.dataset(member, row.pk, flight),
            )  # fmt: skip

    async def _of_images(self, member: Membership, row: DatasetRow, force: bool, moved: Progress) -> None:
        await self._dataset(member, row, force, moved)
        checked = self._reader.dataset(row.pk)
        if checked is None or checked.gone:
            return
        due = revalidate.listing_due(
            checked,
            ttl_ns=member.policy.ttl_ns,
            now_ns=self._wall_ns(),
            force=force,
            remaining=member.access.remaining,
        )
        if due is Due.PUT_OFF:
            self._listings.put_off(checked)
        if due is Due.YES:
            await self._step(
                member, ("images", row.pk), bool(checked.listed_ns), force, moved,
                lambda flight: self._listings.images(member, row.pk, flight),
            )  # fmt: skip

    async def _of_exports(
        self, member: Membership, where: Place, row: DatasetRow, force: bool, moved: Progress
    ) -> None:
        now_ns = self._wall_ns()
        if revalidate.exports_due(row, ttl_ns=member.policy.ttl_ns, now_ns=now_ns, force=force):
            await self._step(
                member, ("exports", row.pk), bool(row.exports_listed_ns), force, moved,
                lambda flight: self._exports.listed(member, row.pk, flight),
            )  # fmt: skip
        export = self._reader.export(where.export.pk) if where.export else None
        opens = export and where.kind is Kind.EXPORT_OPENED and not export.gone
        if export and opens and self._reader.opened(export.pk) is None:
            await self._step(
                member, ("opened", export.pk), False, force, moved,
                lambda flight: self._openings.opened(member, export.pk, flight),
            )  # fmt: skip
        if export and where.kind is Kind.EXPORT and export.size_bytes is None and not export.gone:
            await self._step(
                member, ("size", where.node), False, force, moved,
                lambda flight: self._exports.measured(member, export.pk),
            )  # fmt: skip

    async def _size(self, member: Membership, node: int, moved: Progress) -> None:
        where = place(self._reader, node)
        if where and where.image and where.image.directory and where.image.size_bytes is None:
            image = where.image
            await self._step(
                member, ("size", node), False, False, moved,
                lambda flight: self._images.measured(member, image.pk, flight.moved),
            )  # fmt: skip

    async def _body(self, member: Membership, node: int, force: bool, moved: Progress) -> None:
        where = place(self._reader, node)
        if where is None or where.image is None or where.annotation is None or not where.image.directory:
            return
        if where.annotation.superseded:
            return
        # Before this process saw a change or none, the last listing may have been made for one.
        listed_ns = where.dataset.listed_ns if where.dataset else 0
        changed_ns = member.partition.changed_ns.get(where.image.dataset, listed_ns)
        if revalidate.annotation_due(
            where.annotation,
            changed_ns=changed_ns,
            ttl_ns=member.policy.ttl_ns,
            now_ns=self._wall_ns(),
            force=force,
        ):
            image, known = where.image, bool(where.annotation.fetched_ns)
            await self._step(
                member, ("annotation", image.ino), known, force, moved,
                lambda flight: self._annotations.fetched(
                    member, image.pk, background=known, doubted=known or force, moved=flight.moved
                ),
            )  # fmt: skip

    async def _step(
        self, member: Membership, key: Hashable, known: bool, force: bool, moved: Progress, run: Run
    ) -> None:
        """One step for one looker: returns when it ran or what is known is to be served."""
        known = known and not force  # who forces wants the truth or to be told
        verdict = member.verdict(known=known)
        if verdict is Verdict.FAIL:
            raise availability.failure(member.access.standing, member.policy.offline)
        if verdict is Verdict.SERVE:
            return
        setback = self._setbacks.get(key)
        if setback and not force and self._clock() < setback.next_try_s:
            self._served(member, setback.error, known)
            return
        if known and key in self._late and member.policy.offline != "off":
            return
        try:
            await self._run(member, key, known, moved, run)
        except PictofsError as error:
            self._served(member, error, known)

    def _served(self, member: Membership, error: PictofsError, known: bool) -> None:
        """Returns when what is known is served in spite of `error`, else raises."""
        final = availability.after(
            error,
            member.access.standing,
            offline=member.policy.offline,
            grace_s=member.policy.auth_grace_s,
            now_s=self._clock(),
            known=known,
        )
        if final is not None:
            raise final.with_traceback(None)

    async def _run(
        self, member: Membership, key: Hashable, known: bool, moved: Progress, run: Run
    ) -> None:
        """Joins the step's flight; where something is known, no longer than patience without progress."""
        last_s = self._clock()
        patient = known and member.policy.offline != "off"  # has something to fall back on

        def progressed() -> None:
            nonlocal last_s
            last_s = self._clock()
            moved()

        joined = asyncio.ensure_future(
            member.join(
                self._flights, key, lambda flight: self._noted(key, member, flight, run), progressed
            )
        )
        try:
            while not joined.done():
                left_s = last_s + member.policy.patience_s - self._clock() if patient else None
                if left_s is not None and left_s <= 0:
                    self._late.add(key)
                    return
                await asyncio.wait({joined}, timeout=left_s)
            await joined
        finally:
            joined.cancel()

    async def _noted(self, key: Hashable, member: Membership, flight: Flight, run: Run) -> None:
        """The flight itself: how it ends decides when it is tried again."""
        try:
            await run(flight)
        except (Forbidden, NotFound, KeyRefused):
            raise  # an answer; asking again is as good as the first time
        except PictofsError as error:
            before = self._setbacks.get(key)
            failures = before.failures + 1 if before else 0
            longest_s = min(LONGEST_BACKOFF_S, max(1.0, member.policy.ttl_s / 2))
            wait_s = availability.backoff_s(failures, longest_s, self._chance())
            if isinstance(error, RateLimited):
                wait_s = max(wait_s, error.retry_after_s or 0.0)
            self._setbacks[key] = Setback(failures, self._clock() + wait_s, error)
            raise
        finally:
            self._late.discard(key)
        self._setbacks.pop(key, None)


def _nobody() -> None:
    """A relisting of our own has no one to tell."""
