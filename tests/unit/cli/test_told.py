"""Which mounts a command complains about when it cannot tell them what it has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pictofs.api import Client
from pictofs.cli import told
from pictofs.cli.account import Account
from pictofs.config import Settings
from pictofs.mount import places
from pictofs.mount.record import Record, RecordFile, start_ticks


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A mount of this process whose cache directory has lost its catalog."""
    monkeypatch.setattr(places, "run_dir", lambda environ, uid: tmp_path)
    pid = os.getpid()
    return Record(
        mountpoint="/data/m",
        source="pictofs",
        supervisor=pid,
        started=start_ticks(pid),
        version="1",
        cache_dir=str(tmp_path / "cache"),
        log="",
        ready=True,
    )


def _said(record: Record, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> str:
    RecordFile(run_dir, record.mountpoint).write(record)
    with Client("http://127.0.0.1:9/api/v1/developer", api_key="key") as client:
        told.datasets_changed(Account(client, Settings(), "key"), {})
    return capsys.readouterr().err


def test_a_mount_that_cannot_be_told_is_named_in_one_line(
    mount: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _said(mount, tmp_path, capsys)
    assert said.startswith("pictofs: done, but /data/m could not be told and shows it after its ttl: ")
    assert said.count("\n") == 1


def test_a_mount_that_begins_or_ends_meanwhile_shows_nothing_old_and_is_not_complained_about(
    mount: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _said(replace(mount, ready=False), tmp_path, capsys) == ""
    assert _said(replace(mount, started=mount.started - 1), tmp_path, capsys) == ""
