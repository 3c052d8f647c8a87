"""Listings: each name once, whatever happens in between."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import entries, libc, row_of

pytestmark = pytest.mark.mount


def test_rows_carry_type_and_inode_number(folder: Path, serve: Serve) -> None:
    mount = serve(folder).mountpoint
    for name, ino, kind in entries(mount / "a"):
        if name not in (".", ".."):
            status = (mount / "a" / name).lstat()
            assert (ino, kind) == (status.st_ino, stat.S_IFMT(status.st_mode) >> 12)


def test_telldir_and_seekdir_hold_while_the_listing_changes(folder: Path, serve: Serve) -> None:
    many = folder / "empty"
    for number in range(3000):
        (many / f"{number:05}").write_bytes(b"")
    served = serve(folder)
    c = libc()
    directory = c.opendir(os.fsencode(served.mountpoint / "empty"))
    before = [row_of(c, directory) for _ in range(1000)]
    place = c.telldir(directory)
    following = row_of(c, directory)
    for number in range(0, 3000, 7):
        (many / f"{number:05}").unlink()
    for number in range(500):
        (many / f"new-{number}").write_bytes(b"")
    served.ask("rescan")
    c.seekdir(directory, place)
    after = [row[0] for row in iter(lambda: row_of(c, directory), None)]
    c.closedir(directory)
    stayed = {f"{number:05}" for number in range(3000) if number % 7}
    seen = [row[0] for row in before if row is not None] + after
    assert following is not None
    assert [seen.count(name) for name in stayed] == [1] * len(stayed)
    assert len(set(seen)) == len(seen)


def test_a_directory_of_many_is_listed_once_each(folder: Path, serve: Serve) -> None:
    for number in range(5_000):
        (folder / "empty" / f"{number:05}.jpg").touch()
    mount = serve(folder).mountpoint
    for _ in range(3):
        assert sorted(os.listdir(mount / "empty")) == [f"{number:05}.jpg" for number in range(5_000)]
