"""Bytes of a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictofs.errors import RateLimited
from pictofs.mirror.allowance import DAY_S, FILE, Allowance


class Day:
    now_s = 100.0 * DAY_S + 3600


def allowance(folder: Path, limit_bytes: int | None, day: type[Day] = Day) -> Allowance:
    return Allowance(str(folder), limit_bytes, wall_s=lambda: day.now_s)


def test_what_nobody_waits_for_ends_before_what_readers_need(tmp_path: Path) -> None:
    made = allowance(tmp_path, 1000)
    made.spend(800)
    assert (made.left_bytes(ahead=True), made.left_bytes()) == (0, 200)
    made.check()
    made.spend(300)
    with pytest.raises(RateLimited, match="max_fetch=1000") as refused:
        made.check()
    assert refused.value.retry_after_s == DAY_S - 3600


def test_a_restart_forgets_nothing_of_the_day_and_everything_of_the_day_before(tmp_path: Path) -> None:
    class Clock(Day):
        now_s = Day.now_s

    made = allowance(tmp_path, 1000, Clock)
    made.spend(700)
    made.keep()
    assert allowance(tmp_path, 1000, Clock).left_bytes() == 300
    Clock.now_s += DAY_S
    assert allowance(tmp_path, 1000, Clock).left_bytes() == 1000
    assert made.left_bytes() == 1000


def test_without_a_limit_nothing_is_counted_or_kept(tmp_path: Path) -> None:
    made = allowance(tmp_path, None)
    made.spend(10**12)
    made.check()
    made.keep()
    assert made.left_bytes() is None
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", '{"day": "x"}', '{"day": 100, "bytes": "many"}'])
def test_a_file_that_makes_no_sense_begins_the_day_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert allowance(tmp_path, 1000).left_bytes() == 1000
