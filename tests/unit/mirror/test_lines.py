"""Whose turn it is of what is fetched ahead."""

from __future__ import annotations

from pictofs.mirror.lines import LINES, Lines


def drained(lines: Lines[int], count: int) -> list[list[int]]:
    found = []
    while lines:
        found.append(lines.take(count)[1])
    return found


def test_a_reader_that_has_just_begun_is_served_before_the_window_of_one_that_went_elsewhere() -> None:
    lines: Lines[int] = Lines(1000)
    lines.add("old", range(100))
    lines.take(4)
    lines.add("new", [1000, 1001])
    assert lines.take(32) == ("new", [1000, 1001])
    assert lines.take(4) == ("old", [4, 5, 6, 7])


def test_lines_take_turns_and_keep_their_order() -> None:
    lines: Lines[int] = Lines(1000)
    lines.add("a", [1, 2, 3])
    lines.add("b", [10, 20, 30])
    assert drained(lines, 2) == [[10, 20], [1, 2], [30], [3]]


def test_what_could_not_go_is_the_next() -> None:
    lines: Lines[int] = Lines(1000)
    lines.add("a", [1, 2, 3])
    lines.add("b", [10])
    key, taken = lines.take(1)
    lines.back(key, taken)
    assert (lines.head, lines.next(), len(lines)) == (10, [10], 4)
    lines.skip()
    lines.skip()
    assert (lines.head, lines.next()) == (2, [2, 3])


def test_lines_are_bounded_and_the_oldest_goes() -> None:
    lines: Lines[int] = Lines(3)
    lines.add("a", range(5))
    assert lines.next() == [2, 3, 4]
    for number in range(LINES):
        lines.add(number, [number])
    assert len(lines) == LINES
    assert drained(lines, 9)[-1] == [0]
    lines.add("none", [])
    assert not lines
