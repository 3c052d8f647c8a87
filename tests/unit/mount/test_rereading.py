"""What of changed settings a live mount follows, and how long a service manager hears nothing."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pictofs.config import KeySource, Profile, Settings
from pictofs.mount import handover, reread
from pictofs.mount.notify import watchdog_s
from pictofs.mount.plan import Plan
from pictofs.mount.rereading import difference

PROFILE = Profile("lab", KeySource(file="/key"))
PLAN = Plan(Settings(profiles=(PROFILE,)), None, "/mnt/x", "", Path("/run"), ("pk_live_one",), {})


def but(**settings: object) -> Plan:
    return replace(PLAN, settings=replace(PLAN.settings, **settings))


def test_what_has_not_changed_is_no_difference() -> None:
    found = difference(PLAN, replace(PLAN, folder="/elsewhere"))
    assert (found.plan, found.followed, found.left, found.keys) == (PLAN, (), (), False)


def test_settings_that_can_be_followed_are_and_the_others_stay() -> None:
    found = difference(PLAN, but(ttl_s=5.0, uid=7, cache_dir="/other"))
    assert (found.followed, found.left) == (("ttl_s",), ("cache_dir", "uid"))
    assert found.plan == but(ttl_s=5.0)


def test_another_key_and_another_place_for_it_are_followed() -> None:
    moved = replace(PROFILE, key=KeySource(command="pass show key"))
    found = difference(PLAN, replace(but(profiles=(moved,)), api_keys=("pk_live_two",)))
    assert found.keys
    assert (found.plan.api_keys, found.plan.settings.profiles) == (("pk_live_two",), (moved,))


@pytest.mark.parametrize("profiles", [(replace(PROFILE, base_url="http://h"),), (PROFILE, PROFILE)])
def test_other_organizations_take_another_mount(profiles: tuple[Profile, ...]) -> None:
    found = difference(PLAN, replace(but(profiles=profiles), api_keys=("pk_live_two",) * len(profiles)))
    assert (found.left, found.keys, found.plan) == (("profiles",), False, PLAN)


def test_settings_are_read_as_they_were_said_at_first(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("pk_live_two\n")
    (tmp_path / "key").chmod(0o600)
    config = tmp_path / "pictofs" / "config.toml"
    config.parent.mkdir()
    config.write_text('ttl = "7s"\n')
    told = replace(
        PLAN, given=("api_key_file=key", "nosuch"), sloppy=True, folder=str(tmp_path),
        environ={"XDG_CONFIG_HOME": str(tmp_path), "PICTOFS_TIMEOUT": "3", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    receive, send = os.pipe()
    paper = os.memfd_create("plan", 0)
    os.write(paper, json.dumps(handover.written(told)).encode())
    subprocess.run(
        [sys.executable, "-m", reread.__name__, str(paper), str(send)],
        pass_fds=(paper, send), timeout=30, check=True,
    )  # fmt: skip
    os.close(send)
    os.close(paper)
    with open(receive, "rb") as pipe:
        now = handover.read(json.loads(pipe.read())["plan"])
    assert (now.settings.ttl_s, now.settings.timeout_s, now.api_keys) == (7.0, 3.0, ("pk_live_two",))
    assert now.settings.profiles[0].key.file == str(tmp_path / "key")


def test_the_watchdog_hears_thrice_as_often_as_it_must_and_only_of_whom_it_means() -> None:
    me = str(os.getpid())
    assert watchdog_s({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": me}) == 20.0
    assert watchdog_s({"WATCHDOG_USEC": "60000000"}) == 20.0
    for environ in ({}, {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}):
        assert watchdog_s(environ) is None


KEPT = """
import ctypes, os, resource
from pictofs import stacks
stacks.keep_memory()
if os.fork() == 0:
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    os._exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux'")
def test_a_process_that_holds_a_key_and_its_forks_write_no_core_file() -> None:
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1, "this one does"
    assert subprocess.run([sys.executable, "-c", KEPT], timeout=30, check=False).returncode == 0
