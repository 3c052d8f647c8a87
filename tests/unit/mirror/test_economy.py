"""When an export serves as a source: what it must hold, how fresh it must be, and when it pays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pictofs.catalog.model import ExportRow
from pictofs.mirror import economy
from pictofs.mirror.economy import Budget, Face, Offer, Way

from . import rows

S = 1_000_000_000
ORDERED_NS, CHANGED_NS, NOW_NS = 2_000 * S, 1_000 * S, 3_000 * S


def export(**given: Any) -> ExportRow:
    said = {
        "id": "e1", "name": "all", "status": "completed", "format": "pictograph", "include_images": False,
        "class_filter": None, "status_filter": None, "image_count": 100, **given,
    }  # fmt: skip
    return ExportRow(
        1, 1, 1, "all", "e1", "all", said["status"], 1000, ORDERED_NS, ORDERED_NS + S,
        json.dumps(said).encode(), False,
    )  # fmt: skip


def offered(**given: Any) -> Offer:
    found = economy.offer(export(**given))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "given",
    [{"status": "processing"}, {"status": "failed"}, {"format": "coco"}, {"class_filter": ["car"]}],
)
def test_an_export_that_holds_other_things_than_the_api_gives_is_no_offer(given: dict[str, Any]) -> None:
    assert economy.offer(export(**given)) is None


def test_an_export_without_images_has_none_and_one_of_a_status_covers_that_status() -> None:
    new, complete = rows.image(status="new"), rows.image(status="complete")
    assert offered().covers(new, Face.ANNOTATIONS)
    assert not offered().covers(new, Face.IMAGES)
    assert offered(include_images=True).covers(new, Face.IMAGES)
    filtered = offered(status_filter="complete")
    assert filtered.covers(complete, Face.ANNOTATIONS)
    assert not filtered.covers(new, Face.ANNOTATIONS)


def test_only_an_export_ordered_after_every_known_change_is_fresh() -> None:
    fresh = rows.dataset(updated_ns=CHANGED_NS)
    assert economy.stale(offered(), fresh, 0, NOW_NS) == ""
    assert "changed" in economy.stale(offered(), rows.dataset(updated_ns=ORDERED_NS), 0, NOW_NS)
    assert "counts" in economy.stale(offered(), fresh, ORDERED_NS, NOW_NS)
    assert "does not say" in economy.stale(offered(), rows.dataset(updated_ns=0), 0, NOW_NS)


def test_an_export_that_is_about_to_expire_is_not_begun() -> None:
    fresh = rows.dataset(updated_ns=CHANGED_NS)
    soon = offered(expires_at="1970-01-01T00:51:00Z")  # a minute after NOW_NS
    assert economy.stale(soon, fresh, 0, NOW_NS) == "it expires"
    assert economy.stale(offered(expires_at="1970-01-01T02:00:00Z"), fresh, 0, NOW_NS) == ""


def test_the_smallest_export_of_everything_is_chosen_before_one_of_a_status() -> None:
    fresh, image = rows.dataset(updated_ns=CHANGED_NS), rows.image(status="new")
    everything, part = offered(), offered(status_filter="new")
    assert economy.choose([part, everything], fresh, image, Face.ANNOTATIONS, 0, NOW_NS) is everything
    assert economy.choose([part], fresh, image, Face.ANNOTATIONS, 0, NOW_NS) is part
    assert economy.choose([part], fresh, image, Face.IMAGES, 0, NOW_NS) is None


def decide(bulk: str = "auto", found: Offer | None = None, **given: Any) -> Way:
    facts: dict[str, Any] = {
        "listed": True, "expected_members": 100, "spent": 0, "coming": 0, "lacking": 0, "budget": None,
    }  # fmt: skip
    return economy.decide(bulk, found, **{**facts, **given})


def test_files_are_taken_one_by_one_until_that_has_cost_what_the_export_would() -> None:
    assert decide(found=offered(), spent=1) is Way.SINGLE
    assert decide(found=offered(), spent=2) is Way.EXPORT
    assert decide(found=offered(), coming=2) is Way.EXPORT
    assert decide("off", offered(), coming=10_000) is Way.SINGLE


def test_a_large_archive_must_save_more_since_its_directory_is_fetched_first() -> None:
    large = offered(image_count=1_000_000)
    assert decide(found=large, coming=20) is Way.SINGLE
    assert decide(found=large, coming=100) is Way.EXPORT


def test_exports_are_listed_where_one_would_pay_and_nobody_knows_of_any() -> None:
    assert decide(listed=False, coming=2) is Way.SINGLE
    assert decide(listed=False, coming=3) is Way.EXPORT
    assert decide(listed=True, coming=10_000) is Way.SINGLE


def test_an_order_is_placed_only_by_create_and_only_where_the_budget_is_short() -> None:
    short = {"coming": 100, "lacking": 6000, "budget": Budget(5000, 4000)}
    assert decide("create", **short) is Way.ORDER
    assert decide("auto", **short) is Way.SINGLE
    assert decide("create", **{**short, "lacking": 3000}) is Way.SINGLE
    assert decide("create", **{**short, "coming": 3}) is Way.SINGLE      # somebody looks at three files
    assert decide("create", **{**short, "budget": None}) is Way.SINGLE   # a service without a limit
    assert decide("create", offered(), **short) is Way.EXPORT


def test_what_it_costs_and_saves_is_said_in_one_line() -> None:
    line = economy.announcement(
        rows.dataset(file_name="Streets"), offered(image_count=100_000), Face.ANNOTATIONS, bulk="auto",
        coming=90_000, budget=Budget(5000, 4000),
    )  # fmt: skip
    assert "\n" not in line
    for part in ("annotations of Streets", "export all", "2 API requests", "10.0 MB", "90000", "18 hours",
                 "bulk=off"):  # fmt: skip
        assert part in line
