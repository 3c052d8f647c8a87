"""A fetching process for one mount: tried again, and none ended that is another."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pictofs.config import Settings
from pictofs.mount import record, supply
from pictofs.mount.events import Events
from pictofs.mount.fetching import Outcome
from pictofs.mount.handover import Before
from pictofs.mount.plan import Plan
from pictofs.mount.supply import Supply


def plan(folder: Path) -> Plan:
    return Plan(Settings(cache_dir=str(folder)), None, "/mnt/x", "", folder, (), {})


@pytest.fixture
def events() -> Iterator[Events]:
    events = Events()
    yield events
    events.close()


def test_a_cache_directory_that_is_gone_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    monkeypatch.setattr(supply, "RETRY_S", 0.01)
    cache = tmp_path / "cache"
    failures: list[str] = []
    found: list[bool] = []
    lock: list[int] = []

    def failed(outcome: Outcome) -> None:
        failures.append(outcome.error)
        if len(failures) == 2:
            cache.mkdir()
            lock.append(os.open(cache / "fetch.lock", os.O_CREAT | os.O_RDWR))
            fcntl.flock(lock[0], fcntl.LOCK_EX)

    def one_answers() -> None:
        found.append(True)
        events.finish()

    Supply(plan(cache), events, found=one_answers, failed=failed, died=lambda _: None).seek()
    events.run()
    os.close(lock[0])
    assert found == [True]
    assert len(failures) == 2
    assert "No such file or directory" in failures[0]


@pytest.mark.parametrize("same", [True, False])
def test_an_older_process_of_another_mount_is_ended_but_not_one_that_has_its_id_now(
    tmp_path: Path, events: Events, same: bool
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = record.start_ticks(child.pid)
        attached = {
            "fetching": child.pid, "fetching_started": started if same else started - 1, "version": "0.0.0"
        }  # fmt: skip
        ours = plan(tmp_path)
        before = replace(Before(ours, "kernel", "", 0, 0, -1, 0, -1, 0), attached=attached)
        with open(tmp_path / "fetch.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unheard = Supply(
                ours, events, found=lambda: None, failed=lambda _: None, died=lambda _: None
            )  # fmt: skip
            unheard.take_over(before)
        if same:
            assert child.wait(10) < 0
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.2)
    finally:
        child.kill()
        child.wait()
