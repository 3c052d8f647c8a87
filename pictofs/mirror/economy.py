"""When an export pays as the source of many files: pure.

    one by one    a request each: annotations always, images where no signed URL reaches
    an export     its list (one request, if the list is old), its URL (one), and the directory of its archive

Nobody knows how many more will be asked for. So files are taken one by one until that, with what is known to
be coming, has cost as much as the export would; from then on out of the export: never twice the least cost.
An export serves only what it is sure to hold in the state that the dataset has now; see `stale`.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from pictofs.api import Export, models
from pictofs.catalog.model import DatasetRow, ExportRow, ImageRow
from pictofs.errors import PictofsError
from pictofs.mirror.links import BATCH_LIMIT

FORMAT = "pictograph"
DIRECTORY_BYTES = 100          # of an archive's central directory, for a member
REQUEST_BYTES = 2 << 20        # of it weigh as much as one API request
MOST_MEMBERS = 2_000_000
EXPIRY_MARGIN_NS = 300 * 10**9  # an archive that goes sooner is not begun
# What is coming takes at least so many requests before an export is ordered: it is work for the service too.
LEAST_ORDER = 50


class Face(enum.Enum):
    """What is wanted of an export."""

    IMAGES = "images"
    ANNOTATIONS = "annotations"


class Way(enum.Enum):
    """How the next file is fetched."""

    SINGLE = "one by one"
    EXPORT = "out of an export"
    ORDER = "out of an export that is yet to be ordered"


@dataclass(frozen=True, slots=True)
class Offer:
    """A completed export of the service's own format, as far as it matters here."""

    row: ExportRow
    created_ns: int            # when it was ordered: it holds nothing that changed later
    expires_ns: int            # 0 where nothing says it
    images: bool
    status: str                # only images of that status; "" for all
    members: int

    def covers(self, image: ImageRow, face: Face) -> bool:
        """Whether the image is among what was exported."""
        return (face is Face.ANNOTATIONS or self.images) and self.status in ("", image.status)


def offer(row: ExportRow) -> Offer | None:
    """None for an export that is not completed, of another format, or without some classes."""
    if row.gone or row.status != "completed":
        return None
    try:
        said: Export = models.export(json.loads(row.document))
    except (ValueError, PictofsError):
        return None
    if said.format not in ("", FORMAT) or said.class_filter:  # A tells no format: the archive will
        return None
    members = (said.image_count or 0) * (2 if said.include_images else 1)
    return Offer(row, row.created_ns, said.expires_ns, bool(said.include_images), said.status_filter, members)


def stale(offered: Offer, dataset: DatasetRow, unexplained_ns: int, now_ns: int) -> str:
    """Why the export may not be what the dataset is now; "" when it is.

    `unexplained_ns` is when a change was last seen that `updated_at` did not tell: by our clock, where the
    other two times are the service's.
    """
    if not dataset.updated_ns:
        return "the service does not say when the dataset changed last"
    if offered.created_ns <= dataset.updated_ns:
        return "the dataset changed after it was ordered"
    if offered.created_ns <= unexplained_ns:
        return "the dataset changed after it was ordered, by its counts"
    if offered.expires_ns and offered.expires_ns < now_ns + EXPIRY_MARGIN_NS:
        return "it expires"
    if offered.members > MOST_MEMBERS:
        return f"it has more than {MOST_MEMBERS} members"
    return ""


def choose(
    offers: list[Offer], dataset: DatasetRow, image: ImageRow, face: Face, unexplained_ns: int, now_ns: int
) -> Offer | None:
    """The export to take `image` from, and whatever else of the dataset: the smallest that does."""
    good = [
        each for each in offers
        if each.covers(image, face) and not stale(each, dataset, unexplained_ns, now_ns)
    ]  # fmt: skip
    return min(good, key=lambda each: (bool(each.status), each.row.size_bytes or 0), default=None)


def cost(members: int, *, list_due: bool) -> int:
    """What an export of so many members costs before its first file, in API requests or their worth."""
    return 1 + list_due + members * DIRECTORY_BYTES // REQUEST_BYTES


def pays(members: int, *, spent: int, coming: int, list_due: bool) -> bool:
    """Whether an export costs less than `spent` requests and the `coming` ones."""
    return spent + coming > cost(members, list_due=list_due)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent: `left` requests of this hour, the reserve left out."""

    limit: int
    left: int


def decide(
    bulk: str,
    found: Offer | None,
    *,
    listed: bool,
    expected_members: int,
    spent: int,
    coming: int,
    lacking: int,
    budget: Budget | None,
) -> Way:
    """The way of the next file.

    `bulk` is the option. `found` is the export that could serve by what is known of exports, which is not too
    old where they were `listed`; `expected_members` is what one would have. `spent` requests went into single
    files, `coming` more are asked for, `lacking` is all that the dataset lacks.
    """
    if bulk == "off":
        return Way.SINGLE
    if found is not None or not listed:
        members = found.members if found is not None else expected_members
        paid = pays(members, spent=spent, coming=coming, list_due=not listed)
        return Way.EXPORT if paid else Way.SINGLE
    many = coming >= LEAST_ORDER or spent >= LEAST_ORDER
    if bulk == "create" and many and budget is not None and lacking > budget.left:
        return Way.ORDER
    return Way.SINGLE


def beyond(images: int, statuses: int) -> int:
    """At least so many images of a dataset have no signed URL, with so many statuses in use."""
    return max(0, images - BATCH_LIMIT * max(1, statuses))


def announcement(
    dataset: DatasetRow, offered: Offer, face: Face, *, bulk: str, coming: int, budget: Budget | None
) -> str:
    """One line before it is spent: what taking files out of an export costs, and what it saves."""
    size_bytes = offered.members * DIRECTORY_BYTES
    instead = f"{max(1, coming)} or more"
    if budget is not None and budget.limit and coming > budget.left:
        instead += f", some {-(-(coming - budget.left) // budget.limit)} hours at {budget.limit} an hour"
    return (
        f"bulk={bulk}: {face.value} of {dataset.file_name} are taken out of export {offered.row.file_name}: "
        f"2 API requests and {size_bytes / 1e6:.1f} MB for its directory, then the bytes of each file, "
        f"instead of a request each ({instead}); bulk=off does not"
    )
