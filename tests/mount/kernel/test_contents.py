"""What is there: bytes, names, attributes, and that nothing can be written."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.served import Served
from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import entries
from tests.mounting import inode_listing, tree_of

pytestmark = pytest.mark.mount


def test_a_mount_shows_the_same_bytes_under_the_same_names(folder: Path, serve: Serve, io: str) -> None:
    mount = serve(folder, io=io).mountpoint
    assert tree_of(mount) == tree_of(folder)
    assert os.readlink(mount / "a" / "link") == os.readlink(folder / "a" / "link")
    assert (mount / "a" / "link").read_bytes() == b"long"


def test_stat_says_what_it_should_and_write_permission_is_gone(folder: Path, serve: Serve, io: str) -> None:
    mount = serve(folder, io=io).mountpoint
    for path in folder.rglob("*"):
        real, seen = path.lstat(), (mount / path.relative_to(folder)).lstat()
        for field in ("st_size", "st_mtime_ns", "st_ino", "st_nlink", "st_uid", "st_gid"):
            assert getattr(real, field) == getattr(seen, field), (path, field)
        assert seen.st_mode == real.st_mode & ~0o222
        assert seen.st_blocks == -(-real.st_size // 512)


def test_inode_numbers_are_the_same_after_a_remount(folder: Path, tmp_path: Path) -> None:
    with Served(folder, tmp_path / "mnt") as served:
        first = inode_listing(served.mountpoint)
    with Served(folder, tmp_path / "mnt") as served:
        assert inode_listing(served.mountpoint) == first


def test_dot_and_dotdot_carry_the_inode_numbers_of_their_directories(folder: Path, serve: Serve) -> None:
    mount = serve(folder).mountpoint
    rows = {name: ino for name, ino, _ in entries(mount / "a" / "b")}
    assert rows["."] == (mount / "a" / "b").stat().st_ino
    assert rows[".."] == (mount / "a").stat().st_ino


def test_every_write_is_refused_as_on_a_read_only_file_system(folder: Path, serve: Serve, io: str) -> None:
    mount = serve(folder, io=io).mountpoint
    file, directory = mount / "4096.bin", mount / "a"
    attempts: list[Callable[[], object]] = [
        lambda: os.open(file, os.O_WRONLY),
        lambda: os.open(file, os.O_RDWR),
        lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
        lambda: os.open(mount / "new", os.O_CREAT),
        lambda: os.truncate(file, 1),
        lambda: os.unlink(file),
        lambda: os.rmdir(mount / "empty"),
        lambda: os.mkdir(mount / "new"),
        lambda: os.rename(file, mount / "new"),
        lambda: os.chmod(file, 0o777),
        lambda: os.chown(file, 1, 1),
        lambda: os.utime(file),
        lambda: os.symlink("x", mount / "new"),
        lambda: os.link(file, mount / "new"),
        lambda: os.mkfifo(directory / "fifo"),
        lambda: os.setxattr(file, "user.x", b"1"),
        lambda: os.removexattr(file, "user.pictofs.name"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="Read-only"):
            attempt()
    assert not os.access(file, os.W_OK)


def test_extended_attributes_answer_size_probes_and_say_what_is_not(folder: Path, serve: Serve) -> None:
    mount = serve(folder).mountpoint
    file = mount / "4096.bin"
    assert os.listxattr(file) == ["user.pictofs.name"]
    assert os.getxattr(file, "user.pictofs.name") == b"as it is"
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.getxattr(os.fsencode(file), b"user.pictofs.name", None, 0) == 8
    assert libc.getxattr(os.fsencode(file), b"user.pictofs.name", ctypes.create_string_buffer(3), 3) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert libc.listxattr(os.fsencode(file), None, 0) == len("user.pictofs.name") + 1
    for name, number in (("user.none", errno.ENODATA), ("system.posix_acl_access", errno.EOPNOTSUPP)):
        with pytest.raises(OSError, match=os.strerror(number)):
            os.getxattr(file, name)


def test_df_sees_a_full_file_system(folder: Path, serve: Serve) -> None:
    said = os.statvfs(serve(folder).mountpoint)
    assert (said.f_bsize, said.f_blocks, said.f_bfree, said.f_bavail) == (4096, 1000, 0, 0)
    assert said.f_namemax == 255


def test_a_name_that_is_not_utf_8_does_not_exist(folder: Path, serve: Serve) -> None:
    mount = serve(folder).mountpoint
    assert not os.path.exists(os.fsencode(mount) + b"/\xff\xfe")
