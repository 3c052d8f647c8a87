"""Images by the batch, for nobody in particular: rows, URLs, transfers and writes without a task for each.

A demanded block has a task, a single flight and an awaiter; a thousand images a second cannot. Here a batch
of rows is read at once, its transfers are handed over together to a process of their own (`carriage`), which
checks what arrives and writes it into files, and those are taken into store and catalog by the batch:

    launch ──▶ Fetcher.carry ──▶ Freight ──▶ _arrived (loop): their slots are free for the next
                                                  └──▶ _write (writer) ──▶ _end (loop)

Only the plain case is dealt with: a signed URL from the pool, one block, the version that the listing knows.
Anything else ends the carrying, and whoever waits for the block by then is served in the ordinary way, with
its retries. What nobody waits for is left for later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import BlockRow, Change, ImageRow, Kind, block_bytes, node_id
from pictofs.errors import Damaged, PictofsError, TransferError, UrlExpired
from pictofs.link.messages import Priority, Want
from pictofs.mirror.access import Membership
from pictofs.mirror.carriage import Freight
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.images import Images, request
from pictofs.mirror.links import Signed
from pictofs.mirror.memory import Memory
from pictofs.mirror.plan import UNKNOWN_BYTES, Fetch, extent, length
from pictofs.mirror.versions import Seen, Superseded
from pictofs.mirror.writer import BATCH_BYTES, Block, Writer
from pictofs.storage import Get, Got
from pictofs.store import Written

WRITTEN_BLOCKS = 64      # in one go: a block that somebody waits for is written in between, some 5 ms later


@dataclass(eq=False, slots=True)
class Item:
    """One image on its way."""

    member: Membership
    row: ImageRow
    node: int
    priority: Priority
    signed: Signed
    weight_bytes: int
    path: str                # the file that its bytes come into


class Landed(msgspec.Struct, frozen=True):
    """How one ended: `error` None when it is in the store."""

    item: Item
    error: BaseException | None
    got: Got | None


Ended = Callable[[Sequence[Landed]], None]


class Convoy:
    """What is on its way. Lives in one event loop, where `landed` hears of each batch, and then `moved`.

    `keep` is the room's, and `folder` where bytes lie until it has taken them; `push` tells the mounts of
    versions that turned out to be others. `memory` bounds what has been asked for and is not yet in the
    store, and what readers have asked for with it.
    """

    def __init__(
        self,
        reader: CatalogReader,
        fetcher: Fetcher,
        images: Images,
        freight: Freight,
        writer: Writer,
        keep: Callable[[Sequence[Block]], list[BlockRow | BaseException]],
        push: Callable[[Change], None],
        landed: Ended,
        moved: Callable[[], None],
        *,
        memory: Memory,
        folder: str,
    ) -> None:
        self._reader = reader
        self._fetcher = fetcher
        self._images = images
        self._freight = freight
        self._writer = writer
        self._keep = keep
        self._push = push
        self._tell_landed = landed
        self._tell_moved = moved
        self._memory = memory
        # Of this process alone: a carter that outlives its parent for a moment writes to other names.
        self._stem = os.path.join(folder, os.urandom(4).hex())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._underway: dict[int, Item] = {}  # by node
        self._lock = threading.Lock()  # guards the next two; a leaf
        self._arrivals: deque[tuple[Item, Got | PictofsError]] = deque()
        self._posted = False
        self.items = 0
        self.weight_bytes = 0

    @property
    def full(self) -> bool:
        """Whether as much is on its way as memory has room for."""
        return self._memory.full(Priority.FILL)

    def prepare(self) -> None:
        """Something will be launched soon."""
        self._freight.prepare()

    def launch(self, member: Membership, pks: Sequence[int], priority: Priority) -> list[int]:
        """Sends for these images, but for those that are here or on their way.

        Returns the pks from the first one on that the pool has no URL for: sign, and call again.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        rows = [row for row in self._reader.images_at(pks) if row.directory and row.size_bytes != 0]
        held = self._reader.held([node_id(row.pk, Kind.IMAGE) for row in rows])
        rows = [row for row in rows if node_id(row.pk, Kind.IMAGE) not in held]
        gets: list[tuple[int, Get]] = []
        step = block_bytes(Kind.IMAGE)
        for at, (row, signed) in enumerate(zip(rows, self._images.pooled_each(member, rows), strict=True)):
            node = node_id(row.pk, Kind.IMAGE)
            if row.size_bytes is not None and row.size_bytes > step:
                self._large(member, node, row.size_bytes, priority)
                continue
            if signed is None:
                self._send(member, gets)
                return [left.pk for left in rows[at:]]
            if member.partition.pool.due(signed):
                self._images.renew(member, row.dataset, signed.scope)
            if self._fetcher.carry(member, Fetch(node, 0), priority):
                weight_bytes = UNKNOWN_BYTES if row.size_bytes is None else row.size_bytes
                item = Item(member, row, node, priority, signed, weight_bytes, f"{self._stem}.{node:x}")
                gets.append((node, self._enter(item)))
        self._send(member, gets)
        return []

    def _large(self, member: Membership, node: int, size_bytes: int, priority: Priority) -> None:
        """Several blocks: each is worth a task, and they go side by side."""
        last = (size_bytes - 1) // block_bytes(Kind.IMAGE)
        self._fetcher.want(member, Want(0, node, 0, last, priority), _unheard, _unmoved)

    def _enter(self, item: Item) -> Get:
        self.items += 1
        self.weight_bytes += item.weight_bytes
        self._memory.take(item.weight_bytes)
        self._underway[item.node] = item
        wanted = extent(Kind.IMAGE, item.row.size_bytes, 0)
        return request(item.signed.url, wanted, item.row, item.path)

    def _send(self, member: Membership, gets: Sequence[tuple[int, Get]]) -> None:
        if gets:
            self._freight.send(member.policy, gets, self._arrived, self._moved)

    def _moved(self, node: int, size_bytes: int) -> None:
        self._fetcher.progressed(Fetch(node, 0), size_bytes)

    def _arrived(self, outcomes: Sequence[tuple[int, Got | PictofsError]]) -> None:
        """These transfers have ended."""
        arrivals = [(self._underway.pop(node), outcome) for node, outcome in outcomes]
        with self._lock:
            self._arrivals.extend(arrivals)
            posted, self._posted = self._posted, True
        if not posted:
            self._writer.post(self._write)
        self._fetcher.arrived(Fetch(item.node, 0) for item, _ in arrivals)
        self._tell_moved()

    # in the writer's thread

    def _write(self) -> None:
        batch: list[tuple[Item, Got | PictofsError]] = []
        size_bytes = 0
        with self._lock:
            while self._arrivals and len(batch) < WRITTEN_BLOCKS and size_bytes < BATCH_BYTES:
                item, outcome = self._arrivals.popleft()
                size_bytes += item.weight_bytes
                batch.append((item, outcome))
            self._posted = bool(self._arrivals)
            again = self._posted
        blocks: list[Block] = []
        carried: list[tuple[Item, Got]] = []
        ended: list[Landed] = []
        for item, outcome in batch:
            error = outcome if isinstance(outcome, PictofsError) else _unfit(outcome)
            if error is not None or isinstance(outcome, PictofsError):
                ended.append(Landed(item, error, None))
                continue
            version = outcome.generation or outcome.etag
            seen = Seen(outcome.total_bytes, version, outcome.md5, outcome.crc32c_object)
            body = Written(item.path, outcome.body_bytes)
            blocks.append(Block(item.node, 0, body, outcome.crc32c, seen))
            carried.append((item, outcome))
        try:
            answers = self._keep(blocks) if blocks else []
        except BaseException as error:  # noqa: BLE001 - it is the end of each of them
            answers = [error] * len(blocks)
        for (item, got), answer in zip(carried, answers, strict=True):
            ended.append(Landed(item, answer if isinstance(answer, BaseException) else None, got))
        for landed in ended:
            if landed.error is not None:
                with contextlib.suppress(OSError):
                    os.unlink(landed.item.path)
        if again:
            self._writer.post(self._write)
        self._call(lambda: self._end(ended))

    def _call(self, callback: Callable[[], None]) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(callback)
            except RuntimeError:
                pass  # the loop has closed: nobody waits any more

    # in the event loop

    def _end(self, ended: list[Landed]) -> None:
        for landed in ended:
            self.items -= 1
            self.weight_bytes -= landed.item.weight_bytes
            self._memory.give(landed.item.weight_bytes)
        try:
            for landed in ended:
                item, error = landed.item, landed.error
                if isinstance(error, UrlExpired):
                    item.member.partition.pool.refused(item.signed)
                elif isinstance(error, Superseded):
                    self._push(error.settled.change)
                if landed.got is not None:
                    item.member.partition.pool.worked(item.signed)
        finally:
            self._fetcher.carried((Fetch(landed.item.node, 0), landed.error is None) for landed in ended)
        self._tell_landed(ended)
        self._tell_moved()


def _unfit(got: Got) -> PictofsError | None:
    """Why these bytes are not just the block that was asked for."""
    wanted = length(Kind.IMAGE, got.total_bytes, 0)
    if got.first or got.body_bytes != wanted:
        return Damaged(f"{got.body_bytes} bytes came where {wanted} were asked for")
    return None if wanted else TransferError("the object is empty")


def _unheard(error: PictofsError | None) -> None:
    """Whoever wants the file asks for it."""


def _unmoved() -> None:
    """Nobody waits."""
