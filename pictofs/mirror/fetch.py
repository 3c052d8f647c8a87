"""Fetching: every wanted block once, the urgent first, for as many claims as there are.

A `Want` becomes a claim on the blocks that are not present. A block wanted by several is one flight; it is
promoted when somebody more urgent joins, and given up when nobody waits any more, unless its bytes are
nearly here. `plan` decides which flights start; this module starts them and tells how they end.

Flights of one organization share lanes, so that one whose service is slow takes no slot of another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import Kind, block_bytes, node_kind
from pictofs.errors import KeyRefused, PictofsError, Unreachable, UsageError
from pictofs.link.messages import Priority, Want
from pictofs.mirror import availability
from pictofs.mirror.access import Membership
from pictofs.mirror.flight import Claim, Ended, Flight, GivenUp, Queue, Underway, error_of, underway
from pictofs.mirror.memory import Memory
from pictofs.mirror.plan import (
    API_JOBS,
    ARCHIVE_JOBS,
    INFLATE_JOBS,
    Fetch,
    Lane,
    blocks,
    lane,
    length,
    plan,
    spare,
    weight,
)
from pictofs.mirror.transfer import Progress

_JOBS = {Lane.API: API_JOBS, Lane.ARCHIVE: ARCHIVE_JOBS, Lane.INFLATE: INFLATE_JOBS}
# More blocks than this in one Want are a mistake: 64 GiB of media.
WANT_LIMIT_BLOCKS = 8192

def _permitted() -> None:
    """Nothing is in the way."""


class Source(Protocol):
    """Where the blocks of one kind of node come from."""

    async def bring(
        self, member: Membership, fetch: Fetch, progress: Progress, nearly: Callable[[], None]
    ) -> None:
        """Makes the block present in store and catalog; `nearly` once its bytes are here. PictofsError."""


class Fetcher:
    """The flights of all organizations. Lives in one event loop.

    `recheck` verifies a block of the store and makes it trusted again, or drops it and answers False.
    `permit` raises what a fetch ends in that may not begin.
    """

    def __init__(
        self,
        reader: CatalogReader,
        sources: Mapping[Kind, Source],
        recheck: Callable[[Fetch], Awaitable[bool]],
        *,
        jobs: int,
        memory: Memory,
        permit: Callable[[], None] = _permitted,
    ) -> None:
        self._reader = reader
        self._sources = sources
        self._recheck = recheck
        self._jobs = jobs
        self._memory = memory
        self._permit = permit
        self._flights: dict[Fetch, Flight] = {}
        self._queues: dict[tuple[int, Lane], Queue] = {}

    def want(
        self, member: Membership, want: Want, ended: Ended, moved: Callable[[], None]
    ) -> Claim | None:
        """Begins what `want` lacks; None when nothing is lacking or it makes no sense.

        `ended` is called exactly once unless the claim is cancelled, in the second case before this returns.
        """
        try:
            missing = self._missing(want)
        except PictofsError as error:
            ended(error)
            return None
        if not missing:
            ended(None)
            return None
        priority = Priority(want.priority)
        claim = Claim(member, set(missing), priority, ended, moved, want.pid)
        for fetch in missing:
            self._board(claim, fetch, want.lost)
        for chosen in {self._queue_of(member, fetch): None for fetch in missing}:
            self._start(chosen)
        return claim

    async def bring(self, member: Membership, want: Want, moved: Callable[[], None]) -> None:
        """Returns when what `want` asks for is present. PictofsError."""
        future: asyncio.Future[PictofsError | None] = asyncio.get_running_loop().create_future()

        def ended(error: PictofsError | None) -> None:
            if not future.done():
                future.set_result(error)

        claim = self.want(member, want, ended, moved)
        try:
            error = await future
        except asyncio.CancelledError:
            if claim is not None:
                self.cancel(claim)
            raise
        if error is not None:
            raise error

    def cancel(self, claim: Claim) -> None:
        """Nobody waits for this claim any more; it is told nothing."""
        for fetch in claim.missing:
            flight = self._flights.get(fetch)
            if flight is None:
                continue
            flight.claims.discard(claim)
            if flight.claims or flight.carried:
                continue
            if flight.task is None:
                del flight.queue.waiting[flight.priority][fetch]
                del self._flights[fetch]
            elif not flight.nearly:
                flight.task.cancel()
        claim.missing.clear()

    def spare(self, organization: int) -> int:
        """How many more images may be handed to a convoy now, for an organization."""
        queue = self._queue(organization, Lane.STORAGE)
        return 0 if queue.waiting[Priority.DEMAND] else spare(queue.running, queue.jobs, queue.carried)

    def carry(self, member: Membership, fetch: Fetch, priority: Priority) -> bool:
        """Another way brings this block: who wants it meanwhile waits for that. False when it is on its way.

        `carried` must follow.
        """
        if fetch in self._flights:
            return False
        queue = self._queue_of(member, fetch)
        queue.carried += 1
        self._flights[fetch] = Flight(fetch, queue, False, priority, carried=True)
        return True

    def progressed(self, fetch: Fetch, size_bytes: int) -> None:
        """So many bytes of a block have come: who waits for it goes on waiting."""
        flight = self._flights.get(fetch)
        if flight is None:
            return
        kind = _kind(fetch.node)
        whole_bytes = self._reader.size_bytes(fetch.node)
        expected = length(kind, whole_bytes, fetch.block) if whole_bytes else block_bytes(kind)
        flight.size_bytes = size_bytes
        flight.nearly = flight.nearly or 2 * size_bytes >= expected
        flight.queue.moved = True
        for claim in tuple(flight.claims):
            claim.moved()

    def arrived(self, fetches: Iterable[Fetch]) -> None:
        """The transfers of what is carried have ended; `carried` follows when it is in the store."""
        freed: dict[Queue, None] = {}
        for fetch in fetches:
            flight = self._flights.get(fetch)
            if flight is not None and flight.carried and not flight.arrived:
                flight.arrived = True
                flight.queue.carried -= 1
                freed[flight.queue] = None
        self._start_waiting(freed)

    def carried(self, outcomes: Iterable[tuple[Fetch, bool]]) -> None:
        """How each of these ended: in the store or not. Who waits for one that is not is served otherwise."""
        freed: dict[Queue, None] = {}
        for fetch, brought in outcomes:
            flight = self._flights.get(fetch)
            if flight is None or not flight.carried:
                continue  # stopped
            del self._flights[fetch]
            if not flight.arrived:
                flight.queue.carried -= 1
            flight.queue.moved = True
            freed[flight.queue] = None
            for claim in flight.claims:
                if not brought:
                    self._board(claim, fetch, False)
                    continue
                claim.missing.discard(fetch)
                if not claim.missing:
                    claim.ended(None)
        self._start_waiting(freed)
        self._start_short()

    def set_jobs(self, jobs: int) -> None:
        """Another number of transfers at once, for each organization."""
        self._jobs = jobs
        for (_, which), queue in self._queues.items():
            if which is Lane.STORAGE:
                queue.jobs = jobs
                self._start(queue)

    @property
    def saturated(self) -> bool:
        """Whether somebody waits for a transfer to end."""
        return any(
            which is Lane.STORAGE and queue.waits
            for (_, which), queue in self._queues.items()
        )

    def breathe(self) -> None:
        """Tells those who wait for a slot, here or with a convoy, that the line moves: that is progress."""
        moved = [queue for queue in self._queues.values() if queue.moved]
        for flight in tuple(self._flights.values()) if moved else ():
            if flight.task is None and flight.queue.moved:
                for claim in tuple(flight.claims):
                    claim.moved()
        for queue in moved:
            queue.moved = False

    def counts(self) -> dict[str, int]:
        """How many blocks wait or are on their way, by priority, as status.json names them."""
        counts: Counter[Priority] = Counter(flight.priority for flight in self._flights.values())
        return {priority.name.lower(): counts[priority] for priority in Priority}

    def underway(self, limit: int) -> list[Underway]:
        """At most `limit` flights, the urgent and then the old first."""
        return underway(self._flights.values(), limit)

    def concerning(self, node: int, limit: int) -> list[tuple[Underway, int]]:
        """At most `limit` flights of a file, each with how many fetches wait before it."""
        return [
            (each, self._flights[each.fetch].queue.before(each.fetch, each.priority))
            for each in underway((f for fetch, f in self._flights.items() if fetch.node == node), limit)
        ]

    async def stop(self) -> None:
        """Cancels every flight and waits for the end; claims are told nothing."""
        tasks = [flight.task for flight in self._flights.values() if flight.task]
        self._flights.clear()
        self._queues.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _missing(self, want: Want) -> list[Fetch]:
        kind = _kind(want.node)
        if kind not in self._sources or not 0 <= want.first <= want.last:
            raise UsageError(f"node {want.node} has no blocks {want.first} to {want.last}")
        if want.last - want.first >= WANT_LIMIT_BLOCKS:
            raise UsageError(f"more than {WANT_LIMIT_BLOCKS} blocks are wanted at once")
        return [
            Fetch(want.node, block)
            for block in blocks(kind, self._reader.size_bytes(want.node), want.first, want.last)
            if want.lost or self._reader.block(want.node, block) is None
        ]

    def _board(self, claim: Claim, fetch: Fetch, lost: bool) -> None:
        flight = self._flights.get(fetch)
        if flight is None:
            queue = self._queue_of(claim.member, fetch)
            flight = self._flights[fetch] = Flight(fetch, queue, lost, claim.priority)
            queue.waiting[claim.priority][fetch] = None
        elif claim.priority < flight.priority:
            queue = flight.queue
            if flight.carried:
                pass  # it is as good as here
            elif flight.task is None:
                queue.waiting[flight.priority].pop(fetch, None)
                queue.waiting[claim.priority][fetch] = None
            else:
                queue.running[flight.priority] -= 1
                queue.running[claim.priority] += 1
            flight.priority = claim.priority
        flight.claims.add(claim)

    def _queue_of(self, member: Membership, fetch: Fetch) -> Queue:
        return self._queue(member.organization, lane(fetch.node))

    def _queue(self, organization: int, which: Lane) -> Queue:
        key = (organization, which)
        if key not in self._queues:
            self._queues[key] = Queue(_JOBS.get(which, self._jobs))
        return self._queues[key]

    def _start_waiting(self, freed: Iterable[Queue]) -> None:
        """There are slots of these."""
        for queue in freed:
            if queue.waits:
                self._start(queue)

    def _start(self, queue: Queue) -> None:
        for fetch in plan(
            queue.waiting, queue.running, queue.jobs, self._memory, self._weight, carried=queue.carried
        ):
            flight = self._flights[fetch]
            flight.weight_bytes = self._weight(fetch)
            self._memory.take(flight.weight_bytes)
            del queue.waiting[flight.priority][fetch]
            member = min(flight.claims, key=lambda claim: claim.priority).member
            queue.running[flight.priority] += 1
            flight.task = asyncio.ensure_future(self._fly(member, flight))
            flight.task.add_done_callback(
                lambda task, flight=flight, member=member: self._landed(member, flight, task)  # type: ignore[misc]
            )

        # A slot is free and somebody waits: then it is for memory, which whoever ends next gives back.
        queue.short = queue.waits and sum(queue.running.values()) < queue.jobs

    def _start_short(self) -> None:
        """Memory was given back."""
        for queue in self._queues.values():
            if queue.short:
                self._start(queue)

    def _weight(self, fetch: Fetch) -> int:
        return weight(_kind(fetch.node), self._reader.size_bytes(fetch.node), fetch.block)

    async def _fly(self, member: Membership, flight: Flight) -> None:
        if flight.lost and await self._recheck(flight.fetch):
            return
        standing = member.access.standing
        if member.policy.offline == "on" or (
            standing.refused
            and not availability.in_grace(standing, member.policy.auth_grace_s, member.clock())
        ):
            raise availability.failure(standing, member.policy.offline)
        self._permit()

        kind = _kind(flight.fetch.node)

        def progressed(size_bytes: int) -> None:
            self.progressed(flight.fetch, size_bytes)

        def nearly() -> None:
            flight.nearly = True

        await self._sources[kind].bring(member, flight.fetch, progressed, nearly)

    def _landed(self, member: Membership, flight: Flight, task: asyncio.Task[None]) -> None:
        queue = flight.queue
        queue.running[flight.priority] -= 1
        queue.moved = True
        self._memory.give(flight.weight_bytes)
        if self._flights.get(flight.fetch) is not flight:
            return  # stopped
        error = error_of(task)
        again = self._others(member, flight, error)
        del self._flights[flight.fetch]
        for claim in flight.claims - again:
            claim.missing.discard(flight.fetch)
            if error is not None:
                self.cancel(claim)
                claim.ended(error)
            elif not claim.missing:
                claim.ended(None)
        for claim in again:
            self._board(claim, flight.fetch, False)
        self._start(queue)
        self._start_short()

    def _others(self, member: Membership, flight: Flight, error: PictofsError | None) -> set[Claim]:
        """The claims that a failure does not concern: those with another key, or that may ask the network.

        A flight that was cancelled has claims only if they came in that very moment: they begin anew.
        """
        if isinstance(error, GivenUp):
            return set(flight.claims)
        if isinstance(error, KeyRefused | Unreachable):
            mine = (member.access, member.policy.offline)
            return {
                claim
                for claim in flight.claims
                if (claim.member.access, claim.member.policy.offline) != mine
            }
        return set()


def _kind(node: int) -> Kind:
    try:
        return node_kind(node)
    except ValueError:
        return Kind.CONTROL  # no source has it


