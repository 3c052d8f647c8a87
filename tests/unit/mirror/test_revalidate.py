"""What is too old for a look."""

from __future__ import annotations

import pytest

from pictofs.mirror import revalidate
from pictofs.mirror.revalidate import Due

from .rows import NOW_NS, SECOND_NS, annotation, dataset, image, organization

TTL_NS = 60 * SECOND_NS


def ago(seconds: float) -> int:
    return NOW_NS - int(seconds * SECOND_NS)


@pytest.mark.parametrize(
    ("checked_ns", "due"), [(0, True), (ago(61), True), (ago(60), True), (ago(59), False), (ago(-5), True)]
)
def test_datasets_and_a_dataset_are_asked_for_once_they_are_a_ttl_old_or_from_the_future(
    checked_ns: int, due: bool
) -> None:
    assert revalidate.datasets_due(organization(checked_ns=checked_ns), ttl_ns=TTL_NS, now_ns=NOW_NS) is due
    assert revalidate.dataset_due(dataset(checked_ns=checked_ns), ttl_ns=TTL_NS, now_ns=NOW_NS) is due
    assert revalidate.exports_due(dataset(exports_listed_ns=checked_ns), ttl_ns=TTL_NS, now_ns=NOW_NS) is due


def test_force_skips_every_age() -> None:
    fresh = dataset(checked_ns=NOW_NS, listed_ns=NOW_NS, listed_fingerprint="f1", exports_listed_ns=NOW_NS)
    ages = {"ttl_ns": TTL_NS, "now_ns": NOW_NS, "force": True}
    assert revalidate.datasets_due(organization(checked_ns=NOW_NS), **ages)
    assert revalidate.dataset_due(fresh, **ages)
    assert revalidate.exports_due(fresh, **ages)
    assert revalidate.listing_due(fresh, **ages, remaining=0) is Due.YES
    assert revalidate.annotation_due(annotation(), changed_ns=0, **ages)


@pytest.mark.parametrize(
    ("listed_ns", "fingerprint", "due"),
    [
        (0, "f1", Due.YES),
        (ago(1), "f1", Due.NO),
        (ago(599), "f1", Due.NO),
        (ago(600), "f1", Due.YES),
        (ago(1), "f2", Due.YES),
    ],
)
def test_images_are_listed_when_never_when_the_fingerprint_moved_and_every_ten_ttl(
    listed_ns: int, fingerprint: str, due: Due
) -> None:
    row = dataset(listed_ns=listed_ns, listed_fingerprint="f1", fingerprint=fingerprint)
    assert revalidate.listing_due(row, ttl_ns=TTL_NS, now_ns=NOW_NS) is due


@pytest.mark.parametrize(
    ("images", "remaining", "due"),
    [
        (1_000_000, 1999, Due.PUT_OFF),
        (1_000_000, 2000, Due.YES),
        (5000, 0, Due.YES),
        (1_000_000, None, Due.YES),
    ],
)
def test_a_relisting_that_would_take_over_half_of_the_budget_is_put_off_unless_it_is_small(
    images: int, remaining: int | None, due: Due
) -> None:
    row = dataset(listed_ns=ago(1), listed_fingerprint="f0", image_count=images)
    assert revalidate.listing_due(row, ttl_ns=TTL_NS, now_ns=NOW_NS, remaining=remaining) is due


def test_a_first_listing_is_never_put_off() -> None:
    row = dataset(listed_ns=0, image_count=1_000_000)
    assert revalidate.listing_due(row, ttl_ns=TTL_NS, now_ns=NOW_NS, remaining=1) is Due.YES


@pytest.mark.parametrize(
    ("fetched_ns", "changed_ns", "due"),
    [
        (0, 0, True),
        (ago(599), 0, False),
        (ago(600), 0, True),
        (ago(10), ago(11), False),
        (ago(10), ago(9), True),
        (ago(10), ago(10), True),
    ],
)
def test_a_body_is_asked_for_when_never_fetched_after_a_change_and_every_ten_ttl(
    fetched_ns: int, changed_ns: int, due: bool
) -> None:
    row = annotation(fetched_ns=fetched_ns)
    assert revalidate.annotation_due(row, changed_ns=changed_ns, ttl_ns=TTL_NS, now_ns=NOW_NS) is due


@pytest.mark.parametrize(
    ("count", "dialect", "known"),
    [(0, "b", True), (0, "c", True), (0, "a", False), (0, "", False), (None, "c", False), (1, "c", False)],
)
def test_only_an_image_counted_without_annotations_in_b_or_c_has_a_known_body(
    count: int | None, dialect: str, known: bool
) -> None:
    assert revalidate.known_empty(image(annotation_count=count), dialect) is known
