"""Processes by name."""

from __future__ import annotations

import os

import pytest

from pictofs.mirror.readers import Habit, Readers, habit_of
from pictofs.ui.server import READER


@pytest.mark.parametrize(
    ("name", "habit"),
    [
        ("python3", Habit.READS),
        ("cp", Habit.READS),
        ("filebeat", Habit.READS),
        ("", Habit.READS),
        ("grep", Habit.SEARCHES),
        ("rg", Habit.SEARCHES),
        ("tracker-miner-f", Habit.IDLES),
        ("tumblerd", Habit.IDLES),
        ("gdk-pixbuf-thum", Habit.IDLES),
        ("file", Habit.IDLES),
        (READER, Habit.IDLES),
    ],
)
def test_a_name_tells_what_a_process_does(name: str, habit: Habit) -> None:
    assert habit_of(name) is habit


def test_a_process_is_looked_up_once_in_a_while() -> None:
    now_s, asked = [0.0], []

    def comm(pid: int) -> str:
        asked.append(pid)
        return "grep"

    readers = Readers(comm, clock=lambda: now_s[0])
    assert [readers.habit(7) for _ in range(3)] == [Habit.SEARCHES] * 3
    assert asked == [7]
    now_s[0] += 60
    readers.habit(7)
    assert asked == [7, 7]


def test_a_process_that_cannot_be_seen_reads() -> None:
    assert Readers().habit(0) is Habit.READS
    assert Readers().habit(2**22 + 1) is Habit.READS
    assert Readers().habit(os.getpid()) is Habit.READS
