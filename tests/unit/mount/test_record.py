from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pictofs.errors import MountpointUnusable
from pictofs.mount import record
from pictofs.mount.record import Record, RecordFile


def of_this_process(mountpoint: str) -> Record:
    return Record(mountpoint, "pictofs", os.getpid(), record.start_ticks(os.getpid()), "0", "/c", "/log")


def test_a_live_mount_is_found_by_its_record(tmp_path: Path) -> None:
    file = RecordFile(tmp_path, "/mnt/a")
    file.claim()
    file.write(of_this_process("/mnt/a"))
    assert [found.mountpoint for found in record.live(tmp_path)] == ["/mnt/a"]
    assert record.of_mountpoint(tmp_path, "/mnt/a") is not None
    assert record.of_mountpoint(tmp_path, "/mnt/b") is None
    file.withdraw()
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_a_process_that_is_gone_or_another_by_now_is_none(tmp_path: Path) -> None:
    file = RecordFile(tmp_path, "/mnt/a")
    file.claim()
    file.write(replace(of_this_process("/mnt/a"), started=1))
    assert record.live(tmp_path) == []
    file.write(replace(of_this_process("/mnt/a"), supervisor=0))
    assert record.live(tmp_path) == []
    file.withdraw()


def test_a_mountpoint_has_one_supervisor(tmp_path: Path) -> None:
    first, second = RecordFile(tmp_path, "/mnt/a"), RecordFile(tmp_path, "/mnt/a")
    first.claim()
    with pytest.raises(MountpointUnusable, match="mounted by pictofs already"):
        second.claim()
    first.withdraw()
    second.claim()
    second.withdraw()


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RecordFile(tmp_path, "/mnt/a")
    real, calls = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        if not calls:
            file.path.with_suffix(".lock").unlink()  # as the last holder does between our open and our lock
        calls.append(how)
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    file.claim()
    assert len(calls) == 2
    assert file.path.with_suffix(".lock").exists()
    file.withdraw()


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"schema": 99}'), ("d", '{"schema": 1, "x": 2}')):
        (tmp_path / f"{name}.json").write_text(text)
    assert record.live(tmp_path) == []
    assert record.live(tmp_path / "missing") == []
