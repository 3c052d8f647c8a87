"""Annotation bodies and sizes ahead of need: a few at a time, and never out of the budget's reserve.

Each runs in the same single flight as a look that demands it, so that neither is fetched twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ImageRow, Kind, node_id
from pictofs.errors import PictofsError
from pictofs.link.messages import Priority
from pictofs.mirror.access import Membership
from pictofs.mirror.annotations import Annotations
from pictofs.mirror.bulk import Bulk
from pictofs.mirror.economy import Face
from pictofs.mirror.images import Images
from pictofs.mirror.lines import Lines
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.troubles import Troubles

_log = logging.getLogger(__name__)
QUEUE = 16_384          # what waits beyond this is too old to be of use: the earliest goes
RESERVE_SHARE = 0.15    # of the hour's requests, a little more than the governor's own reserve
# Of what is left of the hour's requests, at once: whether an export would save them is seen in between.
AT_ONCE_SHARE = 0.05
FEWEST_AT_ONCE = 4


class Bodies:
    """What waits for a request, and what is under way. Lives in one event loop."""

    def __init__(
        self,
        reader: CatalogReader,
        flights: SingleFlight,
        images: Images,
        annotations: Annotations,
        bulk: Bulk,
        troubles: Troubles,
        moved: Callable[[], None],
        *,
        jobs: int,
    ) -> None:
        self._reader = reader
        self._flights = flights
        self._images = images
        self._annotations = annotations
        self._bulk = bulk
        self._troubles = troubles
        self._moved = moved
        self._jobs = jobs
        self._waiting: Lines[tuple[Membership, int, bool]] = Lines(QUEUE)
        # What waits for an export that was ordered.
        self._parked: deque[tuple[Membership, int, bool]] = deque(maxlen=QUEUE)
        self._running: set[asyncio.Task[Any]] = set()
        self._ending = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._parked) + len(self._running)

    @property
    def idle(self) -> bool:
        """Whether more could run than is waiting."""
        return not self._waiting and len(self._running) < self._jobs

    def want(
        self, member: Membership, images: Sequence[int], line: Hashable, *, size: bool = False
    ) -> None:
        """The annotations of images, or their `size`, soon; behind what waits in the same `line`."""
        self._waiting.add(line, [(member, image, size) for image in images])
        self._start()

    def unpark(self) -> None:
        """An order of an export has ended: what waited for it goes on."""
        self._waiting.add(None, self._parked)
        self._parked.clear()
        self._start()

    async def stop(self) -> None:
        """Begins nothing more; what is under way ends with the flights."""
        self._waiting.clear()
        self._parked.clear()

    def _start(self) -> None:
        while head := self._waiting.head:
            free = int(min(self._jobs, _at_once(head[0]))) - len(self._running)
            if free < 1:
                return
            line, batch = self._waiting.take(free)
            alike = next((at for at, each in enumerate(batch) if each[0] is not head[0]), len(batch))
            if alike < len(batch):  # of another mount, whose budget is another
                self._waiting.back(line, batch[alike:])
                batch = batch[:alike]
            rows = {row.pk: row for row in self._reader.images_at([pk for _, pk, _ in batch])}
            for at, (member, pk, size) in enumerate(batch):
                row = rows.get(pk)
                if row is None or not row.directory or not self._due(row, size):
                    continue
                if not size and self._bulk.ordered(row.dataset):
                    self._parked.append((member, pk, size))
                    continue
                if not size:
                    self._bulk.expect(row.dataset, Face.ANNOTATIONS, len(self._waiting) + len(batch) - at)
                    promising = self._bulk.promising(member, row, Face.ANNOTATIONS)
                    if not promising and not self._affordable(member):
                        self._waiting.clear()
                        return
                task = self._begin(member, row, size=size)
                if task is not None:
                    self._running.add(task)
                    task.add_done_callback(self._ended)

    def _due(self, row: ImageRow, size: bool) -> bool:
        if size:
            return row.size_bytes is None and ("size", node_id(row.pk, Kind.IMAGE)) not in self._flights
        if ("annotation", row.ino) in self._flights:
            return False
        if not self._reader.annotation_fetched_ns(row.annotation):
            return True
        return self._reader.block(node_id(row.annotation, Kind.ANNOTATION), 0) is None

    def _affordable(self, member: Membership) -> bool:
        """Whether the hour's budget pays for one more that nobody waits for."""
        standing = member.access.standing
        if not standing.online or standing.refused or member.policy.offline == "on":
            return False
        budget = member.access.client.budget
        if budget is None or budget.remaining > budget.limit * RESERVE_SHARE + len(self._running):
            return True
        self._troubles.log(
            _log,
            f"annotations are no longer fetched ahead: {budget.remaining} of {budget.limit} API requests are "
            "left this hour, kept for readers that wait",
        )
        return False

    def _begin(self, member: Membership, row: ImageRow, *, size: bool) -> asyncio.Task[Any] | None:
        """Its run, unless it is under way for somebody else."""
        if size:
            key = ("size", node_id(row.pk, Kind.IMAGE))
            return self._flights.begin(key, lambda flight: self._images.measured(member, row.pk))
        return self._flights.begin(
            ("annotation", row.ino),
            lambda flight: self._annotations.fetched(
                member, row, background=True, priority=Priority.LOOK_AHEAD, moved=flight.moved
            ),
        )

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PictofsError):
            self._troubles.note(f"ahead of need: {error}")
        elif error is not None:
            _log.error("fetching ahead failed in a way it should not", exc_info=error)
        if not self._ending:
            self._ending = True     # they end by the batch, and their places are taken by the batch
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._ending = False
        self._start()
        if self.idle:
            self._moved()


def _at_once(member: Membership) -> float:
    budget = member.access.client.budget
    return float("inf") if budget is None else max(FEWEST_AT_ONCE, budget.remaining * AT_ONCE_SHARE)
