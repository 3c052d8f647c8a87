"""`bulk=create`: an export ordered because nothing else is within the budget, and waited for by nobody.

At most one order a dataset in SPACING_S, also after one that failed: it is work for the service. What is
wanted ahead of need waits for it; readers go on one by one, out of the budget's reserve.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from pictofs.api import Client, Dataset, Export
from pictofs.catalog.model import DatasetRow
from pictofs.errors import PictofsError
from pictofs.mirror import facts
from pictofs.mirror.access import Membership
from pictofs.mirror.economy import FORMAT, Budget, Face
from pictofs.mirror.exports import Exports
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.troubles import Troubles

_log = logging.getLogger(__name__)
SPACING_S = 6 * 3600.0
FIRST_LOOK_S, LONGEST_LOOK_S = 1.0, 60.0   # each look is a request
PATIENCE_S = 2 * 3600.0                    # then nobody waits for it any more; should it come, it is used


class Ordering:
    """Orders of all datasets. Lives in one event loop; `done` is told of a dataset whose order has ended."""

    def __init__(
        self,
        flights: SingleFlight,
        exports: Exports,
        troubles: Troubles,
        done: Callable[[int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        first_look_s: float = FIRST_LOOK_S,
    ) -> None:
        self._flights = flights
        self._exports = exports
        self._troubles = troubles
        self._done = done
        self._clock = clock
        self._wall_s = wall_s
        self._first_look_s = first_look_s
        self._ordered_s: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def pending(self, dataset: int) -> bool:
        """Whether an order is under way."""
        return dataset in self._tasks

    def order(
        self, member: Membership, dataset: DatasetRow, face: Face, budget: Budget | None, lacking: int
    ) -> None:
        """Begins an order, unless there was one lately. What it is for is logged before anything is spent."""
        if self._clock() < self._ordered_s.get(dataset.pk, float("-inf")) + SPACING_S:
            return
        self._ordered_s[dataset.pk] = self._clock()
        limit, left = (budget.limit, budget.left) if budget is not None else (0, 0)
        hours = f", some {-(-(lacking - left) // limit)} hours" if limit else ""
        with_images = face is Face.IMAGES
        size_bytes = dataset.total_bytes if with_images else 0
        _log.info(
            "bulk=create: an export of %s is ordered%s: about 10 API requests%s, since one by one %d %s "
            "would take a request each, of which %d are left%s; bulk=auto does not",
            dataset.file_name, " with its images" if with_images else "",
            f" and {size_bytes / 1e9:.1f} GB" if with_images else "", lacking, face.value, left, hours,
        )  # fmt: skip
        task = asyncio.ensure_future(self._carry_out(member, dataset, with_images))
        self._tasks[dataset.pk] = task
        task.add_done_callback(lambda task: self._ended(dataset.pk, task))

    async def stop(self) -> None:
        """What was ordered comes all the same, and is found by whoever looks."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_out(self, member: Membership, dataset: DatasetRow, with_images: bool) -> None:
        meant = facts.to_dataset(dataset)
        name = time.strftime("pictofs-%Y%m%d-%H%M%S", time.gmtime(self._wall_s()))

        def place(client: Client) -> Export:
            return client.exports.create(meant, name, format=FORMAT, include_images=with_images)

        try:
            await member.ask(place)
            seen = await self._await(member, meant, name)
        except PictofsError as error:
            self._troubles.log(_log, f"bulk=create: no export of {dataset.file_name} could be had: {error}")
            return
        if seen is None or seen.status != "completed":
            why = seen.error_message or seen.status if seen is not None else "it takes too long"
            self._troubles.log(_log, f"bulk=create: {name} of {dataset.file_name} is not to be had: {why}")
            return
        await member.join(
            self._flights, ("exports", dataset.pk),
            lambda flight: self._exports.listed(member, dataset.pk, flight),
        )  # fmt: skip
        _log.info("bulk=create: export %s of %s is completed", name, dataset.file_name)

    async def _await(self, member: Membership, meant: Dataset, name: str) -> Export | None:
        """The order once it has ended; None when patience has."""
        until_s = self._clock() + PATIENCE_S
        look_s = self._first_look_s
        while self._clock() < until_s:
            await asyncio.sleep(look_s)
            look_s = min(LONGEST_LOOK_S, look_s * 1.5)
            seen = await member.ask(lambda client: client.exports.get(meant, name))
            if seen.status in ("completed", "failed"):
                return seen
        return None

    def _ended(self, dataset: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(dataset, None)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, PictofsError):
            self._troubles.note(f"bulk=create: {error}")
        elif error is not None:
            _log.error("an order failed in a way it should not", exc_info=error)
        self._done(dataset)
