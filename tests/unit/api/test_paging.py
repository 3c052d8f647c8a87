from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictofs.api.paging import REPEATS, Pager, Pages, Rows, Walk
from pictofs.errors import RateLimited, ServerFault


@dataclass
class Remote:
    """A list on a server that caps its pages and may change before each of them."""

    rows: list[str]
    cap: int = 1000
    totals: bool = True
    has_more: bool = True
    ignores_offset: bool = False
    change: Callable[[int, list[str]], None] = lambda page, rows: None
    asked: list[tuple[int, int]] = field(default_factory=list)

    def fetch(self, offset: int, limit: int) -> Rows[str]:
        self.change(len(self.asked), self.rows)
        self.asked.append((offset, limit))
        start = 0 if self.ignores_offset else offset
        page = self.rows[start : start + min(limit, self.cap)]
        return Rows(
            page,
            len(self.rows) if self.totals else None,
            start + len(page) < len(self.rows) if self.has_more else None,
        )

    def early(self, pages: int, *, page_size: int = 1000, expected: int | None = None) -> list[str]:
        """As `walk` of a list that is newest first, so many pages being fetched in front of each."""
        walk: Walk[str] = Walk(lambda row: row, page_size=page_size, newest_first=True, expected=expected)
        return self._early(Pages(self.fetch, walk), pages)

    def _early(self, walk: Pages[str], pages: int) -> list[str]:
        fetched, told = set(), []
        while True:
            for asked in reversed(walk.forecast(pages)):
                if asked not in fetched:
                    fetched.add(asked)
                    walk.fetch_early(asked)
            page = next(walk, None)
            if page is None:
                return told
            told += page

    def walk(self, *, page_size: int = 1000, newest_first: bool = False) -> list[str]:
        walk: Walk[str] = Walk(lambda row: row, page_size=page_size, newest_first=newest_first)
        return [row for page in Pages(self.fetch, walk) for row in page]


def names(count: int) -> list[str]:
    return [f"row {number}" for number in range(count)]


@pytest.mark.parametrize("cap", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 14, 100])
def test_every_row_is_told_once_whatever_the_cap(count: int, cap: int) -> None:
    for newest_first, totals, has_more in itertools.product((True, False), repeat=3):
        remote = Remote(names(count), cap=cap, totals=totals, has_more=has_more)
        assert remote.walk(newest_first=newest_first) == names(count), (newest_first, totals, has_more)


def test_a_listing_of_newest_first_with_totals_costs_one_request_a_page() -> None:
    remote = Remote(names(10_000))
    remote.walk(newest_first=True)
    assert remote.asked == [(offset, 1000) for offset in range(0, 10_000, 1000)]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 7300])
def test_pages_that_come_early_cost_no_request_more(count: int, known: bool) -> None:
    remote = Remote(names(count))
    assert remote.early(3, expected=count if known else None) == names(count)
    assert sorted(remote.asked) == [(offset, 1000) for offset in range(0, max(1, count), 1000)]


@pytest.mark.parametrize("expected", [None, 5, 14, 40])
@pytest.mark.parametrize("cap", [1, 3, 100])
@pytest.mark.parametrize("totals", [True, False])
def test_every_row_is_told_once_where_a_server_turns_early_pages_down(
    cap: int, totals: bool, expected: int | None
) -> None:
    remote = Remote(names(14), cap=cap, totals=totals)
    assert remote.early(3, page_size=5, expected=expected) == names(14)


def test_where_a_total_is_expected_the_pages_after_the_first_are_forecast_before_it_has_come() -> None:
    walk: Walk[str] = Walk(lambda row: row, page_size=5, newest_first=True, expected=14)
    assert walk.forecast(3) == [(5, 5), (10, 5)]
    walk.take(Rows(names(5), 7, True))
    assert walk.forecast(3) == [], "the list itself knows better"


@pytest.mark.parametrize("expected", [None, 30, 100])
@pytest.mark.parametrize("page", range(1, 8))
def test_what_comes_or_goes_between_early_pages_hides_no_row(page: int, expected: int | None) -> None:
    def arrive(at: int, rows: list[str]) -> None:
        if at == page:
            rows.insert(0, "new")

    def leave(at: int, rows: list[str]) -> None:
        if at == page:
            del rows[2]

    assert set(names(30)) <= set(Remote(names(30), change=arrive).early(3, page_size=5, expected=expected))
    told = Remote(names(30), change=leave).early(3, page_size=5, expected=expected)
    assert set(names(30)) - {"row 2"} <= set(told)
    assert len(told) == len(set(told))


def test_a_short_page_is_no_end() -> None:
    remote = Remote(names(250), cap=100, totals=False, has_more=False)
    assert remote.walk() == names(250)


def test_the_total_spares_the_empty_page() -> None:
    remote = Remote(names(500), has_more=False)
    assert remote.walk() == names(500)
    assert len(remote.asked) == 1


def test_a_total_that_is_too_small_does_not_end_the_walk() -> None:
    class Understated(Remote):
        def fetch(self, offset: int, limit: int) -> Rows[str]:
            return Rows(super().fetch(offset, limit).rows, 10)

    assert Understated(names(25), cap=20).walk() == names(25)


def test_a_server_that_ignores_the_offset_has_told_all_it_has() -> None:
    remote = Remote(names(20), totals=False, has_more=False, ignores_offset=True)
    assert remote.walk() == names(20)
    assert len(remote.asked) == 1 + REPEATS


