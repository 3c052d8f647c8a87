"""A serving process that hangs is replaced; so is one on a kernel that asks nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running
from tests.mount import sources
from tests.mount.conftest import Make, Mount, eventually

pytestmark = pytest.mark.mount


def supervised(mount: Mount, what: str) -> Mount:
    said = [f"cache_dir={mount.cache}", f"log_file={mount.log}", *mount.options]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mount.supervising", what, str(mount.mountpoint), *said],
        env={**os.environ, **mount._environ()}, capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ran.returncode == 0, (ran.stderr, mount.logged())
    return mount


def test_a_serving_process_that_hangs_is_replaced_with_its_stacks_in_the_log(
    emulators: Callable[..., Running], mounts: Make
) -> None:
    mount = supervised(mounts(emulators(generate=6)), "silence=2")
    (dataset,) = mount.root.iterdir()
    first = sources.files(dataset / "images")
    before = mount.status()["pids"]
    os.kill(before["serving"], signal.SIGSTOP)
    found: list[dict[str, bytes]] = []
    reader = threading.Thread(target=lambda: found.append(sources.files(mount.root)))
    reader.start()
    reader.join(30.0)
    assert not reader.is_alive(), mount.logged()
    assert found, mount.logged()
    assert len(found[0]) > len(first)
    # It was continued to write its stacks down, and may have answered before it was killed.
    eventually(lambda: not os.path.exists(f"/proc/{before['serving']}"), 5.0, "its end")
    eventually(lambda: mount.status()["pids"]["serving"] != before["serving"], 5.0, "another one")
    assert mount.status()["pids"]["supervisor"] == before["supervisor"]
    log = mount.log.read_text()
    assert "silent for" in log
    assert "most recent call first" in log


def test_a_serving_process_that_nobody_asks_anything_may_be_silent(
    emulators: Callable[..., Running], mounts: Make
) -> None:
    mount = supervised(mounts(emulators(generate=6)), "silence=0.4")
    before = mount.status()["pids"]
    threading.Event().wait(1.5)
    assert mount.status()["pids"] == before
    assert "silent" not in mount.log.read_text()


def test_without_a_resend_the_mount_is_made_anew(emulators: Callable[..., Running], mounts: Make) -> None:
    mount = supervised(mounts(emulators(generate=6)), "no-resend")
    first = sources.files(mount.root)
    before = mount.status()["pids"]
    os.kill(before["serving"], signal.SIGKILL)

    def again() -> bool:
        status = mount.status()
        return status["pids"]["serving"] != before["serving"] and sources.files(mount.root) == first

    eventually(again, 10.0, "the mount made anew")
    assert "mounting anew" in mount.log.read_text()
    assert mount.umount().returncode == 0
