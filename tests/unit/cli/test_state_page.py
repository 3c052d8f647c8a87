"""What `pictofs status` makes of a status document."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console

from pictofs.cli.state_page import page
from pictofs.mount.rates import rates_of


def document(**more: Any) -> dict[str, Any]:
    return {
        "schema": 1, "version": "1", "mountpoint": "/mnt/p", "source": "acme", "driver": "kernel",
        "io": "cache", "dialect": "c", "online": True, "pids": {"serving": 2, "fetching": 3}, "restarts": 0,
        "requests": {"api": 10, "storage": 20}, "bytes_fetched": 2048,
        "cache": {"dir": "/c", "bytes": 1 << 20, "limit": 1 << 30, "files": 20},
        "budget": {"limit": 5000, "remaining": 4990, "reset": 1_800_000_000},
        "queue": {"demand": 1, "look_ahead": 2, "fill": 3}, "errors": [],
        "datasets": [{"name": "Cars", "images": 200, "cached": 50, "bytes": 1 << 20}],
        "hits": {"kernel": None, "disk": 75, "network": 25}, "read": {"bytes": 4096, "files": 100},
        "links": {"urls": 180, "capacity": 200_000, "expires": 42.0},
        "waits": {"now": 1, "timed_out": 2},
        **more,
    }  # fmt: skip


def text_of(*documents: dict[str, Any], rates: dict[str, dict[str, float]] | None = None) -> str:
    console = Console(width=200, record=True, force_terminal=False, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(page(list(documents), rates or {}))
        return console.export_text()


def test_a_page_says_what_is_read_from_where_and_what_is_left() -> None:
    text = text_of(document())
    for said in (
        "/mnt/p", "online", "4.0K in 100 files", "disk 75.0%, network 25.0%", "2.0K in 20 transfers",
        "4990 of 5000 left, all of it at", "1 demand, 2 look-ahead, 3 fill", "180 good now", "42 s",
        "1.0M of 1.0G", "25%", "2 ended without progress",
    ):  # fmt: skip
        assert said in text, said
    assert "/s" not in text, "a rate takes two looks"


def test_a_page_says_what_is_being_fetched_and_for_whom() -> None:
    flights = [
        {"path": "Cars/images/a.jpg", "block": 0, "priority": "demand", "doing": "fetching", "seconds": 1.5,
         "bytes": 1024, "pids": [os.getpid(), 1 << 30]},
        {"path": "Cars/images/b\x1b[2J.jpg", "block": 0, "priority": "look_ahead", "doing": "queued",
         "seconds": 0.1, "bytes": 0, "pids": []},
    ]  # fmt: skip
    text = text_of(document(flights=flights))
    assert f"({os.getpid()})" in text
    assert str(1 << 30) in text
    assert "look-ahead" in text
    assert "\x1b" not in text, "no name acts on a terminal"


def test_rates_are_what_happened_between_two_looks() -> None:
    before = document()
    now = document(
        bytes_fetched=2048 + 500, requests={"api": 12, "storage": 40}, read={"bytes": 8096, "files": 104}
    )
    rates = rates_of(before, now, 2.0)
    assert rates["fetched_bytes"] == 250
    assert rates["fetched_files"] == 10
    assert rates["read_bytes"] == 2000
    assert rates["read_files"] == 2
    assert rates["api_requests"] == 1
    assert "2.0K/s, 2 files/s" in text_of(now, rates={"/mnt/p": rates})


def test_a_process_that_was_replaced_counts_anew_and_gives_no_rate() -> None:
    assert rates_of(document(), document(pids={"serving": 9, "fetching": 3}), 1.0) == {}


def test_a_mount_that_does_not_answer_is_shown_too() -> None:
    silent = document(online=False, datasets=[], errors=[{"time": "", "what": "hangs"}])
    for name in ("hits", "read", "waits", "links"):
        del silent[name]
    text = text_of(silent)
    assert "offline" in text
    assert "hangs" in text


def test_nothing_mounted_is_said() -> None:
    assert "nothing of pictofs is mounted" in text_of()