def test_more_of_nothing_is_a_fault_and_no_end() -> None:
    with pytest.raises(ServerFault):
        list(Pages(lambda offset, limit: Rows([], 5, True), Walk(str, page_size=10)))
    with pytest.raises(ServerFault):
        list(Pages(lambda offset, limit: Rows(["a", "b"], None, True), Walk(str, page_size=10)))


def test_a_list_that_never_holds_still_ends_in_a_fault() -> None:
    def churn(offset: int, limit: int) -> Rows[str]:
        churn.total -= 1  # type: ignore[attr-defined]
        return Rows(["a", "b"] if not offset else ["x"], churn.total, True)  # type: ignore[attr-defined]

    churn.total = 10**6  # type: ignore[attr-defined]
    with pytest.raises(ServerFault):
        list(Pages(churn, Walk(str, page_size=2)))


def removing(*victims: str, at: int = 1) -> Callable[[int, list[str]], None]:
    def change(page: int, rows: list[str]) -> None:
        if page == at:
            for victim in victims:
                rows.remove(victim)

    return change


@pytest.mark.parametrize(
    ("newest_first", "totals"), [(True, True), (False, True), (False, False), (True, False)]
)
@pytest.mark.parametrize("victims", [["row 0"], ["row 9"], ["row 3", "row 4", "row 9"], names(10), names(9)])
def test_rows_that_leave_before_the_offset_hide_no_other(
    victims: list[str], newest_first: bool, totals: bool
) -> None:
    remote = Remote(names(30), cap=10, totals=totals, change=removing(*victims))
    told = remote.walk(newest_first=newest_first)
    assert sorted(told) == sorted(names(30))


def test_a_row_that_leaves_while_another_arrives_hides_no_other() -> None:
    def change(page: int, rows: list[str]) -> None:
        if page == 1:
            rows.remove("row 2")
            rows.append("late")

    assert set(names(30)) <= set(Remote(names(30), cap=10, has_more=False, change=change).walk())


def test_rows_that_arrive_in_front_are_told_and_no_row_twice() -> None:
    def change(page: int, rows: list[str]) -> None:
        if page in (1, 2):
            rows[:0] = [f"new {page}"]

    remote = Remote(names(30), cap=10, change=change)
    told = remote.walk(newest_first=True)
    assert len(told) == len(set(told))
    assert set(told) == {*names(30), "new 1", "new 2"}


def test_rows_without_an_id_are_all_told() -> None:
    remote = Remote(["same"] * 25, cap=10, totals=False, has_more=False)
    walk: Walk[str] = Walk(lambda row: "", page_size=10)
    assert [row for page in Pages(remote.fetch, walk) for row in page] == ["same"] * 25


CHANGES = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from(["leave", "arrive"]), st.floats(0, 1, exclude_max=True)),
    max_size=7,  # too few to look like a server that ignores the offset
)


@settings(max_examples=400, deadline=None)
@given(
    count=st.integers(0, 60),
    cap=st.integers(3, 20),
    totals=st.booleans(),
    has_more=st.booleans(),
    newest_first=st.booleans(),
    changes=CHANGES,
)
def test_a_row_that_is_there_throughout_is_told_exactly_once(
    count: int,
    cap: int,
    totals: bool,
    has_more: bool,
    newest_first: bool,
    changes: list[tuple[int, str, float]],
) -> None:
    ever_left: set[str] = set()
    arrived = iter(range(10**6))

    def change(page: int, rows: list[str]) -> None:
        for at, what, where in changes:
            if at == page and what == "arrive":
                # Newest first means that rows arrive in front; elsewhere they may arrive anywhere.
                rows.insert(0 if newest_first else int(where * (len(rows) + 1)), f"new {next(arrived)}")
            elif at == page and rows:
                ever_left.add(rows.pop(int(where * len(rows))))

    remote = Remote(names(count), cap=cap, totals=totals, has_more=has_more, change=change)
    told = remote.walk(newest_first=newest_first)
    assert len(told) == len(set(told))
    assert set(names(count)) - ever_left <= set(told)


def test_after_a_failure_the_walk_goes_on_where_it_stood() -> None:
    remote = Remote(names(30), cap=10)
    refuse = [False, True, True, False, False]

    def fetch(offset: int, limit: int) -> Rows[str]:
        if refuse.pop(0):
            raise RateLimited("later")
        return remote.fetch(offset, limit)

    pages = Pages(fetch, Walk(str, page_size=10, newest_first=True))
    told = [*next(pages)]
    for _ in range(2):
        with pytest.raises(RateLimited):
            next(pages)
    told += [row for page in pages for row in page]
    assert told == names(30)
    assert [offset for offset, _ in remote.asked] == [0, 10, 20]


def test_a_pager_starts_anew_each_time_and_stops_at_its_most() -> None:
    remote = Remote(names(30), cap=10)

    def start() -> Pages[str]:
        return Pages(remote.fetch, Walk(str, page_size=10, newest_first=True))

    pager = Pager(start, max_total=12)
    assert pager.all() == names(12)
    assert list(pager) == names(12)
    assert len(remote.asked) == 4
    assert pager.first() == "row 0"
    assert Pager(lambda: iter(())).first() is None


def test_ids_that_are_uuids_are_told_apart() -> None:
    ids = [f"{number:08x}-0000-8000-8000-{number:012x}" for number in range(50)]
    remote = Remote([*ids], cap=7, totals=False, has_more=False)
    assert remote.walk() == ids
