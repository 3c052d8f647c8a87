"""Which node is open how often: one answer to every OPEN, also by a successor; every backing given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pictofs.drivers.kernel.opens import Opens
from pictofs.drivers.kernel.shared import ROW_WORDS, ROWS, Shared
from pictofs.drivers.kernel.wire import FUSE_UNIQUE_RESEND


@pytest.fixture
def shared() -> Iterator[Shared]:
    made = Shared.create()
    yield made
    made.close()


def test_the_last_release_gives_the_backing_back(shared: Shared) -> None:
    closed: list[int] = []
    opens = Opens(shared.words, closed.append, idle=0)
    assert opens.backing(7) is None
    assert opens.opened(7, 3, 2)
    assert opens.opened(7, 3, 4)
    assert opens.backing(7) == 3
    opens.released(7, 6)
    assert (opens.backing(7), closed) == (3, [])
    opens.released(7, 8)
    assert (opens.backing(7), closed, len(opens)) == (None, [3], 0)
    opens.released(7, 10)
    assert closed == [3]


def test_a_request_that_comes_again_is_counted_once(shared: Shared) -> None:
    closed: list[int] = []
    opens = Opens(shared.words, closed.append, idle=0)
    opens.opened(7, 3, 2)
    successor = Opens(shared.words, closed.append, idle=0)
    successor.adopt()
    successor.opened(7, 3, 2 | FUSE_UNIQUE_RESEND)
    successor.opened(7, 3, 4)
    successor.released(7, 6)
    third = Opens(shared.words, closed.append, idle=0)
    third.adopt()
    third.released(7, 6 | FUSE_UNIQUE_RESEND)
    assert third.backing(7) == 3
    third.released(7, 8)
    assert closed == [3]


def test_a_release_that_was_begun_and_not_finished_is_finished_by_the_successor(shared: Shared) -> None:
    def die(_: int) -> None:
        raise KeyboardInterrupt

    opens = Opens(shared.words, die, idle=0)
    opens.opened(7, 3, 2)
    with pytest.raises(KeyboardInterrupt):
        opens.released(7, 4)
    closed: list[int] = []
    successor = Opens(shared.words, closed.append, idle=0)
    successor.adopt()
    assert (successor.backing(7), closed) == (None, [3])
    successor.opened(8, 5, 6)
    successor.released(8, 8)
    assert closed == [3, 5]


def test_what_was_open_a_moment_ago_is_opened_again_over_the_same_backing(shared: Shared) -> None:
    closed: list[int] = []
    opens = Opens(shared.words, closed.append, idle=2)
    for node in (1, 2, 3):
        opens.opened(node, 10 + node, 4 * node)
        opens.released(node, 4 * node + 2)
    assert closed == [11]
    assert [opens.revive(node) for node in (1, 2, 3)] == [None, 12, 13]
    assert opens.opened(2, 12, 20)
    assert (opens.backing(2), opens.revive(2)) == (12, None)
    opens.forget([2, 3])
    assert closed == [11, 13]
    successor = Opens(shared.words, closed.append)
    successor.adopt()
    assert successor.backing(2) == 12


def test_what_is_kept_gives_way_when_there_is_no_room(shared: Shared) -> None:
    few = shared.words[: ROWS + 2 * ROW_WORDS]
    closed: list[int] = []
    opens = Opens(few, closed.append)
    for node in (1, 2, 3):
        assert opens.opened(node, 10 + node, 4 * node)
        opens.released(node, 4 * node + 2)
    assert closed == [11]
    few.release()


def test_there_is_an_end_to_the_room(shared: Shared) -> None:
    few = shared.words[: ROWS + 2 * ROW_WORDS]
    opens = Opens(few, lambda backing: None)
    assert opens.opened(1, 0, 2)
    assert opens.opened(2, 0, 4)
    assert not opens.opened(3, 0, 6)
    opens.released(1, 8)
    assert opens.opened(3, 0, 10)
    few.release()


class Kernel(RuleBasedStateMachine):
    """A kernel that opens and closes, and a server that is replaced between any two requests."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = Shared.create()
        self.live: set[int] = set()
        self.opens = Opens(self.shared.words, self.live.remove, idle=2)
        self.count: dict[int, int] = {}
        self.over: dict[int, int] = {}
        self.unique = 0

    def teardown(self) -> None:
        self.shared.close()

    @rule(node=st.integers(1, 5), twice=st.booleans(), passed=st.booleans())
    def open(self, node: int, twice: bool, passed: bool) -> None:
        self.unique += 2
        backing = self.opens.backing(node)
        if backing is None:
            backing = self.opens.revive(node)
            if backing is None:
                backing = self.unique if passed else 0
                if backing:
                    self.live.add(backing)
            self.over[node] = backing
            assert not backing or backing in self.live
        assert backing == self.over[node]
        self.opens.opened(node, backing, self.unique)
        if twice:
            self.replace()
            assert self.opens.opened(node, self.over[node], self.unique | FUSE_UNIQUE_RESEND)
        self.count[node] = self.count.get(node, 0) + 1

    @precondition(lambda self: any(self.count.values()))
    @rule(data=st.data(), twice=st.booleans())
    def release(self, data: st.DataObject, twice: bool) -> None:
        self.unique += 2
        node = data.draw(st.sampled_from([node for node, count in self.count.items() if count]))
        self.opens.released(node, self.unique)
        if twice:
            self.replace()
            self.opens.released(node, self.unique | FUSE_UNIQUE_RESEND)
        self.count[node] -= 1

    @rule()
    def replace(self) -> None:
        self.opens = Opens(self.shared.words, self.live.remove, idle=2)
        self.opens.adopt()

    @invariant()
    def they_agree(self) -> None:
        for node, count in self.count.items():
            assert self.opens.backing(node) == (self.over[node] if count else None)
        held = {self.over[node] for node, count in self.count.items() if count} - {0}
        assert held <= self.live
        assert len(self.live - held) <= 2


TestKernel = Kernel.TestCase
TestKernel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
