"""What is wrong on a mount, and how to mend it."""

from __future__ import annotations

from typing import Any

import pytest

from pictofs.ui.faults import ERRORS, faults, mend


def document(**changes: Any) -> dict[str, Any]:
    return {
        "mountpoint": "/mnt/p",
        "online": True,
        "refused": False,
        "pids": {"supervisor": 1, "serving": 2, "fetching": 3},
        "restarts": 0,
        "budget": {"limit": 5000, "remaining": 4000, "reset": 9e8},
        "cache": {"bytes": 5, "limit": 1000},
        "waits": {"timed_out": 0},
        "flights": [],
        "errors": [],
        **changes,
    }


def test_of_a_sound_mount_nothing_is_told() -> None:
    assert faults(document()) == []
    assert faults(document(budget={"limit": None, "remaining": None, "reset": None})) == []


@pytest.mark.parametrize(
    ("changes", "says", "mends", "grave"),
    [
        ({"online": False}, "the service is away", "base_url=", True),
        ({"refused": True, "online": True}, "refuses the key", "api_key_file=", True),
        ({"pids": {"serving": None}}, "nobody serves", "pictofs umount --lazy /mnt/p", True),
        ({"restarts": 2}, "2 processes", "log", False),
        ({"budget": {"limit": 5000, "remaining": 250}}, "250 of the hour's 5000", "bulk=create", False),
        ({"budget": {"limit": 5000, "remaining": 0}}, "0 of the hour's", "all of them are back;", True),
        ({"cache": {"bytes": 990, "limit": 1000}}, "the cache is full", "cache_size=", False),
        ({"waits": {"timed_out": 3}}, "3 operations ended without progress", "timeout=", False),
        (
            {"flights": [{"path": "A/images/a.jpg", "seconds": 7.2, "pids": [5]}]},
            "A/images/a.jpg: readers have waited 7 s", "slow", False,
        ),
    ],
)  # fmt: skip
def test_a_fault_comes_with_its_mend(changes: dict[str, Any], says: str, mends: str, grave: bool) -> None:
    (found,) = faults(document(**changes))
    assert says in found["what"]
    assert mends in found["mend"]
    assert found["grave"] is grave


def test_a_fetch_that_nobody_waits_for_may_take_its_time() -> None:
    assert not faults(document(flights=[{"path": "a", "seconds": 70, "pids": []}]))


def test_the_grave_come_first_and_of_the_errors_the_last() -> None:
    errors = [{"time": f"t{number}", "what": f"error {number}"} for number in range(20)]
    found = faults(document(errors=errors, online=False))
    assert found[0]["grave"]
    assert [fault["at"] for fault in found[1:]] == [f"t{number}" for number in range(19, 19 - ERRORS, -1)]


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("SSL certificate problem: unable to get local issuer", "ca_file="),
        ("Could not resolve host: storage", "DNS"),
        ("No space left on device", "cache_size="),
        ("no progress: timeout", "timeout="),
        ("something else", "log"),
    ],
)
def test_the_words_of_an_error_lead_to_a_setting(what: str, names: str) -> None:
    assert names in mend(what)
