"""A live mount goes on as a newly installed version, under the hands of its readers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pictofs as package
from pictofs.emulator.launch import Running
from pictofs.mount import places
from tests.benchmarks import killing
from tests.mount.conftest import Make, Mount, eventually

pytestmark = pytest.mark.mount
READERS = 4
NEWER = "99.1"
READ = """
import hashlib, json, os, sys, time
folder, turns = sys.argv[1], int(sys.argv[2])
truth, longest = json.load(sys.stdin), 0.0
names = sorted(truth)
held = open(f"{folder}/{names[0]}", "rb", buffering=0)
first = held.read(1000)
print("reading", flush=True)
turn = 0
while not os.path.exists(sys.argv[3]) or turn < turns:
    for name in names[turn % 7:] + names[:turn % 7]:
        began = time.monotonic()
        with open(f"{folder}/{name}", "rb") as file:
            body = file.read()
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        longest = max(longest, time.monotonic() - began)
        assert hashlib.sha1(body).hexdigest() == truth[name], name
    turn += 1
os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
assert hashlib.sha1(first + held.readall()).hexdigest() == truth[names[0]]
print(json.dumps(longest))
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another installation: this program with a later version."""
    folder = tmp_path_factory.mktemp("newer")
    source = Path(package.__file__).parent
    shutil.copytree(source, folder / "pictofs", ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "pictofs" / "__init__.py"
    text, count = re.subn(r'__version__ = "[^"]+"', f'__version__ = "{NEWER}"', init.read_text())
    assert count == 1
    init.write_text(text)
    return folder


def upgrade(mount: Mount, installation: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = dict(os.environ)
    if installation is not None:
        environ["PYTHONPATH"] = str(installation)
    return subprocess.run(
        [sys.executable, "-m", "pictofs", "upgrade", str(mount.mountpoint)],
        env=environ, cwd="/", capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.fixture
def service(emulators: Callable[..., Running], tmp_path: Path) -> tuple[Running, dict[str, str]]:
    truth = killing.pictures(tmp_path / "data", 150, 4)
    slow = {"bandwidth": 2 << 20, "storage_latency_ms": 20}
    return emulators(data=tmp_path / "data", rate_limit=100_000, **slow), truth


@pytest.mark.parametrize("io", ["cache", "passthrough"])
def test_readers_go_on_while_a_mount_is_upgraded(
    service: tuple[Running, dict[str, str]], mounts: Make, newer: Path, tmp_path: Path, io: str
) -> None:
    """ "An upgrade of a live mount is a pause for its readers." """
    running, truth = service
    mount = mounts(running, f"io={io}").mounted()
    before = mount.status()
    folder, done = mount.root / "Killing" / "images", tmp_path / "done"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(folder), "2", str(done)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(READERS)
    ]  # fmt: skip
    try:
        for reader in readers:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(json.dumps(truth))
            reader.stdin.close()
            reader.stdin = None
            assert reader.stdout.readline() == "reading\n"
        cold = upgrade(mount, newer)  # the service gives them a fraction of the data meanwhile
        assert (cold.returncode, cold.stderr) == (0, ""), mount.logged()
        assert f"{before['version']} → {NEWER}" in cold.stdout
        between = mount.status()
        warm = upgrade(mount, newer)
        assert warm.returncode == 0, (warm.stderr, mount.logged())
        done.touch()
        for reader in readers:
            out, err = reader.communicate(timeout=100)
            assert reader.returncode == 0, err
            assert json.loads(out) < 20.0
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    after = mount.status()
    assert after["version"] == between["version"] == NEWER
    assert len({status["pids"]["serving"] for status in (before, between, after)}) == 3
    assert before["pids"]["supervisor"] == after["pids"]["supervisor"]
    # the older fetching process was replaced, one of the same version was not
    assert before["pids"]["fetching"] != between["pids"]["fetching"] == after["pids"]["fetching"]
    assert after["restarts"] == 0
    assert mount.umount().returncode == 0
    for pid in after["pids"].values():
        eventually(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), 10, "the end of all processes")
    name = places.name_of(str(mount.mountpoint))
    assert not list(places.run_dir(os.environ, os.getuid()).glob(f"*{name}*"))


def test_after_an_upgrade_processes_are_replaced_as_before(
    service: tuple[Running, dict[str, str]], mounts: Make
) -> None:
    running, truth = service
    mount = mounts(running).mounted()
    assert upgrade(mount).returncode == 0
    folder = mount.root / "Killing" / "images"
    for which in ("serving", "fetching"):
        before = mount.status()["pids"]
        os.kill(before[which], signal.SIGKILL)
        for name in sorted(truth)[:5]:
            assert killing._digest(f"{folder}/{name}") == truth[name]
        eventually(lambda: mount.status()["pids"][which] != before[which], 10, which)  # noqa: B023
    os.kill(mount.status()["pids"]["supervisor"], signal.SIGTERM)
    eventually(lambda: not os.path.ismount(mount.mountpoint), 15, "unmounted by SIGTERM")


def test_with_fusepy_an_upgrade_mounts_anew(
    service: tuple[Running, dict[str, str]], mounts: Make, newer: Path
) -> None:
    running, truth = service
    mount = mounts(running, "driver=fusepy").mounted()
    before = mount.status()
    assert before["driver"] == "fusepy"
    ran = upgrade(mount, newer)
    assert ran.returncode == 0, (ran.stderr, mount.logged())
    after = mount.status()
    assert after["version"] == NEWER
    assert after["pids"]["serving"] != before["pids"]["serving"]
    name = sorted(truth)[0]
    assert killing._digest(f"{mount.root}/Killing/images/{name}") == truth[name]
    assert "mounting anew" in mount.log.read_text()


def test_a_program_that_cannot_be_executed_changes_nothing(
    service: tuple[Running, dict[str, str]], mounts: Make
) -> None:
    running, truth = service
    mount = mounts(running).mounted()
    before = mount.status()["pids"]
    request = places.run_dir(os.environ, os.getuid()) / f"{places.name_of(str(mount.mountpoint))}.upgrade"
    request.write_text(json.dumps({"python": "/no/such/python", "pythonpath": None}))
    os.kill(before["supervisor"], signal.SIGUSR2)
    eventually(lambda: "cannot be executed" in mount.log.read_text(), 10, "the line in the log")
    name = sorted(truth)[-1]
    assert killing._digest(f"{mount.root}/Killing/images/{name}") == truth[name]
    assert mount.status()["pids"] == before
    assert not request.exists()


def test_what_is_not_mounted_cannot_be_upgraded(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pictofs", "upgrade", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr.count("\n")) == (7, 1)
