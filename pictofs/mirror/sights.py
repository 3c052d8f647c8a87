"""What readers were seen to do, in the terms of `lookahead`: from nodes and processes to positions.

Reads of what is here come by the thousand a second: they are placed by the orders that are held, without a
look into the catalog.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DatasetRow, ImageRow, Kind, node_kind, node_pk
from pictofs.link.messages import Read
from pictofs.mirror.access import Membership
from pictofs.mirror.lookahead import FIRST_WINDOW, WINDOW_LIMIT, Ahead, Face, LookAhead, Sight
from pictofs.mirror.order import ORDERS, Order, Orders
from pictofs.mirror.prefetch import Prefetch
from pictofs.mirror.readers import Habit, Readers

DATASET_S = 1.0               # how old a dataset's row may be here
WINDOW_BYTES = 256 << 20
# The first window of a run: a batch, where that is not much. From four files on it takes ten round trips to
# get far enough ahead of a reader, and each directory may begin another run.
FIRST_FILES = 32
FIRST_BYTES = 2 << 20
FULL_WINDOW_BYTES = 64 << 20  # ahead of a reader when the store is full: the spill holds it for a moment
EARLY = 16                    # misses of a dataset that wait for its order
_KINDS = (Kind.IMAGE, Kind.ANNOTATION)


class Sights:
    """Feeds the policy, and has `prefetch` do what it answers. Lives in one event loop."""

    def __init__(
        self,
        reader: CatalogReader,
        orders: Orders,
        readers: Readers,
        prefetch: Prefetch,
        spare_bytes: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._orders = orders
        self._readers = readers
        self._prefetch = prefetch
        self._spare_bytes = spare_bytes
        self._clock = clock
        self.policy = LookAhead(clock=clock)
        self._datasets: dict[int, tuple[DatasetRow | None, float]] = {}  # and until when it is believed
        self._early: dict[int, list[tuple[Membership, ImageRow, Face, int]]] = {}  # by dataset
        self._looked_s = float("-inf")
        self._is_crowded = False

    def forget(self, dataset: int) -> None:
        """The order of a dataset is another: positions mean something else."""
        self.policy.forget(dataset)
        self._prefetch.forget(dataset)

    def missed(self, member: Membership, node: int, pid: int) -> None:
        """Somebody waits for a block of `node`."""
        if not self._prefetch.advised(node):
            self._miss(member, node, pid)

    def read(self, members: Mapping[int, Membership], message: Read) -> None:
        """Somebody on the mount with these members has read what is here. Thousands come in a second."""
        if self._prefetch.advised(message.node):
            return
        face = Face.IMAGE if message.node & 0xFF == Kind.IMAGE else Face.ANNOTATION
        # The first version of an annotation has its image's pk; later ones are found by what is missed.
        found = self._orders.find(node_pk(message.node))
        dataset = self._dataset(found[0]) if found is not None else None
        member = members.get(dataset.organization) if dataset is not None else None
        if found is None or dataset is None or member is None or message.node & 0xFF not in _KINDS:
            return
        habit = self._readers.habit(message.pid)
        if habit is Habit.IDLES or member.policy.prefetch == "off":
            return
        if dataset.listed_ns != found[1].listed_ns:
            self._orders.order(dataset)
        by_name, by_inode = found[2]
        fills = habit is Habit.READS
        sight = Sight(dataset.pk, face, by_name, message.pid, False, message.end, fills, by_inode)
        self._act(member, dataset, found[1], sight, sizes=False)

    def looked(self, member: Membership, node: int) -> None:
        """Somebody asks for the size of a file that nobody knows: of an annotation, or in dialect A."""
        self._miss(member, node, 0)

    def _miss(self, member: Membership, node: int, pid: int) -> None:
        if member.policy.prefetch == "off":
            return
        if self._readers.habit(pid) is Habit.IDLES:
            return
        image, face = self._image(node)
        if image is None:
            return
        self._prefetch.prepare()
        self._place(member, image, face, pid)

    def built(self, dataset: int) -> None:
        """The order of a dataset is there: what was missed meanwhile is placed in it."""
        for early in self._early.pop(dataset, ()):
            self._place(*early)

    def _place(self, member: Membership, image: ImageRow, face: Face, pid: int) -> None:
        dataset = self._dataset(image.dataset)
        order = self._orders.order(dataset) if dataset is not None else None
        if dataset is None:
            return
        if order is None:
            if len(self._early) >= ORDERS:
                self._early.clear()
            early = self._early.setdefault(dataset.pk, [])
            if len(early) < EARLY:
                early.append((member, image, face, pid))
            return
        positions = order.positions(image.pk)
        if positions is None:
            return
        by_name, by_inode = positions
        fills = self._readers.habit(pid) is Habit.READS
        sight = Sight(dataset.pk, face, by_name, pid, True, False, fills, by_inode)
        self._act(member, dataset, order, sight, sizes=image.size_bytes is None)

    def _act(
        self, member: Membership, dataset: DatasetRow, order: Order, sight: Sight, *, sizes: bool
    ) -> None:
        window_bytes = FULL_WINDOW_BYTES if self._crowded() else WINDOW_BYTES
        limit = max(4, min(WINDOW_LIMIT, window_bytes // max(1, order.mean_bytes)))
        first = max(FIRST_WINDOW, min(FIRST_FILES, FIRST_BYTES // max(1, order.mean_bytes)))
        for found in self.policy.seen(sight, len(order), member.policy.prefetch, limit, first):
            if isinstance(found, Ahead):
                self._prefetch.look_ahead(member, order, found, sizes=sizes)
            else:
                self._prefetch.fill(member, dataset, order, found)

    def _image(self, node: int) -> tuple[ImageRow | None, Face]:
        try:
            kind = node_kind(node)
        except ValueError:
            return None, Face.IMAGE
        if kind is Kind.IMAGE:
            return self._reader.image(node_pk(node)), Face.IMAGE
        if kind is Kind.ANNOTATION:
            return self._reader.image_of_annotation(node_pk(node)), Face.ANNOTATION
        return None, Face.IMAGE

    def _dataset(self, pk: int) -> DatasetRow | None:
        """The row, at most DATASET_S old."""
        now_s = self._clock()
        known = self._datasets.get(pk)
        if known is None or now_s >= known[1]:
            known = self._datasets[pk] = self._reader.dataset(pk), now_s + DATASET_S
        return known[0]

    def _crowded(self) -> bool:
        """Whether the store has no room for a whole window; looked at once in a while."""
        now_s = self._clock()
        if now_s >= self._looked_s + DATASET_S:
            self._looked_s = now_s
            self._is_crowded = self._spare_bytes() <= WINDOW_BYTES
        return self._is_crowded
