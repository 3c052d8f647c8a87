"""What of the catalog is too old for a look: pure, over rows, ages and the budget.

    a look at            asks                                   when
    root, organization   the list of datasets                   checked longer than ttl ago
    a dataset            the dataset itself, one request        checked longer than ttl ago
    anything of images   after that the listing, n/1000         never listed; another fingerprint; listed
                                                                longer than 10 × ttl ago (updated_at may
                                                                not move)
    exports              the list of exports, one request       listed longer than ttl ago
    an image, an export  its size from the storage host         not known
    an annotation        its body, one request                  never fetched; the dataset changed since;
                                                                fetched longer than 10 × ttl ago

Times are wall-clock nanoseconds, as the catalog keeps them. A time in the future (the clock was set back)
is as old as can be.
"""

from __future__ import annotations

import enum

from pictofs.catalog.model import AnnotationRow, DatasetRow, ImageRow, OrganizationRow

# A listing or a body may be this many ttl old where nothing says that it changed.
LONG_AGES = 10
PAGE_ROWS = 1000
# A relisting that costs no more requests than this is never put off.
SMALL_COST = 5


class Due(enum.Enum):
    """Whether a listing is to be made."""

    NO = "fresh enough"
    YES = "due"
    PUT_OFF = "due, but the budget of the hour cannot pay for it"


def old(then_ns: int, age_ns: int, now_ns: int) -> bool:
    """True when `then_ns` is never (0), at least `age_ns` ago, or in the future."""
    return not then_ns or not 0 <= now_ns - then_ns < age_ns


def datasets_due(row: OrganizationRow, *, ttl_ns: int, now_ns: int, force: bool = False) -> bool:
    """Is the list of datasets to be asked for?"""
    return force or old(row.checked_ns, ttl_ns, now_ns)


def dataset_due(row: DatasetRow, *, ttl_ns: int, now_ns: int, force: bool = False) -> bool:
    """Is this one dataset to be asked for?"""
    return force or old(row.checked_ns, ttl_ns, now_ns)


def listing_due(
    row: DatasetRow, *, ttl_ns: int, now_ns: int, force: bool = False, remaining: int | None = None
) -> Due:
    """Are the images of a dataset, just checked, to be listed?

    `remaining` is what is left of the hour's requests. A relisting that would take more than half of it is
    put off: an upload that runs for hours moves the fingerprint with every look, and a million images cost
    1,000 requests each time. A first listing and a forced one are never put off.
    """
    if force or not row.listed_ns:
        return Due.YES
    changed = row.fingerprint != row.listed_fingerprint
    if not changed and not old(row.listed_ns, LONG_AGES * ttl_ns, now_ns):
        return Due.NO
    cost = -(-row.image_count // PAGE_ROWS)
    if remaining is None or cost <= SMALL_COST or cost <= remaining // 2:
        return Due.YES
    return Due.PUT_OFF


def exports_due(row: DatasetRow, *, ttl_ns: int, now_ns: int, force: bool = False) -> bool:
    """Is the list of exports to be asked for? An export does not move the dataset's fingerprint."""
    return force or old(row.exports_listed_ns, ttl_ns, now_ns)


def annotation_due(
    row: AnnotationRow | None, *, changed_ns: int, ttl_ns: int, now_ns: int, force: bool = False
) -> bool:
    """Is an annotation's body to be asked for? `changed_ns` is when the dataset was last seen to change."""
    if row is None or force or not row.fetched_ns:
        return True
    return row.fetched_ns <= changed_ns or old(row.fetched_ns, LONG_AGES * ttl_ns, now_ns)


def known_empty(image: ImageRow, dialect: str) -> bool:
    """True when the body needs no request: no annotations are counted, and the dialect's body is known.

    In B and C a body is `{"annotations": […]}`; in A it is a document of the service's own making.
    """
    return image.annotation_count == 0 and dialect in ("b", "c")
