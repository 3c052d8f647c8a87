"""What the fetcher keeps account of: claims, the flights they wait for, the queues those stand in.

Who looks from outside is shown flights as `Underway`.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pictofs.errors import PictofsError, TransferError
from pictofs.link.messages import Priority
from pictofs.mirror.access import Membership
from pictofs.mirror.plan import Fetch

_log = logging.getLogger(__name__)
Ended = Callable[[PictofsError | None], None]


@dataclass(eq=False, slots=True)
class Claim:
    """One Want that waits: what is still missing, and whom to tell."""

    member: Membership
    missing: set[Fetch]
    priority: Priority
    ended: Ended
    moved: Callable[[], None]
    pid: int = 0                     # of the reader; 0 where nobody knows, or nobody waits


class Queue:
    """The flights of one lane of one organization: waiting by priority, and how many run."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.waiting: dict[Priority, dict[Fetch, None]] = {priority: {} for priority in Priority}
        self.running: Counter[Priority] = Counter()
        self.carried = 0    # on their way by convoy
        self.moved = False  # since the last breath
        self.short = False  # of memory: something waits for nothing else

    @property
    def waits(self) -> bool:
        """Whether something waits here."""
        return any(self.waiting.values())

    def before(self, fetch: Fetch, priority: Priority) -> int:
        """How many wait in front of it; 0 for what does not wait."""
        if fetch not in self.waiting[priority]:
            return 0
        more_urgent = sum(len(waiting) for each, waiting in self.waiting.items() if each < priority)
        return more_urgent + list(self.waiting[priority]).index(fetch)


@dataclass(eq=False, slots=True)
class Flight:
    """One block on its way."""

    fetch: Fetch
    queue: Queue
    lost: bool                       # what is on disk is to be verified first
    priority: Priority
    claims: set[Claim] = field(default_factory=set)
    task: asyncio.Task[None] | None = None
    nearly: bool = False
    carried: bool = False            # by a convoy, which says how it ends; no task of ours
    arrived: bool = False            # its transfer has ended, its writing has not: it takes no slot
    weight_bytes: int = 0            # of memory that it takes, once it runs
    since_s: float = field(default_factory=time.monotonic)
    size_bytes: int = 0              # that have come


@dataclass(frozen=True, slots=True)
class Underway:
    """A flight as it is shown."""

    fetch: Fetch
    priority: Priority
    doing: str                       # "queued", "fetching" or "writing"
    age_s: float
    size_bytes: int                  # that have come; 0 where its way does not tell
    pids: tuple[int, ...]            # of the readers that wait for it


def underway(flights: Iterable[Flight], limit: int) -> list[Underway]:
    """At most `limit` flights, the urgent and then the old first."""
    now_s = time.monotonic()
    return [
        Underway(
            flight.fetch,
            flight.priority,
            _doing(flight),
            now_s - flight.since_s,
            flight.size_bytes,
            tuple(sorted({claim.pid for claim in flight.claims if claim.pid})),
        )
        for flight in heapq.nsmallest(limit, flights, key=lambda flight: (flight.priority, flight.since_s))
    ]


class GivenUp(PictofsError):
    """Nobody waits for a flight any more."""


def error_of(task: asyncio.Task[None]) -> PictofsError | None:
    """What a flight's task ended in; what should not happen is logged."""
    if task.cancelled():
        return GivenUp("given up")
    error = task.exception()
    if error is None or isinstance(error, PictofsError):
        return error
    _log.error("a fetch failed in a way it should not", exc_info=error)
    return TransferError("the fetching process met an unexpected error; its log has the details")


def _doing(flight: Flight) -> str:
    if flight.arrived:
        return "writing"
    return "fetching" if flight.carried or flight.task is not None else "queued"
