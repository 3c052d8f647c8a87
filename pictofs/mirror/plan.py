"""Which blocks are fetched next: pure.

A `Fetch` is one block of one node. It waits in the lane of what it takes (a storage transfer, or a request
of the budget) under the priority of its most urgent waiter, first come first served. `plan` says which
of those that wait start now. Look-ahead and fill are priorities like demand: whoever looks ahead adds
fetches to the same lanes, and demand finds slots that they may not take.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from pictofs.catalog.model import Kind, block_bytes
from pictofs.link.messages import Priority
from pictofs.mirror.memory import Memory

API_JOBS = 24      # as many as there are threads for API calls
ARCHIVE_JOBS = 128 # blocks, not transfers: those that lie side by side are one. 32 MiB
UNKNOWN_BYTES = 1 << 20  # what a block counts for while nobody knows its size
INFLATE_JOBS = 32  # each waits for blocks of its archive, which take transfers
# One slot in eight is out of bounds for what nobody waits for. With one in four a cold epoch had 48 transfers
# of 42 ms each and the processors idled; a slot that demand needs beyond its own is soon free.
RESERVED_SHARE = 8
BACKLOG = 64      # handed to a convoy beyond its transfers: two batches of small images, 50 ms of a fill


class Lane(enum.Enum):
    """What a fetch takes."""

    STORAGE = "storage"
    ARCHIVE = "archive"
    API = "api"
    INFLATE = "inflate"


class Fetch(NamedTuple):
    """One block of one node."""

    node: int
    block: int


class Extent(msgspec.Struct, frozen=True):
    """The bytes of a block: `first` to `last` inclusive, both None for the whole object without a range."""

    first: int | None
    last: int | None


_LANES: dict[int, Lane] = {
    Kind.ANNOTATION: Lane.API, Kind.EXPORT: Lane.ARCHIVE, Kind.MEMBER: Lane.INFLATE
}


def lane(node: int) -> Lane:
    """An annotation takes an API request, an image a transfer, a block of an archive a part of one.

    A member takes other fetches: in a lane with those it would wait for its own slot.
    """
    return _LANES.get(node & 0xFF, Lane.STORAGE)


def blocks(kind: Kind, size_bytes: int | None, first: int, last: int) -> range:
    """Those of blocks `first` to `last` that a file of this size has; of an unknown size all of them."""
    if size_bytes is None:
        return range(first, last + 1)
    count = -(-size_bytes // block_bytes(kind))
    return range(first, min(last + 1, count))


def extent(kind: Kind, size_bytes: int | None, block: int) -> Extent:
    """What to ask the storage host for. An object that is one block needs no range, and then may be empty."""
    step = block_bytes(kind)
    if size_bytes is not None and size_bytes <= step:
        return Extent(None, None)
    first = block * step
    end = first + step if size_bytes is None else min(first + step, size_bytes)
    return Extent(first, end - 1)


def length(kind: Kind, size_bytes: int, block: int) -> int:
    """How many bytes a block of a file of this size has."""
    step = block_bytes(kind)
    return max(0, min(step, size_bytes - block * step))


def unreserved(jobs: int) -> int:
    """How many of `jobs` may be taken by what nobody waits for."""
    return max(1, jobs - max(1, jobs // RESERVED_SHARE))


def spare(running: Mapping[Priority, int], jobs: int, carried: int) -> int:
    """How many more may be handed to a convoy of which `carried` are on their way.

    It may have some more than there are transfers for: they wait where a transfer ends, and the next begins
    at once. No more of that while demand has taken slots of what is not reserved for it.
    """
    background = sum(count for priority, count in running.items() if priority is not Priority.DEMAND)
    free = min(jobs - sum(running.values()), unreserved(jobs) - background)
    return min(free, unreserved(jobs)) + BACKLOG - carried if free > 0 else 0


def _weightless(fetch: Fetch) -> int:
    return 0


def weight(kind: Kind, size_bytes: int | None, block: int) -> int:
    """How much memory a block takes on its way.

    Nothing for a block of an archive: they are small, their lane bounds them, and what holds memory waits for
    them (what is inflated, what comes out of an export), so that they must not wait for it.
    """
    if kind is Kind.EXPORT:
        return 0
    if kind is Kind.MEMBER:
        return block_bytes(kind)  # what it is inflated to goes to disk beyond that
    return UNKNOWN_BYTES if size_bytes is None else length(kind, size_bytes, block)


def plan(
    waiting: Mapping[Priority, Mapping[Fetch, object]],
    running: Mapping[Priority, int],
    jobs: int,
    memory: Memory | None = None,
    weigh: Callable[[Fetch], int] = _weightless,
    *,
    carried: int = 0,
) -> list[Fetch]:
    """The fetches of one lane to start now, in order; `running` are under way, `jobs` is the bound.

    What does not fit into `memory` waits, and with it what is behind it: nothing small overtakes it for ever.
    `carried` are on their way by convoy, which takes no more slots than are not reserved.
    """
    ceiling = unreserved(jobs)
    taken = min(carried, ceiling)
    background = taken + sum(count for priority, count in running.items() if priority is not Priority.DEMAND)
    free = jobs - taken - sum(running.values())
    chosen: list[Fetch] = []
    size_bytes = 0
    for priority in Priority:
        queued = waiting.get(priority)
        if not queued or len(chosen) >= free:
            continue
        for fetch in queued:
            if len(chosen) >= free:
                break
            if priority is not Priority.DEMAND and background >= ceiling:
                break
            if memory is not None:
                more_bytes = weigh(fetch)
                if not memory.fits(more_bytes, priority, before_bytes=size_bytes):
                    return chosen
                size_bytes += more_bytes
            background += priority is not Priority.DEMAND
            chosen.append(fetch)
    return chosen
