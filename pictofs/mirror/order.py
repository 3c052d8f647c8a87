"""The order of a dataset: position → image and back, in 40 bytes an image.

Built in a thread of its own with its own catalog connection, so that a million images hold nobody up;
while it is built, and while a dataset has never been listed whole, there is no look-ahead over it.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DatasetRow
from pictofs.errors import PictofsError
from pictofs.mirror.lookahead import Axis

ORDERS = 16  # datasets whose order is held; the least recently asked for goes


class Order:
    """One dataset as it was listed at `listed_ns`, given by (directory, images) in readdir's order.

    A walk goes along one of two *axes*: NAMES, as readdir lists and as sorted paths come; or INODES, where
    all entries of a directory are sorted by inode number and subdirectories are descended into as they come,
    as `cp -r` and other programs of GNU do it. `parents`: the directory that each one is in, 0 for the root.
    """

    def __init__(
        self,
        pages: Iterable[tuple[int, Sequence[int]]],
        parents: Mapping[int, int] | None = None,
        listed_ns: int = 0,
        mean_bytes: int = 0,
    ) -> None:
        self.listed_ns = listed_ns
        self.mean_bytes = mean_bytes
        self.pks = array("q")
        within: dict[int, list[range]] = {}
        for directory, pks in pages:
            start = len(self.pks)
            self.pks.extend(pks)
            within.setdefault(directory, []).append(range(start, len(self.pks)))
        by_pk = sorted(range(len(self.pks)), key=self.pks.__getitem__)
        self._sorted = array("q", (self.pks[position] for position in by_pk))
        self._by_name = array("l", by_pk)
        # position by inode → position by name
        self._inodes = array("l", _descend(within, parents or {}, self.pks.__getitem__))
        self._by_inode = array("l", bytes(self._inodes.itemsize * len(self.pks)))
        for position, by_name in enumerate(self._inodes):
            self._by_inode[by_name] = position

    def __len__(self) -> int:
        return len(self.pks)

    def positions(self, pk: int) -> tuple[int, int] | None:
        """Where an image stands by name and by inode; None for one that was not listed (a later version)."""
        at = bisect_left(self._sorted, pk)
        if at == len(self._sorted) or self._sorted[at] != pk:
            return None
        by_name = self._by_name[at]
        return by_name, self._by_inode[by_name]

    def along(self, axis: Axis, positions: range) -> list[int]:
        """The pks at these positions of an axis."""
        if axis is Axis.NAMES:
            return [self.pks[position] for position in positions]
        return [self.pks[self._inodes[position]] for position in positions]


def _descend(
    within: Mapping[int, Sequence[range]], parents: Mapping[int, int], pk_at: Callable[[int], int]
) -> Iterator[int]:
    """Positions of images as one comes to them who sorts entries by inode number: by pk, of either kind."""
    below: dict[int, list[int]] = {}
    for directory, parent in parents.items():
        below.setdefault(parent, []).append(directory)

    def entries(directory: int) -> Iterator[tuple[int, int]]:
        images = [(pk_at(at), at) for part in within.get(directory, ()) for at in part]
        return iter(sorted([*images, *((pk, -1) for pk in below.get(directory, ()))]))

    roots = [*below.get(0, ()), *(directory for directory in within if directory not in parents)]
    waiting = [entries(root) for root in reversed(roots)]
    while waiting:
        for pk, at in waiting[-1]:
            if at < 0:
                waiting.append(entries(pk))
                break
            yield at
        else:
            waiting.pop()


@dataclass(slots=True)
class _Held:
    order: Order | None
    building: asyncio.Future[Order | None] | None


class Orders:
    """The orders of the datasets in use. Lives in one event loop.

    `built` is told of a dataset whose order is there now, `changed` before that when its positions meant
    something else.
    """

    def __init__(self, path: str, changed: Callable[[int], None], built: Callable[[int], None]) -> None:
        self._path = path
        self._changed = changed
        self._built = built
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="order")
        self._closed = False

    def order(self, dataset: DatasetRow) -> Order | None:
        """The order of a dataset, as it is listed now or was before; None while none is built."""
        held = self._held.get(dataset.pk)
        if held is None:
            held = self._held[dataset.pk] = _Held(None, None)
            while len(self._held) > ORDERS:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(dataset.pk)
        stale = held.order is None or held.order.listed_ns != dataset.listed_ns
        if stale and held.building is None and dataset.listed_ns and not self._closed:
            loop = asyncio.get_running_loop()
            held.building = loop.run_in_executor(self._thread, self._build, dataset)
            held.building.add_done_callback(lambda future: self._done(dataset.pk, held, future))
        return held.order

    def find(self, pk: int) -> tuple[int, Order, tuple[int, int]] | None:
        """(dataset, order, positions) of an image in one of the orders that are held, the latest first."""
        for dataset in reversed(self._held):
            order = self._held[dataset].order
            found = order.positions(pk) if order is not None else None
            if order is not None and found is not None:
                return dataset, order, found
        return None

    async def close(self) -> None:
        """Waits for what is being built, and ends the thread."""
        self._closed = True
        await asyncio.gather(
            *(held.building for held in self._held.values() if held.building), return_exceptions=True
        )
        self._thread.shutdown(wait=True)

    def _build(self, dataset: DatasetRow) -> Order | None:
        if self._closed:
            return None
        reader = CatalogReader.open(self._path)
        try:
            mean_bytes = dataset.total_bytes // max(1, dataset.image_count)
            return Order(reader.walk(dataset.pk), reader.parents(dataset.pk), dataset.listed_ns, mean_bytes)
        finally:
            reader.close()

    def _done(self, dataset: int, held: _Held, future: asyncio.Future[Order | None]) -> None:
        held.building = None
        if future.cancelled() or self._closed:
            return
        error = future.exception()
        if error is not None:
            if not isinstance(error, PictofsError):
                raise error
            return  # the catalog cannot be read now; the next look at the order tries again
        before, held.order = held.order, future.result()
        if before is not None and held.order is not None and before.pks != held.order.pks:
            self._changed(dataset)
        self._built(dataset)
