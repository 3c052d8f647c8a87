"""The fetching process as its supervisor sees it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pictofs.config import Settings
from pictofs.mount import fetching
from pictofs.mount.fetching import FetchingProcess
from pictofs.mount.plan import Plan


def plan(folder: Path) -> Plan:
    return Plan(Settings(cache_dir=str(folder)), None, "/mnt/x", "", folder, (), {})


@pytest.fixture
def stubborn() -> Iterator[int]:
    """A child that does not end when it is asked to."""
    said, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(tell, b".")
        signal.pause()
        os._exit(0)
    os.read(said, 1)
    os.close(said)
    os.close(tell)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_one_that_does_not_end_when_asked_is_killed_at_once_where_no_time_is_given(
    tmp_path: Path, stubborn: int
) -> None:
    process = FetchingProcess(plan(tmp_path))
    process.adopt(stubborn)
    begun_s = time.monotonic()
    process.stop(0)
    assert time.monotonic() - begun_s < fetching.KILLED_LIMIT_S
    with pytest.raises(ChildProcessError):
        os.waitpid(stubborn, os.WNOHANG)


def test_one_that_not_even_a_kill_ends_is_left_to_itself(
    tmp_path: Path, stubborn: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetching, "KILLED_LIMIT_S", 0.05)
    monkeypatch.setattr(fetching._Adopted, "kill", lambda self: None)
    process = FetchingProcess(plan(tmp_path))
    process.adopt(stubborn)
    process.stop(0)
    assert process.pid == 0
    assert f"{stubborn} was killed and has not ended" in caplog.text


def test_one_that_cannot_be_started_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    before = os.listdir("/proc/self/fd")
    process = FetchingProcess(plan(tmp_path))
    with pytest.raises(FileNotFoundError):
        process.start()
    assert os.listdir("/proc/self/fd") == before
    assert (process.pid, process.ready_fd) == (0, -1)
