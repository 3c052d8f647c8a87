"""Readers go on while processes are killed; `python -m tests.benchmarks killing` does it fifty times."""

from __future__ import annotations

import pytest

from tests.benchmarks import killing

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("io", ["cache", "passthrough"])
def test_no_read_fails_while_processes_are_killed(io: str) -> None:
    """ "Either process may die, and readers notice a pause." """
    report = killing.measure(6, seed=3, options=(f"io={io}",), images=200)
    assert report.kills == sum(report.during.values()) == 6
    assert report.failures == []
    assert max(report.longest_s.values()) < 20.0, report
