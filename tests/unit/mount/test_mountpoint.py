from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pictofs.drivers import mountinfo
from pictofs.errors import MountpointUnusable, NotMounted
from pictofs.mount import leave, mountpoint


def test_an_empty_folder_is_fit_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnt").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mnt")
    monkeypatch.chdir(tmp_path)
    for name in ("mnt", "./mnt/", "link", str(tmp_path / "link")):
        assert mountpoint.check(name) == str(tmp_path / "mnt")


def test_every_other_place_says_why_not_and_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, says in (
        ("missing", "does not exist: mkdir -p"),
        ("file", "is no folder; name an empty one"),
        (".", "is not empty; name an empty folder"),
        ("file/below", "does not exist|cannot be looked at"),
    ):
        with pytest.raises(MountpointUnusable, match=says):
            mountpoint.check(str(tmp_path / name))


def test_what_is_mounted_by_us_and_lives_is_not_mounted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pictofs.drivers.kernel import mounting

    ours = mountinfo.Mounted(1, "0:99", str(tmp_path), mountinfo.TYPE, "pictofs", "ro")
    monkeypatch.setattr(mountinfo, "at", lambda path: ours)
    monkeypatch.setattr(mounting, "dead", lambda path, below: False)
    with pytest.raises(MountpointUnusable, match="mounted by pictofs already"):
        mountpoint.check(str(tmp_path))


def test_a_dead_mount_of_ours_is_cleared_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pictofs.drivers.kernel import mounting

    ours = mountinfo.Mounted(1, "0:99", str(tmp_path), mountinfo.TYPE, "pictofs", "ro")
    cleared: list[tuple[str, bool]] = []
    monkeypatch.setattr(mountinfo, "at", lambda path: ours)
    monkeypatch.setattr(mounting, "dead", lambda path, below: True)
    monkeypatch.setattr(mounting, "unmount", lambda path, lazy: cleared.append((path, lazy)))
    assert mountpoint.check(str(tmp_path)) == str(tmp_path)
    assert cleared == [(str(tmp_path), True)]


def test_who_holds_a_mountpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").touch()
    assert mountpoint.holders(str(tmp_path)) == []
    with open(tmp_path / "deep" / "file") as held:
        who = mountpoint.holders(str(tmp_path))
        assert [holder.pid for holder in who] == [os.getpid()]
        assert f"({os.getpid()})" in str(mountpoint.busy_because(str(tmp_path)))
        assert held.readable()
    reader = [sys.executable, "-c", "import sys; print('here', flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        reader, cwd=tmp_path / "deep", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert [holder.pid for holder in mountpoint.holders(str(tmp_path))] == [process.pid]
        process.stdin.close()


def test_what_is_not_mounted_is_not_unmounted(tmp_path: Path) -> None:
    with pytest.raises(NotMounted, match="nothing of pictofs is mounted there"):
        leave.leave(str(tmp_path), {"XDG_RUNTIME_DIR": str(tmp_path)})
