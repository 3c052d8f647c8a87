"""What hangs and what is merely idle; who has died too often."""

from __future__ import annotations

from pictofs.mount.deaths import LIMIT, Deaths
from pictofs.mount.watch import Silence


def test_a_loop_that_takes_no_request_while_some_wait_is_silent() -> None:
    silence = Silence()
    assert silence.look(100.0, 0.0, True, 7) == 0.0
    assert silence.look(110.0, 0.0, True, 7) == 10.0
    assert silence.look(111.0, 0.0, True, 8) == 0.0  # it took one
    assert silence.look(120.0, 0.0, False, 8) == 0.0  # nobody waits
    assert silence.look(130.0, 0.0, True, 8) == 10.0


def test_a_loop_that_has_one_request_in_hand_is_silent_for_as_long() -> None:
    assert Silence().look(100.0, 31.0, False, 7) == 31.0


def test_a_process_that_is_killed_now_and_then_is_replaced_at_once() -> None:
    deaths = Deaths()
    assert [deaths.delay_s(1.5) for _ in range(100)] == [0.0] * 100


def test_a_process_that_dies_of_its_start_is_given_up_in_the_end() -> None:
    deaths = Deaths()
    delays = [deaths.delay_s(0.2) for _ in range(LIMIT + 1)]
    assert delays[:3] == [0.0, 0.1, 0.5]
    assert delays[-2:] == [5.0, None]
