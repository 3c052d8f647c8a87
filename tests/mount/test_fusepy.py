"""The fusepy driver where it cannot mount, and what only libfuse brings."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.fetching import Fetching
from tests.contract.world import World
from tests.mounting import ROOT, Mounted, connection_of

# what a driver needs of a vfs before it is asked anything
STUB = """
import sys
from pictofs.config import Settings
from pictofs.drivers.fusepy import FusepyDriver
from pictofs.errors import PictofsError

class Vfs:
    on_changed = None

try:
    FusepyDriver(Vfs(), Settings()).serve(sys.argv[1], lambda: None)
except PictofsError as error:
    print(type(error).__name__, error)
"""


def refused(mountpoint: Path, **environment: str) -> str:
    """What the driver says when it is to serve at `mountpoint`, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", STUB, str(mountpoint)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_without_libfuse_2_the_mend_is_said(tmp_path: Path) -> None:
    said = refused(tmp_path, FUSE_LIBRARY_PATH=str(tmp_path / "missing.so"))
    assert said == "NoFuse driver=fusepy needs libfuse 2: apt-get install libfuse2\n"


def test_libfuse_3_is_never_used(tmp_path: Path) -> None:
    library = ctypes.util.find_library("fuse3")
    if library is None:
        pytest.skip("NOT TESTED, libfuse 3 is not installed")
    assert refused(tmp_path, FUSE_LIBRARY_PATH=library).startswith("NoFuse FUSE_LIBRARY_PATH names libfuse 3")


@pytest.mark.mount
def test_a_folder_that_is_missing_or_in_use_is_told_as_such(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing").startswith("MountpointUnusable")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    assert refused(tmp_path / "full").startswith("MountpointUnusable")
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file").startswith("MountpointUnusable")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounted]:
    world = World(tmp_path / "cache")
    world.dataset("Cars")
    world.image("Cars", "x.jpg", b"x" * 5000)
    fetching = Fetching(world, tmp_path / "fetch.sock")
    try:
        with Mounted(fetching, tmp_path / "mnt", "fusepy") as mounted:
            yield mounted
    finally:
        fetching.stop()
        world.close()


@pytest.mark.mount
def test_a_second_read_comes_from_the_page_cache(mount: Mounted) -> None:
    path = mount.root / "Cars" / "images" / "x.jpg"
    assert path.read_bytes() == b"x" * 5000
    before = _bytes_read(mount)
    for _ in range(5):
        assert path.read_bytes() == b"x" * 5000
    assert _bytes_read(mount) == before


@pytest.mark.mount
def test_stopping_the_driver_unmounts_and_ends_its_process(mount: Mounted) -> None:
    assert os.listdir(mount.root) == ["Cars"]
    assert mount.end_input() == 0
    assert connection_of(mount.mountpoint) is None
    assert os.listdir(mount.mountpoint) == []


@pytest.mark.mount
def test_sigterm_unmounts_and_ends_the_process(mount: Mounted) -> None:
    assert os.listdir(mount.root) == ["Cars"]
    assert mount.terminate() == 0
    assert connection_of(mount.mountpoint) is None


@pytest.mark.mount
def test_many_opens_leave_no_descriptor_behind(mount: Mounted) -> None:
    path = mount.root / "Cars" / "images" / "x.jpg"
    path.read_bytes()
    descriptors = Path(f"/proc/{mount.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(100):
        path.read_bytes()
        (mount.mountpoint / ".pictofs" / "status.json").read_bytes()
    assert len(list(descriptors.iterdir())) <= before + 2


def _bytes_read(mount: Mounted) -> float:
    """How much the kernel asked for of files whose bytes lie in blocks."""
    text = (mount.mountpoint / ".pictofs" / "metrics").read_text()
    line = next(line for line in text.splitlines() if line.startswith("pictofs_read_bytes_total"))
    return float(line.split()[1])
