"""Figures over time."""

from __future__ import annotations

from typing import Any

from pictofs.ui.figures import GAP_S, Figures


class Asked:
    """A mount that has read 1,000 bytes more at each look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> dict[str, Any]:
        self.looks += 1
        return {
            "pids": {"serving": 1, "fetching": 2},
            "read": {"bytes": 1000 * self.looks, "files": self.looks},
            "queue": {"demand": self.looks, "look_ahead": 0, "fill": 7},
            "waits": {"now": 3},
        }


def test_several_pages_share_one_look_a_second() -> None:
    now_s, asked = [100.0], Asked()
    figures = Figures(clock=lambda: now_s[0], wall=lambda: 1e9 + now_s[0])
    for _ in range(5):
        figures.look("/mnt", asked)
    assert asked.looks == 1
    now_s[0] += 1
    document, samples = figures.look("/mnt", asked)
    assert (asked.looks, document["read"]["files"]) == (2, 2)
    assert samples == [
        {
            "at": 1e9 + 101,
            "read_bytes": 1000,
            "read_files": 1,
            "demand": 2,
            "look_ahead": 0,
            "fill": 7,
            "waiting": 3,
        }
    ]


def test_a_time_in_which_nobody_looked_is_no_point_of_the_curve() -> None:
    now_s, asked = [100.0], Asked()
    figures = Figures(clock=lambda: now_s[0])
    figures.look("/mnt", asked)
    now_s[0] += GAP_S + 1
    assert figures.look("/mnt", asked)[1] == []
    now_s[0] += 2
    assert figures.look("/mnt", asked)[1][0]["read_bytes"] == 500


def test_mounts_have_curves_of_their_own() -> None:
    now_s = [100.0]
    figures = Figures(clock=lambda: now_s[0])
    one, other = Asked(), Asked()
    figures.look("/one", one)
    now_s[0] += 1
    figures.look("/one", one)
    assert figures.look("/other", other)[1] == []
