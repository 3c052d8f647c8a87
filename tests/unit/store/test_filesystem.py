"""What a cache directory may lie on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pictofs.errors import CacheUnusable
from pictofs.store.filesystem import default_limits, is_network, kind_of_file_system, refuse_network

TABLE = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/me/scratch rw - xfs /dev/vdb rw
32 22 0:31 / /mnt/with\040space rw - cifs //server/share rw
33 22 0:32 / /data rw - ext4 /dev/vdc rw
34 33 0:33 / /data rw - fuse.sshfs host:/ rw
35 22 0:34 / /usb rw - fuseblk /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/cache/pictofs", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/scratch/x", "xfs"),
        ("/home/me/scratch2", "nfs4"),
        ("/homework", "ext4"),
        ("/mnt/with space/cache", "cifs"),
        ("/data/x", "fuse.sshfs"),
        ("/usb/x", "fuseblk"),
    ],
)
def test_the_deepest_and_last_mount_above_a_path_counts(path: str, kind: str) -> None:
    assert kind_of_file_system(path, TABLE) == kind


@pytest.mark.parametrize("path", ["/home/me/x", "/mnt/with space", "/data/x"])
def test_a_cache_on_the_network_is_refused_and_told_where_to_go(path: str) -> None:
    with pytest.raises(CacheUnusable, match=r"cache_dir .* is on .*local file system"):
        refuse_network(path, TABLE)


@pytest.mark.parametrize("path", ["/", "/home/me/scratch", "/usb/cache"])
def test_a_cache_on_a_disk_is_not_refused(path: str) -> None:
    refuse_network(path, TABLE)


def test_what_is_on_the_network_and_what_is_not() -> None:
    for kind in (
        "nfs",
        "nfs4",
        "cifs",
        "9p",
        "ceph",
        "lustre",
        "fuse",
        "fuse.pictofs",
        "fuse.gcsfuse",
        "virtiofs",
    ):
        assert is_network(kind), kind
    for kind in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "fuseblk", ""):
        assert not is_network(kind), kind


def test_a_path_that_does_not_exist_is_judged_by_what_is_above_it(tmp_path: Path) -> None:
    assert kind_of_file_system(str(tmp_path / "a" / "b")) == kind_of_file_system(str(tmp_path)) != ""
    assert default_limits(str(tmp_path / "a" / "b")) == default_limits(str(tmp_path))


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")
    assert kind_of_file_system(str(tmp_path / "link" / "x")) == "proc"


def test_a_cache_takes_a_fifth_of_its_disk_but_no_more_than_fifty_gibibytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs(tmp_path)
    total = status.f_blocks * status.f_frsize
    assert default_limits(str(tmp_path)) == (min(total // 5, 50 << 30), total // 20)

    class Huge:
        f_blocks, f_frsize = 1 << 30, 4096

    monkeypatch.setattr(os, "statvfs", lambda path: Huge)
    assert default_limits("/") == (50 << 30, (4 << 40) // 20)
