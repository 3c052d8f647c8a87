"""Fetching ahead: from what readers were seen to do, by `lookahead`, to batches of a `convoy`.

    Dispatch ── missed, read, looked ──▶ Sights ──▶ LookAhead (pure)
                                            │  look_ahead, fill        Control ── advise ──▶ Advice (pure)
                                            ▼                                                  ▼
                                         Prefetch.pump ──▶ Convoy (images)   Bodies (annotations, sizes)

`pump` runs whenever something was asked for and whenever something has come: it fills the slots that demand
leaves, look-ahead before fill. A fill goes through a dataset in its order, past what is here, and ends when
the store is full, the day's allowance is spent or the service is away; nothing is evicted for it. Where
eviction churns (`lru`, `fifo`) a dataset that does not fit is not filled at all: what came first would go
before it is read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DatasetRow, ImageRow, Kind, node_id, node_pk
from pictofs.errors import PictofsError, UrlExpired
from pictofs.link.messages import Priority, Want
from pictofs.mirror.access import Membership
from pictofs.mirror.advice import Advice
from pictofs.mirror.allowance import Allowance
from pictofs.mirror.bodies import Bodies
from pictofs.mirror.convoy import Convoy, Landed
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.filling import Filling, announcement, mean_bytes, missing_bytes
from pictofs.mirror.images import Images
from pictofs.mirror.lines import Lines
from pictofs.mirror.lookahead import Ahead, Face, Fill
from pictofs.mirror.order import Order
from pictofs.mirror.singleflight import unheard
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.writer import Writer

_log = logging.getLogger(__name__)
BATCH = 32               # images of one launch
SCAN = 64                # positions of a fill that are looked at together
SCANS = 32               # such looks before the event loop gets its turn: a dataset that is here is long
QUEUE = 16_384           # of look-ahead; what waits beyond is too old to be of use
RELEASED = 16            # files that have been read and go at a time, to make room for announced ones
SPILLED_WINDOW = 32      # files of an announced order ahead of the readers when the store has no room
SMALL_BYTES = 256 << 10  # an image whose size is asked for is fetched whole up to here
FAILURES = 16            # in a row, and a fill ends
ADVISED, AGAIN = "advised", "again"  # lines of those, beside the runs'


class Rooms(Protocol):
    """What of the store is asked here; from the event loop, while the writer's thread changes it."""

    def spare_bytes(self) -> int:
        """How much more may be stored before something must go."""

    def release(self, nodes: Sequence[int]) -> None:
        """Drops the blocks of these nodes, but for what is pinned. In the writer's thread."""


