from __future__ import annotations

import pytest

from pictofs.api.governor import UNTOLD_RESET_S, Budget, Governor
from pictofs.errors import RateLimited
from tests.unit.api.scripted import Clock


def headers(limit: int, remaining: int, reset_s: float | None = None) -> dict[str, str]:
    found = {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(remaining)}
    return found if reset_s is None else {**found, "x-ratelimit-reset": str(reset_s)}


class Told:
    """A governor that was told a budget at wall time 10,000."""

    def __init__(self, limit: int, remaining: int, lasts_s: float = 100.0) -> None:
        self.clock = Clock()
        self.governor = Governor(clock=self.clock, wall=lambda: 10_000.0)
        self.tell(limit, remaining, lasts_s)

    def tell(self, limit: int, remaining: int, lasts_s: float | None = 100.0) -> None:
        assert self.governor.admit() == 0.0
        reset_s = None if lasts_s is None else 10_000.0 + lasts_s
        self.governor.done(headers(limit, remaining, reset_s), 10_000.0)


def test_without_a_budget_everything_may_go() -> None:
    governor = Governor(clock=Clock())
    assert governor.budget is None
    for _ in range(1000):
        assert governor.admit(background=True) == 0.0


def test_the_budget_is_what_the_headers_say_less_what_is_under_way() -> None:
    told = Told(100, 60)
    assert told.governor.budget == Budget(100, 60, 10_100.0)
    assert told.governor.admit() == 0.0
    assert told.governor.budget == Budget(100, 59, 10_100.0)


def test_background_leaves_the_reserve_to_demand() -> None:
    told = Told(100, 11)
    assert told.governor.admit(background=True) == 0.0
    told.governor.done()
    told.tell(100, 10)
    with pytest.raises(RateLimited) as caught:
        told.governor.admit(background=True)
    assert caught.value.retry_after_s == pytest.approx(100.0)
    assert caught.value.status == 0
    assert told.governor.admit() == 0.0


def test_requests_under_way_count_against_the_reserve() -> None:
    told = Told(100, 12)
    assert told.governor.admit(background=True) == 0.0
    assert told.governor.admit(background=True) == 0.0
    with pytest.raises(RateLimited):
        told.governor.admit(background=True)


def test_demand_may_spend_the_last_request_and_then_waits_for_the_window_to_end() -> None:
    told = Told(100, 1)
    assert told.governor.admit() == 0.0
    told.governor.done(headers(100, 0, 10_100.0), 10_000.0)
    assert told.governor.admit() == pytest.approx(100.0)
    assert told.governor.until_reset_s() == pytest.approx(100.0)
    told.clock.now += 100
    assert told.governor.until_reset_s() is None
    assert told.governor.admit() == 0.0


def test_the_reset_is_counted_by_the_services_clock() -> None:
    clock = Clock()
    governor = Governor(clock=clock, wall=lambda: 10_000.0)
    governor.admit()
    governor.done(headers(10, 0, 50_030.0), 50_000.0)  # its clock is eleven hours ahead of ours
    assert governor.admit() == pytest.approx(30.0)


def test_an_answer_that_was_overtaken_gives_nothing_back() -> None:
    told = Told(100, 40)
    told.tell(100, 45)
    assert told.governor.budget == Budget(100, 40, 10_100.0)


def test_an_answer_of_the_window_before_changes_nothing() -> None:
    told = Told(100, 99, lasts_s=3600)
    told.tell(100, 0, lasts_s=5)
    assert told.governor.budget == Budget(100, 99, 13_600.0)


def test_a_new_window_is_believed() -> None:
    told = Told(100, 3)
    told.tell(100, 99, lasts_s=3600)
    assert told.governor.budget == Budget(100, 99, 13_600.0)


def test_another_limit_is_believed_at_once() -> None:
    told = Told(100, 3)
    told.tell(5000, 4000)
    assert told.governor.budget == Budget(5000, 4000, 10_100.0)


def test_a_budget_without_an_end_is_believed_for_a_minute() -> None:
    told = Told(100, 50)
    told.clock.now += 200
    told.tell(100, 0, lasts_s=None)
    assert told.governor.admit() == pytest.approx(UNTOLD_RESET_S)


def test_a_reset_in_milliseconds_is_understood() -> None:
    governor = Governor(clock=Clock(), wall=lambda: 1_700_000_000.0)
    governor.admit()
    governor.done(headers(10, 5, 1_700_000_060_000), 1_700_000_000.0)
    assert governor.budget == Budget(10, 5, 1_700_000_060.0)


@pytest.mark.parametrize("text", ["", "many", "nan", "inf", "-5"])
def test_headers_that_make_no_sense_are_no_budget(text: str) -> None:
    governor = Governor(clock=Clock())
    governor.admit()
    governor.done({"x-ratelimit-limit": text, "x-ratelimit-remaining": "5"}, None)
    assert governor.budget is None


def test_a_429_holds_everybody_back_as_long_as_it_says() -> None:
    clock = Clock()
    governor = Governor(clock=clock)
    governor.hold(10)
    governor.hold(3)
    assert governor.admit() == pytest.approx(10.0)
    assert governor.admit(background=True) == pytest.approx(10.0)
    clock.now += 10
    assert governor.admit() == 0.0


def test_once_its_window_is_over_a_budget_counts_as_full() -> None:
    told = Told(100, 0)
    told.clock.now += 101
    assert told.governor.budget == Budget(100, 100, 10_100.0)
