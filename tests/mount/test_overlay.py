"""overlay=DIR: tools write beside their input, and what changes below is seen all the same."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount import sources
from tests.mount.conftest import Make, Mount, eventually, pictofs, run

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may mount an overlayfs"),
]
TTL_S = 0.5


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def soon(condition: Callable[[], object], what: str) -> None:
    eventually(condition, 2 * TTL_S + 5.0, what)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    with start(EmulatorSettings(generate=2, rate_limit=100_000)) as running:
        yield running


@pytest.fixture
def service(emulator: Running) -> Iterator[Running]:
    """With the dataset that a test may change."""
    emulator.mutate("add_dataset", name="Written")
    for number in range(6):
        add(emulator, f"{number}.jpg", b"first %d" % number * 400)
    yield emulator
    emulator.mutate("delete_dataset", dataset="Written")


def add(service: Running, name: str, body: bytes) -> None:
    service.mutate("add_image", dataset="Written", filename=name, content=encoded(body))


def replace(service: Running, name: str, body: bytes) -> None:
    service.mutate(
        "replace_image", dataset="Written", image=name, content=encoded(body), same_id=False,
        keep_created_at=False,
    )  # fmt: skip


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return tmp_path / "a, b:c"


@pytest.fixture
def mount(service: Running, mounts: Make, overlay: Path) -> Mount:
    return mounts(service, f"overlay={overlay}", f"ttl={TTL_S}s").mounted()


def line(mount: Mount) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if f" {mount.mountpoint} " in line]


def test_a_file_is_written_beside_its_input_and_is_there_after_a_remount(mount: Mount, overlay: Path) -> None:
    """ "With overlay a file may be written beside its input, and is kept in DIR." """
    folder = mount.root / "Written" / "images"
    (folder / "labels.cache").write_text("ours")
    (mount.root / "new folder").mkdir()
    os.rename(folder / "labels.cache", folder / "renamed.cache")
    assert sorted(os.listdir(folder)) == [*(f"{n}.jpg" for n in range(6)), "renamed.cache"]
    kept = overlay / "upper" / folder.relative_to(mount.mountpoint)
    assert (kept / "renamed.cache").read_text() == "ours"
    assert mount.umount().returncode == 0
    assert line(mount) == []
    assert os.listdir(mount.mountpoint) == []
    mount.mounted()
    assert (folder / "renamed.cache").read_text() == "ours"
    assert (folder / "3.jpg").read_bytes() == b"first 3" * 400


def test_what_changes_below_is_seen_through_the_overlay(service: Running, mount: Mount) -> None:
    """ "A change is seen through an overlay a second later, once nobody has the former version open." """
    folder = mount.root / "Written" / "images"
    assert not (folder / "later.jpg").exists()
    for number in range(6):
        assert (folder / f"{number}.jpg").read_bytes() == b"first %d" % number * 400
    (folder / "labels.cache").write_text("ours")  # from here on the folder has two layers
    replace(service, "1.jpg", b"second 1" * 300)
    service.mutate("delete_image", dataset="Written", image="2.jpg")
    service.mutate("delete_image", dataset="Written", image="3.jpg")
    add(service, "3.jpg", b"again 3" * 500)
    add(service, "later.jpg", b"later" * 100)
    soon(lambda: (folder / "1.jpg").read_bytes() == b"second 1" * 300, "the changed image")
    soon(lambda: not (folder / "2.jpg").exists(), "that an image is gone")
    soon(lambda: (folder / "3.jpg").read_bytes() == b"again 3" * 500, "the image that came again")
    soon((folder / "later.jpg").exists, "an image whose name was not there")
    soon(lambda: sorted(os.listdir(folder)) == ["0.jpg", "1.jpg", "3.jpg", "4.jpg", "5.jpg", "labels.cache",
                                               "later.jpg"], "the listing")  # fmt: skip
    assert (folder / "labels.cache").read_text() == "ours"
    assert (folder / "4.jpg").read_bytes() == b"first 4" * 400


def test_a_path_is_estale_while_its_former_version_is_open(service: Running, mount: Mount) -> None:
    folder = mount.root / "Written" / "images"
    with open(folder / "1.jpg", "rb") as held:
        assert held.read(10) == (b"first 1" * 2)[:10]
        replace(service, "1.jpg", b"second 1" * 300)

        def stale() -> bool:
            try:
                (folder / "1.jpg").read_bytes()
            except OSError as error:
                return error.errno == errno.ESTALE
            return False

        soon(stale, "ESTALE")
        assert held.read() == (b"first 1" * 400)[10:]
    eventually(lambda: (folder / "1.jpg").read_bytes() == b"second 1" * 300, 15, "the path, once closed")


def test_it_is_remounted_once_a_second_at_most(service: Running, mount: Mount) -> None:
    folder = mount.root / "Written" / "images"
    began_s = time.monotonic()
    for turn in range(6):
        add(service, f"turn {turn}.jpg", b"turn" * 99)
        soon(lambda turn=turn: f"turn {turn}.jpg" in os.listdir(folder), "another image")
    took_s = time.monotonic() - began_s
    soon((folder / "turn 5.jpg").exists, "the last one")
    assert 1 <= mount.log.read_text().count("the overlay is remounted") <= took_s + 2


def test_it_is_one_mount_to_see_and_to_end(service: Running, mounts: Make, overlay: Path) -> None:
    for end in ("umount", "fusermount", "SIGTERM"):
        mount = mounts(service, f"overlay={overlay}")
        assert mount.mount(source="pictofs-emulator").returncode == 0, mount.logged()
        (shown,) = line(mount)
        assert " - overlay pictofs-emulator " in shown
        assert run("findmnt", "-no", "SOURCE", mount.mountpoint).stdout.strip() == "pictofs-emulator"
        assert ".beneath " not in Path("/proc/self/mountinfo").read_text().replace(shown, "")
        status = mount.status()
        assert (status["mountpoint"], status["online"]) == (str(mount.mountpoint), True)
        again = mount.mount()
        assert (again.returncode, again.stderr.count("\n")) == (6, 1), again.stderr
        assert pictofs("refresh", mount.root / "Written").returncode == 0
        match end:
            case "umount":
                run("umount", mount.mountpoint)
            case "fusermount":
                run("fusermount3", "-u", mount.mountpoint)
            case "SIGTERM":
                os.kill(status["pids"]["supervisor"], signal.SIGTERM)
        eventually(
            lambda pids=status["pids"]: not any(os.path.exists(f"/proc/{pid}") for pid in pids.values()),
            15, f"{end}: no process",
        )  # fmt: skip
        assert line(mount) == []


def test_nobody_else_passes_it_without_allow_other(service: Running, mounts: Make, overlay: Path) -> None:
    os.chmod(overlay.parent, 0o755)
    strict = mounts(service, f"overlay={overlay}").mounted()
    assert os.stat(strict.mountpoint).st_mode & 0o777 == 0o700
    assert strict.umount().returncode == 0
    strict.mounted("allow_other")
    assert os.stat(strict.mountpoint).st_mode & 0o777 == 0o755


def test_processes_are_replaced_below_an_overlay(mount: Mount) -> None:
    folder = mount.root / "Written" / "images"
    with open(folder / "0.jpg", "rb") as held:
        for which in ("serving", "fetching"):
            os.kill(mount.status()["pids"][which], signal.SIGKILL)
            assert len(sources.files(mount.root / "Written")) >= 12
        assert held.read() == b"first 0" * 400
    (folder / "x").write_text("still")


def test_an_overlay_whose_processes_were_killed_makes_room(mount: Mount) -> None:
    folder = mount.root / "Written" / "images"
    (folder / "kept").write_text("kept")
    pids = mount.status()["pids"]
    for which in ("supervisor", "serving", "fetching"):
        with contextlib.suppress(ProcessLookupError):  # the others end with their supervisor
            os.kill(pids[which], signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pids['serving']}"), 10, "their end")
    mount.mounted()
    assert len(line(mount)) == 1
    assert (folder / "kept").read_text() == "kept"


def test_passthrough_goes_through_an_overlay(service: Running, mounts: Make, overlay: Path) -> None:
    mount = mounts(service, f"overlay={overlay}", "io=passthrough").mounted()
    folder = mount.root / "Written" / "images"
    for _ in range(2):
        assert (folder / "5.jpg").read_bytes() == b"first 5" * 400


def test_what_the_kernel_refuses_is_one_line_and_nothing_stays(
    service: Running, mount: Mount, mounts: Make, tmp_path: Path
) -> None:
    below = mounts(service, f"overlay={mount.mountpoint / 'within'}")
    (mount.mountpoint / "within").mkdir()
    ran = below.mount()
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert "overlay=" in ran.stderr
    assert not os.path.ismount(below.mountpoint)
    assert f"{below.mountpoint.name}-" not in Path("/proc/self/mountinfo").read_text()
    for folder, why in (
        (tmp_path, "within each other"),
        (tmp_path / "a, b:c", "serves"),
        (tmp_path / "back\\slash", "backslash"),
    ):
        ran = mounts(service, f"overlay={folder}".replace("\\", "\\\\")).mount()
        assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
        assert why in ran.stderr
    ran = mounts(service, f"overlay={tmp_path / 'o'}", "driver=fusepy").mount()
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr


def test_the_source_has_spaces_as_they_are(service: Running, mounts: Make, overlay: Path) -> None:
    mount = mounts(service, f"overlay={overlay}", "organization=two words")
    assert mount.mount(source="two words").returncode == 0, mount.logged()
    assert run("findmnt", "-no", "SOURCE", mount.mountpoint).stdout.strip() == "two words"
