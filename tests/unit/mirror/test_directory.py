"""The cache directory: whose it is, and who fetches for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pictofs.errors import CacheUnusable
from pictofs.mirror import directory


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    directory.prepare(str(path))
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o755)
    directory.prepare(str(path))
    assert path.stat().st_mode & 0o777 == 0o700


def test_another_user_s_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(CacheUnusable, match="cache_dir"):
        directory.prepare(str(tmp_path))


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheUnusable, match="cache_dir"):
        directory.prepare(str(tmp_path / "file" / "cache"))


def test_one_is_elected_until_it_lets_go(tmp_path: Path) -> None:
    first = directory.elect(str(tmp_path))
    assert first is not None
    assert directory.elect(str(tmp_path)) is None
    first.release()
    second = directory.elect(str(tmp_path))
    assert second is not None
    second.release()


def test_a_boot_has_a_name_of_its_own() -> None:
    assert directory.boot_id()
