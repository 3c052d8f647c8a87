from __future__ import annotations

from typing import Any

import pytest

from pictofs.emulator.delivery import Close, Reset, Send, Silence, Step, steps
from pictofs.emulator.faults import BadFault, Fault, FaultPlan


def plan(*entries: dict[str, Any], seed: int = 0) -> FaultPlan:
    made = FaultPlan(seed)
    for entry in entries:
        made.add(entry)
    return made


def kinds(faults: FaultPlan, path: str, times: int, method: str = "GET", host: str = "storage") -> list[str]:
    found = [faults.pick(host, method, path) for _ in range(times)]
    return ["-" if fault is None else fault.kind for fault in found]


def test_a_fault_strikes_its_host_method_and_path_only() -> None:
    faults = plan({"host": "storage", "kind": "reset", "path": "/b/*/a.jpg", "method": "get"})
    assert kinds(faults, "/b/x/y/a.jpg", 1) == ["reset"]
    assert kinds(faults, "/b/a.jpg", 1) == ["-"]
    assert kinds(faults, "/b/x/a.jpg", 1, method="HEAD") == ["-"]
    assert kinds(faults, "/b/x/a.jpg", 1, host="api") == ["-"]


def test_a_pattern_matches_the_path_raw_or_decoded() -> None:
    faults = plan(
        {"host": "storage", "kind": "reset", "path": "*größe*"},
        {"host": "api", "kind": "slow", "path": "*%C3*"},
    )
    assert kinds(faults, "/b/gr%C3%B6%C3%9Fe.jpg", 1) == ["reset"]
    assert kinds(faults, "/b/gr%C3%B6%C3%9Fe.jpg", 1, host="api") == ["slow"]


def test_a_regular_expression_matches_anywhere_in_the_path() -> None:
    faults = plan({"host": "storage", "kind": "reset", "regex": r"scene_0+[37]\.jpg$"})
    assert kinds(faults, "/b/scene_0007.jpg", 1) == ["reset"]
    assert kinds(faults, "/b/scene_0008.jpg", 1) == ["-"]


def test_a_fault_is_spent_after_its_count_and_lets_the_skipped_pass() -> None:
    assert kinds(plan({"host": "storage", "kind": "reset", "count": 2, "skip": 1}), "/b", 5) == [
        "-",
        "reset",
        "reset",
        "-",
        "-",
    ]


def test_the_first_entry_that_strikes_wins_and_the_next_takes_over_when_it_is_spent() -> None:
    faults = plan({"host": "storage", "kind": "reset", "count": 1}, {"host": "storage", "kind": "status"})
    assert kinds(faults, "/b", 3) == ["reset", "status", "status"]


def test_probability_strikes_that_often_and_the_same_way_for_the_same_seed() -> None:
    entry = {"host": "storage", "kind": "reset", "probability": 0.25}
    first, again, other = (kinds(plan(entry, seed=seed), "/b", 2000) for seed in (1, 1, 2))
    assert first == again != other
    assert 400 < first.count("reset") < 600


def test_expired_urls_are_those_signed_up_to_the_fault() -> None:
    faults = plan({"host": "storage", "kind": "expire"})
    faults.entries[0].url_generation = 3
    assert faults.pick("storage", "GET", "/b", 3) is faults.entries[0]
    assert faults.pick("storage", "GET", "/b", 4) is None
    assert faults.pick("storage", "GET", "/b", None) is None


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"host": "storage", "kind": "explode"}, "kind"),
        ({"kind": "reset"}, "host"),
        ({"host": "api", "kind": "reset", "after": 3}, "'after'"),
        ({"host": "api", "kind": "reset", "after_bytes": "3"}, "after_bytes"),
        ({"host": "api", "kind": "redirect"}, "location"),
        ({"host": "api", "kind": "expire"}, "expire"),
        ({"host": "api", "kind": "reset", "probability": 2}, "probability"),
        ({"host": "api", "kind": "reset", "regex": "("}, "regex"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_the_part_that_is_wrong(
    entry: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadFault, match=says):
        plan(entry)


HEAD, BODY = b"HEAD", b"0123456789"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"kind": "reset"}, [Reset()]),
        ({"kind": "reset", "after_bytes": 3}, [Send(b"HEAD012"), Reset()]),
        ({"kind": "truncate"}, [Send(b"HEAD01234"), Close()]),
        ({"kind": "truncate", "after_bytes": 99}, [Send(b"HEAD012345678"), Close()]),
        ({"kind": "stall"}, [Send(HEAD), Silence(None), Close()]),
        (
            {"kind": "stall", "after_bytes": 4, "seconds": 2},
            [Send(b"HEAD0123"), Silence(2), Send(b"456789"), Close()],
        ),
        ({"kind": "slow", "bytes_per_s": 5}, [Send(HEAD), Send(BODY, 5), Close()]),
        ({"kind": "corrupt"}, [Send(b"HEAD01234" + bytes([ord("5") ^ 0xFF]) + b"6789"), Close()]),
        (
            {"kind": "corrupt", "offset": 0},
            [Send(b"HEAD" + bytes([ord("0") ^ 0xFF]) + b"123456789"), Close()],
        ),
    ],
)
def test_a_fault_of_the_wire_is_these_steps(entry: dict[str, Any], expected: list[Step]) -> None:
    fault: Fault = plan({"host": "storage", **entry}).entries[0]
    assert steps(fault, HEAD, BODY) == expected


def test_a_truncated_answer_never_meets_its_length_even_when_it_is_empty() -> None:
    fault = plan({"host": "storage", "kind": "truncate"}).entries[0]
    assert steps(fault, HEAD, b"") == [Send(HEAD), Close()]


def test_a_plan_concerns_a_host_as_long_as_an_entry_may_strike_it() -> None:
    faults = plan({"host": "storage", "kind": "reset", "count": 1})
    assert (faults.concern("storage"), faults.concern("api")) == (True, False)
    faults.pick("storage", "GET", "/b")
    assert not faults.concern("storage")
