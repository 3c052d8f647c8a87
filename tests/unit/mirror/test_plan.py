"""Which blocks are fetched next, and which bytes they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.catalog.model import EXPORT_BLOCK_BYTES, MEDIA_BLOCK_BYTES, Kind, node_id
from pictofs.link.messages import Priority
from pictofs.mirror.memory import Memory
from pictofs.mirror.plan import (
    BACKLOG,
    UNKNOWN_BYTES,
    Extent,
    Fetch,
    Lane,
    blocks,
    extent,
    lane,
    length,
    plan,
    spare,
    weight,
)


def queue(**counts: int) -> dict[Priority, dict[Fetch, None]]:
    return {
        priority: {Fetch(int(priority), block): None for block in range(counts.get(priority.name.lower(), 0))}
        for priority in Priority
    }


def test_demand_comes_before_look_ahead_and_that_before_fill_each_in_order() -> None:
    chosen = plan(queue(fill=9, look_ahead=2, demand=2), {}, 8)
    assert chosen == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]


def test_what_nobody_waits_for_leaves_an_eighth_of_the_slots_to_demand() -> None:
    assert len(plan(queue(fill=100), {}, 64)) == 56
    assert len(plan(queue(fill=100, look_ahead=100), {Priority.LOOK_AHEAD: 48}, 64)) == 8
    assert len(plan(queue(demand=100), {Priority.FILL: 56}, 64)) == 8


def test_a_convoy_takes_no_slot_of_those_that_are_kept_for_demand() -> None:
    assert len(plan(queue(demand=100), {}, 64, carried=500)) == 8
    assert len(plan(queue(fill=100), {}, 64, carried=40)) == 16
    assert len(plan(queue(fill=100), {}, 64, carried=56)) == 0


def test_a_convoy_has_a_backlog_while_demand_leaves_it_slots() -> None:
    assert spare({}, 64, 0) == 56 + BACKLOG
    assert spare({}, 64, 56 + BACKLOG) == 0
    assert spare({Priority.DEMAND: 8}, 64, 60) == 56 + BACKLOG - 60
    assert spare({Priority.DEMAND: 20}, 64, 60) == 44 + BACKLOG - 60
    assert spare({Priority.DEMAND: 64}, 64, 0) == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_even_one_slot_lets_background_work_run_when_nobody_waits(jobs: int) -> None:
    assert len(plan(queue(fill=5), {}, jobs)) == 1


def hundred(fetch: Fetch) -> int:
    return 100


def test_what_does_not_fit_into_memory_waits_and_what_nobody_waits_for_leaves_a_quarter() -> None:
    assert len(plan(queue(demand=20), {}, 64, Memory(1000), hundred)) == 10
    assert len(plan(queue(fill=20), {}, 64, Memory(1000), hundred)) == 7
    used = Memory(1000)
    used.take(750)
    assert used.full(Priority.FILL)
    assert not used.full(Priority.DEMAND)
    assert plan(queue(fill=20), {}, 64, used, hundred) == []
    assert len(plan(queue(demand=20, fill=20), {}, 64, used, hundred)) == 2
    used.give(750)
    assert used.used_bytes == 0


def test_a_block_larger_than_all_memory_goes_alone() -> None:
    assert plan(queue(demand=3), {}, 64, Memory(10), hundred) == [(0, 0)]
    used = Memory(10)
    used.take(1)
    assert plan(queue(demand=3), {}, 64, used, hundred) == []


def test_blocks_of_archives_never_wait_for_memory_since_what_holds_it_waits_for_them() -> None:
    assert weight(Kind.EXPORT, 1 << 40, 7) == 0
    assert weight(Kind.IMAGE, MEDIA_BLOCK_BYTES + 5, 1) == 5
    assert weight(Kind.IMAGE, None, 0) == UNKNOWN_BYTES


@given(
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 20),
    st.integers(0, 20), st.integers(0, 20), st.integers(1, 70),
)  # fmt: skip
def test_the_bound_on_jobs_holds_and_no_demand_waits_beside_a_free_slot(
    demand: int, ahead: int, fill: int, running_demand: int, running_fill: int, jobs: int
) -> None:
    running = {Priority.DEMAND: running_demand, Priority.FILL: running_fill}
    chosen = plan(queue(demand=demand, look_ahead=ahead, fill=fill), running, jobs)
    free = jobs - running_demand - running_fill
    assert len(chosen) <= max(0, free)
    assert len(set(chosen)) == len(chosen)
    assert sum(fetch.node == 0 for fetch in chosen) == min(demand, max(0, free))


def test_an_object_of_one_block_is_asked_for_without_a_range() -> None:
    assert extent(Kind.IMAGE, MEDIA_BLOCK_BYTES, 0) == Extent(None, None)
    assert extent(Kind.IMAGE, 0, 0) == Extent(None, None)


def test_blocks_of_larger_and_of_unmeasured_objects_are_ranges() -> None:
    size = MEDIA_BLOCK_BYTES + 5
    assert extent(Kind.IMAGE, size, 0) == Extent(0, MEDIA_BLOCK_BYTES - 1)
    assert extent(Kind.IMAGE, size, 1) == Extent(MEDIA_BLOCK_BYTES, size - 1)
    assert extent(Kind.IMAGE, None, 0) == Extent(0, MEDIA_BLOCK_BYTES - 1)
    step = EXPORT_BLOCK_BYTES
    assert extent(Kind.EXPORT, 3 * step, 1) == Extent(step, 2 * step - 1)


@given(st.integers(0, 40 << 20))
def test_the_blocks_of_a_file_are_its_bytes_once(size_bytes: int) -> None:
    present = blocks(Kind.EXPORT, size_bytes, 0, 1000)
    assert sum(length(Kind.EXPORT, size_bytes, block) for block in present) == size_bytes
    assert length(Kind.EXPORT, size_bytes, len(present)) == 0


def test_annotations_take_the_budget_s_lane_and_files_of_the_storage_host_the_other() -> None:
    assert lane(node_id(5, Kind.ANNOTATION)) is Lane.API
    assert lane(node_id(5, Kind.IMAGE)) is Lane.STORAGE
    assert lane(node_id(5, Kind.EXPORT)) is Lane.ARCHIVE
