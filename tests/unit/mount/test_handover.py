"""What a supervisor hands to the program that takes its place."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from pictofs.config import KeySource, Profile, Settings
from pictofs.mount import handover
from pictofs.mount.handover import Before
from pictofs.mount.plan import Plan

PROFILE = Profile("mine", KeySource(file="/key"), "http://127.0.0.1:1", "org", "c")
SETTINGS = Settings("src", (PROFILE,), ttl_s=3.0, cache_dir="/c", overlay="/o", ignored=("rw",))
PLAN = Plan(SETTINGS, "org", "/mnt/x", "/log", Path("/run"), ("pk_live_secret",), {"A": "b"})
BEFORE = Before(PLAN, "kernel", "cache", 2, 1, 5, 100, 6, 101, 7, 8, "{}", {"organizations": [1]})


def test_what_was_handed_over_is_what_arrives() -> None:
    assert handover.unpack(handover.pack(BEFORE)) == BEFORE
    assert "secret" not in repr(BEFORE)


def test_another_versions_settings_are_taken_as_far_as_they_are_known() -> None:
    document = json.loads(handover.pack(BEFORE))
    document["later"] = 1
    document["plan"]["settings"]["later"] = 2
    document["plan"]["settings"]["profiles"][0]["later"] = 3
    del document["plan"]["settings"]["ttl_s"]
    found = handover.unpack(json.dumps(document).encode())
    assert found.plan.settings.ttl_s == Settings().ttl_s
    assert found.plan.settings.profiles == (PROFILE,)
    with pytest.raises(ValueError, match="another way"):
        handover.unpack(json.dumps({**document, "schema": 2}).encode())


def test_a_program_that_cannot_be_executed_leaves_everything_as_it_was() -> None:
    read, write = os.pipe()
    before = Before(PLAN, "kernel", "cache", 0, 0, read, 0, write, 0)
    folder, environ, open_files = os.getcwd(), dict(os.environ), os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        handover.execute(before, "/no/such/python", None)
    assert os.listdir("/proc/self/fd") == open_files
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & handover.SIGNALS
    assert not os.get_inheritable(read)
    assert not os.get_inheritable(write)
    assert (os.getcwd(), dict(os.environ)) == (folder, environ)
    os.close(read)
    os.close(write)


def test_signals_arrive_again_after_a_hand_over_that_failed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    closed, other = os.pipe()
    os.close(closed)
    os.close(other)
    open_files = os.listdir("/proc/self/fd")
    for lock in (-1, closed):
        with pytest.raises(OSError):  # noqa: PT011 - whichever comes first
            handover.execute(Before(PLAN, "kernel", "", 0, 0, lock, 0, -1, 0), "/no/such/python", None)
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & handover.SIGNALS
        assert os.listdir("/proc/self/fd") == open_files


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [("0.1.0", "0.2.0", True), ("0.9", "0.10", True), ("1.0", "1.0", False), ("2.0", "1.9", False),
     ("1.0rc1", "1.0.1", True)],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(version: str, than: str, older: bool) -> None:
    assert handover.older(version, than) is older
