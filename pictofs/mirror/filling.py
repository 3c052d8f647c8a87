"""A dataset on its way into the store, how large it is, and what is said before anything of it is spent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DatasetRow, Kind, node_pk
from pictofs.mirror.access import Membership
from pictofs.mirror.links import BATCH_LIMIT
from pictofs.mirror.lookahead import Face
from pictofs.mirror.order import Order


@dataclass(slots=True)
class Filling:
    """One dataset on its way into the store."""

    member: Membership
    dataset: DatasetRow
    order: Order
    faces: tuple[Face, ...]
    at: int = 0                       # the next position to look at
    left: deque[int] = field(default_factory=deque)  # pks that are missing
    failures: int = 0
    files: int = 0
    begun_s: float = 0.0


def missing_bytes(reader: CatalogReader, dataset: DatasetRow) -> int:
    """Of a dataset's images, by how many are here."""
    counts = {count.dataset: count for count in reader.image_counts(dataset.organization)}
    here = counts[dataset.pk].cached if dataset.pk in counts else 0
    return int(dataset.total_bytes * (1 - here / max(1, dataset.image_count)))


def mean_bytes(reader: CatalogReader, nodes: Sequence[int]) -> int:
    """Of an image in the dataset of the first of these."""
    first = next((node for node in nodes if node & 0xFF == Kind.IMAGE), None)
    row = reader.image(node_pk(first)) if first is not None else None
    dataset = reader.dataset(row.dataset) if row is not None else None
    return max(1, dataset.total_bytes // max(1, dataset.image_count)) if dataset is not None else 1


def announcement(filling: Filling, spare_bytes: int) -> str:
    """One line: what a fill will take, of which `spare_bytes` have room, and how not to have it."""
    dataset = filling.dataset
    images, size_bytes = dataset.image_count, dataset.total_bytes
    requests = -(-images // BATCH_LIMIT)
    if Face.ANNOTATION in filling.faces:
        requests += images
    part = "" if size_bytes <= spare_bytes else f", of which {spare_bytes / 1e9:.1f} GB fit"
    what = (
        f"prefetch={filling.member.policy.prefetch}: {dataset.file_name} is read in scattered order and "
        f"fetched ahead: up to {images} images, {size_bytes / 1e9:.1f} GB{part}, "
        f"about {requests} API requests"
    )
    budget = filling.member.access.client.budget
    if budget is not None and requests > budget.remaining:
        hours = -(-(requests - budget.remaining) // max(1, budget.limit))
        what += f" ({budget.remaining} are left this hour: some {hours} hours more)"
    return f"{what}; prefetch=sequential or off does not"
