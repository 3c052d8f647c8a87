"""An announced order: what comes next, what is done with."""

from __future__ import annotations

import random

from pictofs.mirror.advice import Advice


def test_what_comes_next_stays_a_window_ahead_of_the_readers() -> None:
    order = random.Random(1).sample(range(1000), 1000)
    advice = Advice(order)
    assert advice.take(5, 20) == order[:5]
    assert advice.take(100, 20) == order[5:20]
    assert advice.take(100, 20) == []
    assert advice.read(order[0])
    assert advice.take(100, 20) == order[20:21]
    for node in order[1:400]:
        assert advice.read(node)
    assert advice.take(1000, 20) == order[21:420]


def test_workers_that_run_ahead_do_not_confuse_it() -> None:
    order = list(range(100, 200))
    advice = Advice(order)
    for node in (100, 132, 101, 133, 102, 134):
        assert advice.read(node)
    assert advice.at == 34
    assert not advice.read(99)
    assert not advice.read(100)       # its turn is over


def test_what_was_read_goes_first_and_once_and_what_is_to_come_never() -> None:
    order = list(range(100))
    advice = Advice(order)
    for node in order[:30]:
        advice.read(node)
    advice.read(35)
    assert advice.release(10) == order[:10]
    assert advice.release(100) == order[10:30]
    assert advice.release(100) == []   # 30 to 34 are still to be read


def test_a_node_with_another_turn_is_kept() -> None:
    advice = Advice([1, 2, 1, 3])
    for node in (1, 2):
        advice.read(node)
    assert advice.release(10) == [2]
    advice.read(1)
    assert advice.release(10) == [1]


def test_an_order_may_be_continued() -> None:
    advice = Advice([5, 6])
    assert advice.take(10, 10) == [5, 6]
    advice.extend([7, 5])
    assert advice.left == 2
    assert advice.take(10, 10) == [7, 5]
    advice.give_back(1)
    assert advice.take(10, 10) == [5]
    assert advice.read(5)
    assert advice.read(5)
    assert not advice.read(5)
