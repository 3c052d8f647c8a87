"""What holds for every test: nothing is left behind, nothing unexpected is logged; mounts where they can be.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import Snapshot, mark_this_run

mark_this_run()
_SYS_ADMIN = 1 << 21


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "logs_traceback: the test provokes an error that is logged with its traceback"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = no_fuse()
    if why:
        for item in items:
            if item.get_closest_marker("mount"):
                item.add_marker(pytest.mark.skip(reason=f"NOT TESTED, no FUSE here: {why}"))


def no_fuse() -> str:
    """Why nothing can be mounted here; empty where it can."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    if os.geteuid() != 0:
        return "" if shutil.which("fusermount3") else "fusermount3 is not installed"
    status = Path("/proc/self/status").read_text().splitlines()
    effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return "" if effective & _SYS_ADMIN or shutil.which("fusermount3") else "no CAP_SYS_ADMIN"


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_by_the_run() -> Iterator[None]:
    before = Snapshot.take()
    yield
    left = before.settled()
    assert not left, "left behind by the run: " + "; ".join(left)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """What shared fixtures started before the test may stay; what the test started must not."""
    before = Snapshot.take()
    yield
    left = before.settled()
    assert not left, "left behind: " + "; ".join(left)


@pytest.fixture(autouse=True)
def _no_unexpected_traceback(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("logs_traceback"):
        return
    for record in caplog.get_records("call"):
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            pytest.fail(f"logged with a traceback: {record.getMessage()}\n{trace}", pytrace=False)
