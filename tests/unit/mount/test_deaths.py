from __future__ import annotations

import os
import signal

from pictofs.mount.deaths import BACKOFF_S, FORGIVEN_S, LIMIT, Deaths, how


def test_the_first_death_is_answered_at_once_and_later_ones_wait_longer() -> None:
    deaths = Deaths()
    delays = [deaths.delay_s(0.1) for _ in range(len(BACKOFF_S) + 2)]
    assert delays[0] == 0.0
    assert delays == sorted(delays, key=lambda delay: delay or 0.0)
    assert delays[-1] == BACKOFF_S[-1]


def test_life_between_them_makes_deaths_forgiven() -> None:
    deaths = Deaths()
    for _ in range(5):
        deaths.delay_s(0.1)
    assert deaths.delay_s(5 * FORGIVEN_S) == 0.0


def test_what_dies_again_and_again_is_given_up() -> None:
    deaths = Deaths()
    assert [deaths.delay_s(0.1) for _ in range(LIMIT + 1)].count(None) == 1


def test_a_person_is_told_how_a_process_ended() -> None:
    for end, said in (
        (lambda: os._exit(3), "exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9"),
    ):
        pid = os.fork()
        if pid == 0:
            end()
        assert how(os.waitpid(pid, 0)[1]) == said
