"""`pictofs demo`: from nothing to a mount and back to nothing, as a person and as a program use it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import platformdirs
import pytest
from PIL import Image

from tests.mount import sources
from tests.mount.conftest import eventually, pictofs, run

pytestmark = pytest.mark.mount

PHOTOGRAPHS = "scikit-learn==1.5.2"  # ships two, in sklearn/datasets/images
START_LIMIT_S = 60.0


class Demo:
    """A demo that runs."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pictofs", "demo", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_LIMIT_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            pytest.fail(self.process.communicate(timeout=10)[1])
        self.said: dict[str, Any] = json.loads(line)
        self.mountpoint = Path(self.said["mountpoint"])

    def end(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    made: list[Demo] = []
    yield made
    for demo in made:
        if demo.process.poll() is None:
            demo.end(signal.SIGTERM)
        for stream in (demo.process.stdout, demo.process.stderr):
            if stream is not None:
                stream.close()


def mounted(mountpoint: Path) -> bool:
    return f" {mountpoint} " in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_demo_shows_pictures_and_leaves_nothing(demos: list[Demo], number: int, code: int) -> None:
    demo = Demo()
    demos.append(demo)
    assert demo.said.keys() == {"mountpoint", "base_url", "storage_url", "control_url", "api_key"}
    (root,) = demo.mountpoint.iterdir()
    (dataset,) = root.iterdir()
    pictures = sorted((dataset / "images").rglob("*.jpg"))
    assert len(pictures) == 60
    with Image.open(pictures[7]) as picture:
        picture.load()
        assert min(picture.size) > 100
    assert cv2.imread(str(pictures[7])) is not None
    assert any((dataset / "splits").iterdir())
    assert "No errors" in run("unzip", "-t", next((dataset / "exports").glob("*.zip"))).stdout
    scratch = demo.mountpoint.parent
    got, out, err = demo.end(number)
    assert got == code, err
    assert err == ("pictofs: interrupted\n" if code else "")
    for word in ("ls ", "cp -r", "unzip -l", "Ctrl-C"):
        assert word in out
    assert not mounted(demo.mountpoint)
    assert not scratch.exists()


def test_a_mountpoint_of_ones_own_stays(demos: list[Demo], tmp_path: Path) -> None:
    where = tmp_path / "here"
    where.mkdir()
    demo = Demo(where, "--images", "3")
    demos.append(demo)
    assert demo.mountpoint == where
    assert len(list(where.glob("*/*/images/**/*.jpg"))) == 3
    demo.end(signal.SIGTERM)
    assert list(where.iterdir()) == []


def test_a_demo_ends_when_its_mount_is_unmounted(demos: list[Demo]) -> None:
    demo = Demo("--images", "2")
    demos.append(demo)
    assert pictofs("umount", demo.mountpoint).returncode == 0
    assert demo.process.wait(timeout=20) == 0
    assert not demo.mountpoint.parent.exists()


def test_a_demo_that_is_killed_is_unmounted_all_the_same(demos: list[Demo], tmp_path: Path) -> None:
    where = tmp_path / "here"
    where.mkdir()
    demo = Demo(where, "--images", "2")
    demos.append(demo)
    demo.end(signal.SIGKILL)
    eventually(lambda: not mounted(where), 20, "unmounted")


def test_a_demo_says_in_one_line_why_not(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for arguments, code, says in (
        ([tmp_path / "full"], 6, "is not empty"),
        ([tmp_path / "missing"], 6, "does not exist"),
        (["--from", tmp_path / "full"], 2, "no folder of pictures"),
    ):
        ran = pictofs("demo", *arguments)
        assert (ran.returncode, ran.stdout) == (code, "")
        assert says in ran.stderr
        assert ran.stderr.count("\n") == 1


def test_where_no_fuse_is_a_demo_serves_all_the_same_and_says_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: hiding /dev/fuse takes root")
    hidden = (
        "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && "
        'exec "$0" -m pictofs demo --images 2'
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", hidden, sys.executable]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environ,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
            assert ready
            said = json.loads(process.stdout.readline())
            assert said["mountpoint"] is None
            asking = {"PICTOGRAPH_BASE_URL": said["base_url"], "PICTOGRAPH_API_KEY": said["api_key"]}
            listed = pictofs("datasets", "list", "--json", environ=asking)
            assert [row["image_count"] for row in json.loads(listed.stdout)] == [2]
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "nothing can be mounted here: /dev/fuse" in err
    assert "modprobe fuse" in err
    for word in ("doctor", "download", "PICTOGRAPH_BASE_URL=http"):
        assert word in out
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def photographs() -> Path:
    """Real ones, out of a package that ships some; installed once a machine."""
    home = Path(platformdirs.user_cache_dir("pictofs")) / "photographs"
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = home / PHOTOGRAPHS
        if not folder.exists():
            staging = home / f"{PHOTOGRAPHS}.{os.getpid()}"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(staging)]
            ran = subprocess.run(
                [*pip, PHOTOGRAPHS], capture_output=True, text=True, timeout=300, check=False
            )
            if ran.returncode:
                said = (ran.stderr.strip().splitlines() or ["pip said nothing"])[-1]
                pytest.skip(f"NOT TESTED on photographs: pip could not install {PHOTOGRAPHS}: {said}")
            staging.rename(folder)
    return folder / "sklearn" / "datasets" / "images"


@pytest.mark.timeout(400)
def test_photographs_of_a_folder_open_through_the_mount(demos: list[Demo], photographs: Path) -> None:
    demo = Demo("--from", photographs)
    demos.append(demo)
    (folder,) = demo.mountpoint.glob("*/*/images")
    expected = {path.name: path.read_bytes() for path in photographs.glob("*.jpg")}
    assert len(expected) >= 2
    assert sources.files(folder) == expected
    for name in expected:
        with Image.open(folder / name) as picture:
            picture.load()
            size = picture.size
        read = cv2.imread(str(folder / name))
        assert read is not None
        assert read.shape == (size[1], size[0], 3)
