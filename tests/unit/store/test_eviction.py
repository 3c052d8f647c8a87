"""Who has to go, by policy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.catalog.model import BlockAge
from pictofs.store import POLICIES, Candidate, victims


@dataclass(frozen=True)
class Block:
    node: int
    used_s: int = 0
    stored_s: int = 0
    size_bytes: int = 10
    current: bool = True
    pinned: bool = False
    block: int = 0


def nodes(policy: str, candidates: list[Block], need_bytes: int) -> list[int]:
    return [one.node for one in victims(policy, candidates, need_bytes)]


def test_epoch_keeps_what_is_there_and_gives_up_only_what_nobody_can_want() -> None:
    there = [Block(1), Block(2, current=False), Block(3)]
    assert nodes("epoch", there, 10) == [2]
    assert nodes("epoch", there, 11) == [], "nothing goes when it would not suffice"
    assert nodes("epoch", [Block(1), Block(3)], 1) == []


def test_lru_gives_up_what_was_used_longest_ago() -> None:
    assert nodes("lru", [Block(1, used_s=3), Block(2, used_s=1), Block(3, used_s=2)], 20) == [2, 3]


def test_fifo_gives_up_what_entered_first_however_often_it_is_used() -> None:
    assert nodes("fifo", [Block(1, stored_s=3, used_s=1), Block(2, stored_s=1, used_s=9)], 5) == [2]


@pytest.mark.parametrize("policy", POLICIES)
def test_old_versions_go_before_anything_else(policy: str) -> None:
    there = [Block(1, used_s=1, stored_s=1), Block(2, used_s=9, stored_s=9, current=False)]
    assert nodes(policy, there, 10) == [2]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_pinned_never_goes(policy: str) -> None:
    assert nodes(policy, [Block(1, pinned=True), Block(2, pinned=True, current=False)], 1) == []


def test_an_unknown_policy_is_an_error() -> None:
    with pytest.raises(ValueError, match="random"):
        victims("random", [], 1)


def test_what_the_catalog_says_of_a_block_is_a_candidate() -> None:
    age: Candidate = BlockAge(1, 0, 10, 0, 0, False, False)
    assert victims("epoch", [age], 10) == [age]


@given(
    st.sampled_from(POLICIES),
    st.lists(
        st.builds(
            Block,
            node=st.integers(1, 99),
            used_s=st.integers(0, 3),
            stored_s=st.integers(0, 3),
            size_bytes=st.integers(0, 20),
            current=st.booleans(),
            pinned=st.booleans(),
        ),
        unique_by=lambda one: one.node,
    ),
    st.integers(1, 80),
)
def test_victims_suffice_are_as_few_as_the_order_allows_or_are_none(
    policy: str, there: list[Block], need_bytes: int
) -> None:
    chosen = victims(policy, there, need_bytes)
    assert not any(one.pinned for one in chosen)
    if chosen:
        assert sum(one.size_bytes for one in chosen) >= need_bytes
        assert sum(one.size_bytes for one in chosen[:-1]) < need_bytes
    else:
        may_go = [one for one in there if not one.pinned and (policy != "epoch" or not one.current)]
        assert sum(one.size_bytes for one in may_go) < need_bytes
