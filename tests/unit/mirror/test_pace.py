"""How many transfers run at once, over hosts that are played by formula."""

from __future__ import annotations

from pictofs.mirror import pace
from pictofs.mirror.pace import Pace


def play(
    rhythm: Pace,
    seconds: float,
    *,
    latency_s: float = 0.03,
    limit_s: float = 10_000.0,
    failing: bool = False,
    saturated: bool = True,
) -> None:
    """A host that serves each transfer in `latency_s`, at most `limit_s` a second in all."""
    now_s = 0.0
    while now_s < seconds:
        rate = min(limit_s, rhythm.jobs / latency_s)
        now_s += 1 / rate
        rhythm.ended(now_s, 60_000, rhythm.jobs / rate, troubled=failing, saturated=saturated)


def test_it_grows_to_the_ceiling_while_that_brings_more() -> None:
    rhythm = Pace(64)
    play(rhythm, 3.0)
    assert rhythm.jobs == 64


def test_it_stops_growing_where_more_brings_nothing_but_waiting() -> None:
    rhythm = Pace(64)
    play(rhythm, 20.0, limit_s=200.0)      # 6 transfers at 30 ms do
    assert rhythm.jobs <= pace.FIRST_JOBS


def test_errors_make_it_fewer_but_never_none() -> None:
    rhythm = Pace(64)
    play(rhythm, 3.0)
    play(rhythm, 10.0, failing=True)
    assert rhythm.jobs == pace.FEWEST_JOBS


def test_an_idle_line_says_nothing() -> None:
    rhythm = Pace(64)
    play(rhythm, 5.0, saturated=False)
    assert rhythm.jobs == pace.FIRST_JOBS


def test_jobs_is_a_ceiling() -> None:
    rhythm = Pace(3)
    play(rhythm, 5.0)
    assert rhythm.jobs == 3
    play(rhythm, 5.0, failing=True)
    assert rhythm.jobs == 3


def test_after_errors_it_recovers() -> None:
    rhythm = Pace(64)
    play(rhythm, 3.0)
    play(rhythm, 2.0, failing=True)
    play(rhythm, 30.0)
    assert rhythm.jobs > 32