class Prefetch:
    """Everything that is fetched before it is asked for. Lives in one event loop."""

    def __init__(
        self,
        reader: CatalogReader,
        fetcher: Fetcher,
        images: Images,
        bodies: Bodies,
        allowance: Allowance,
        rooms: Rooms,
        writer: Writer,
        troubles: Troubles,
        *,
        partial: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._fetcher = fetcher
        self._images = images
        self._bodies = bodies
        self._allowance = allowance
        self._rooms = rooms
        self._writer = writer
        self._troubles = troubles
        self._partial = partial  # whether what does not fit is filled as far as it goes
        self._clock = clock
        self.convoy: Convoy | None = None   # set once both are made
        self._ahead: Lines[tuple[Membership, int]] = Lines(QUEUE)
        self._fillings: dict[int, Filling] = {}
        self._advice: tuple[Membership, Advice] | None = None
        self._advised_bytes = 1  # of a file of it, on average
        self._releasing: asyncio.Task[None] | None = None
        self._signing: dict[int, asyncio.Task[None]] = {}
        self._again: asyncio.Handle | None = None
        self._stopped = False

    # what is to be fetched

    def prepare(self) -> None:
        """Somebody reads what is not here: it may be the beginning of more."""
        assert self.convoy is not None
        self.convoy.prepare()

    def look_ahead(self, member: Membership, order: Order, ahead: Ahead, *, sizes: bool) -> None:
        """These are likely to be read next; `sizes`: it is their sizes that are asked for."""
        measured = sizes and order.mean_bytes > SMALL_BYTES
        pks = order.along(ahead.axis, ahead.positions)
        for face in ahead.faces:
            if face is Face.ANNOTATION or measured:
                self._bodies.want(member, pks, ahead.run, size=face is Face.IMAGE)
            else:
                self._ahead.add(ahead.run, [(member, pk) for pk in pks])
        self.pump()

    def fill(self, member: Membership, dataset: DatasetRow, order: Order, fill: Fill) -> None:
        """All of a dataset is likely to be read."""
        if dataset.pk in self._fillings or not (
            self._partial or missing_bytes(self._reader, dataset) <= self._rooms.spare_bytes()
        ):
            return
        filling = Filling(member, dataset, order, fill.faces, begun_s=self._clock())
        self._fillings[dataset.pk] = filling
        _log.info("%s", announcement(filling, self._rooms.spare_bytes()))
        self.pump()

    def advise(self, member: Membership, nodes: Sequence[int], *, more: bool = False) -> int:
        """Files will be read in this order; `more`: behind those announced last. How many that are now."""
        if more and self._advice is not None:
            self._advice[1].extend(nodes)
        else:
            self._advice = (member, Advice(nodes)) if nodes else None
            self._advised_bytes = mean_bytes(self._reader, nodes)
        self.pump()
        return len(self._advice[1]) if self._advice is not None else 0

    def carry(self, member: Membership, images: Sequence[int]) -> None:
        """Sends for these images by the batch, as far as there are slots and URLs for them now."""
        spare = self._spare(member)
        if self.convoy is not None and spare > 0 and not self.convoy.full:
            self.convoy.launch(member, images[:spare], Priority.FILL)

    def advised(self, node: int) -> bool:
        """A node is read or waited for; whether it is in the announced order, which moves with readers."""
        if self._advice is None or not self._advice[1].knows(node):
            return False
        if self._advice[1].read(node) and self._advice[1].left:
            self.pump()
        return True

    def forget(self, dataset: int) -> None:
        """The order of a dataset is another: positions mean something else."""
        self._fillings.pop(dataset, None)

    # doing it

    def pump(self) -> None:
        """Sends as much as there are slots, memory and allowance for."""
        if self._stopped or self.convoy is None:
            return
        scans = SCANS
        while not self.convoy.full:
            left_bytes = self._allowance.left_bytes(ahead=True)
            if left_bytes is not None and left_bytes <= self.convoy.weight_bytes:
                self._give_up("max_fetch leaves no more for today")
                return
            if self._ahead:
                if not self._launch_ahead():
                    return
                continue
            advice = self._advice
            if advice is not None and advice[1].left and self._launch_advised(*advice):
                continue
            filling = next(iter(self._fillings.values()), None)
            if filling is None:
                return
            if not filling.left:
                scans -= 1
                if scans < 0:
                    self._later()
                    return
                if not self._scan(filling):
                    continue
            if filling.left and not self._launch_fill(filling):
                return

    def _later(self) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._pump_again)

    def _pump_again(self) -> None:
        self._again = None
        self.pump()

    def _spare(self, member: Membership) -> int:
        """Slots for one batch; 0 while too few are free to be worth it."""
        assert self.convoy is not None
        standing = member.access.standing
        if not standing.online or standing.refused or member.policy.offline == "on":
            return 0
        spare = self._fetcher.spare(member.organization)
        return min(BATCH, spare) if spare >= BATCH or not self.convoy.items else 0

    def _launch_ahead(self) -> bool:
        """A batch of what is ahead of readers; False when it is to wait."""
        assert self.convoy is not None
        head = self._ahead.head
        assert head is not None
        member = head[0]
        spare = self._spare(member)
        if spare <= 0:
            if not member.access.standing.online or member.access.standing.refused:
                self._ahead.clear()
            return False
        line, batch = self._ahead.take(spare)
        left = self.convoy.launch(member, [pk for _, pk in batch], Priority.LOOK_AHEAD)
        if left:
            self._ahead.back(line, [(member, pk) for pk in left])
            return self._sign(member, left[0])
        return True

    def _launch_advised(self, member: Membership, advice: Advice) -> bool:
        """A batch of the announced order; what was read makes room for it. False when there is none now."""
        assert self.convoy is not None
        spare = self._spare(member)
        if spare <= 0:
            return False
        fits = max(0, self._rooms.spare_bytes() - self.convoy.weight_bytes) // self._advised_bytes
        if fits < RELEASED and self._releasing is None:
            done = advice.release(RELEASED)
            if done:
                self._releasing = asyncio.ensure_future(self._release(done))
        # What finds no room lies in the spill for a moment: no more than readers will soon come to.
        nodes = advice.take(min(spare, fits), len(advice)) if fits else advice.take(spare, SPILLED_WINDOW)
        images = [node_pk(node) for node in nodes if node & 0xFF == Kind.IMAGE]
        others = [node_pk(node) for node in nodes if node & 0xFF == Kind.ANNOTATION]
        rows = [self._reader.image_of_annotation(pk) for pk in others]
        self._bodies.want(member, [row.pk for row in rows if row is not None], ADVISED)
        left = self.convoy.launch(member, images, Priority.LOOK_AHEAD) if images else []
        self._ahead.add(ADVISED, [(member, pk) for pk in left])
        return bool(nodes)

    async def _release(self, nodes: list[int]) -> None:
        """One batch at a time: until it has gone, the room that it makes is not seen."""
        try:
            await self._writer.run(lambda: self._rooms.release(nodes))
        except PictofsError as error:
            self._troubles.note(f"what was read could not make room: {error}")
        finally:
            self._releasing = None
            self._later()

    def _launch_fill(self, filling: Filling) -> bool:
        assert self.convoy is not None
        spare = self._spare(filling.member)
        if spare <= 0:
            return False
        if self._rooms.spare_bytes() - self.convoy.weight_bytes < filling.order.mean_bytes * spare:
            self._end_fill(filling, "the cache is full")
            return True
        batch = [filling.left.popleft() for _ in range(min(spare, len(filling.left)))]
        filling.files += len(batch)
        left = self.convoy.launch(filling.member, batch, Priority.FILL)
        if left:
            filling.files -= len(left)
            filling.left.extendleft(reversed(left))
            return self._sign(filling.member, left[0])
        return True

    def _scan(self, filling: Filling) -> bool:
        """Looks at the next positions; whether any is missing. Ends the fill behind the last one."""
        if filling.at >= len(filling.order):
            self._end_fill(filling, "done")
            return False
        pks = filling.order.pks[filling.at : filling.at + SCAN].tolist()
        filling.at += SCAN
        if Face.ANNOTATION in filling.faces:
            self._bodies.want(filling.member, pks, ("fill", filling.dataset.pk))
        if Face.IMAGE in filling.faces:
            held = self._reader.held([node_id(pk, Kind.IMAGE) for pk in pks])
            filling.left.extend(pk for pk in pks if node_id(pk, Kind.IMAGE) not in held)
        return bool(filling.left)

    def _sign(self, member: Membership, image: int) -> bool:
        """Begins to fetch URLs; what has none is passed over when they have come. Never reason to go on."""
        row = self._reader.image(image)
        key = row.dataset if row is not None else 0
        if key not in self._signing:
            task = asyncio.ensure_future(self._signed(member, row, image))
            self._signing[key] = task
            task.add_done_callback(lambda task: self._has_signed(key, task))
        return False

    async def _signed(self, member: Membership, row: ImageRow | None, image: int) -> None:
        try:
            signed = await self._images.link(member, row) if row is not None else None
        except PictofsError as error:
            self._troubles.note(f"ahead of need: {error}")
            self._give_up(str(error))
            return
        if signed is None and row is not None:
            await self._without_urls(member, row)

    def _has_signed(self, key: int, task: asyncio.Task[None]) -> None:
        self._signing.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("signing ahead of need failed in a way it should not", exc_info=task.exception())
            return
        if not task.cancelled():
            self._later()

    async def _without_urls(self, member: Membership, row: ImageRow) -> None:
        """Those that come next and that no batch of URLs reaches: out of an export, else passed over.

        A request each is for readers that wait.
        """
        waiting = self._waiting_with(row.pk)
        batch = [row.pk]
        for pk in islice(waiting, 1, BATCH):
            following = self._reader.image(pk)
            if following is None or not self._images.beyond(member, following):
                break
            batch.append(pk)
        exported = await self._images.exported(member, row, len(waiting))
        for pk in batch:
            self._pass_over(pk)
            if exported:
                want = Want(0, node_id(pk, Kind.IMAGE), 0, 0, Priority.FILL)
                self._fetcher.want(member, want, lambda error: self._later(), unheard)

    def _waiting_with(self, image: int) -> list[int]:
        """What waits behind an image that is the next of something."""
        line = [pk for _, pk in self._ahead.next()]
        if line and line[0] == image:
            return line
        fillings = self._fillings.values()
        return next((list(each.left) for each in fillings if each.left and each.left[0] == image), [image])

    def _pass_over(self, image: int) -> None:
        if self._ahead.head and self._ahead.head[1] == image:
            self._ahead.skip()
        for filling in self._fillings.values():
            if filling.left and filling.left[0] == image:
                filling.left.popleft()

    def landed(self, landed: Landed) -> None:
        """One of the convoy's has ended."""
        item, error = landed.item, landed.error
        filling = self._fillings.get(item.row.dataset)
        if landed.got is not None:
            self._allowance.spend(landed.got.body_bytes)
        if error is None:
            if filling is not None:
                filling.failures = 0
            return
        if isinstance(error, UrlExpired):
            self._ahead.back(AGAIN, [(item.member, item.row.pk)])
        elif filling is not None and item.priority is Priority.FILL:
            filling.failures += 1
            if filling.failures >= FAILURES:
                self._end_fill(filling, f"it fails: {error}")

    def _end_fill(self, filling: Filling, why: str) -> None:
        if self._fillings.pop(filling.dataset.pk, None) is not None:
            _log.info(
                "%s: %d images were fetched ahead in %.1f s: %s",
                filling.dataset.file_name, filling.files, self._clock() - filling.begun_s, why,
            )  # fmt: skip

    def _give_up(self, why: str) -> None:
        self._ahead.clear()
        for filling in tuple(self._fillings.values()):
            self._end_fill(filling, why)

    @property
    def hungry(self) -> bool:
        """Whether more would be sent if there were slots."""
        return bool(self._ahead or self._fillings)

    def counts(self) -> dict[str, int]:
        """What waits to be sent, by priority, beside what the fetcher has under way."""
        announced = self._advice[1].left if self._advice is not None else 0
        return {
            "look_ahead": len(self._ahead) + len(self._bodies) + announced,
            "fill": sum(len(f.left) + max(0, len(f.order) - f.at) for f in self._fillings.values()),
        }

    async def stop(self) -> None:
        """Nothing more is sent."""
        self._stopped = True
        self._give_up("the process ends")
        for task in self._signing.values():
            task.cancel()
        left = [*self._signing.values(), self._releasing]
        await asyncio.gather(*filter(None, left), return_exceptions=True)
        await self._bodies.stop()
