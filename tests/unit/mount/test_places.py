from __future__ import annotations

import os
from pathlib import Path

import pytest

from pictofs.drivers import mountinfo
from pictofs.errors import CacheUnusable
from pictofs.mount import places


def test_places_follow_xdg_and_the_machines_own_for_root() -> None:
    environ = {"XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": "/f", "XDG_STATE_HOME": "/s", "HOME": "/h"}
    assert places.cache_dir(environ, 1000) == Path("/c/pictofs")
    assert places.log_dir(environ, 1000) == Path("/s/pictofs")
    assert places.configuration_files(environ) == (
        Path("/f/pictofs/config.toml"),
        Path("/etc/pictofs/config.toml"),
    )
    assert places.cache_dir({"HOME": "/h"}, 1000) == Path("/h/.cache/pictofs")
    assert places.cache_dir(environ, 0) == Path("/var/cache/pictofs")
    assert places.log_dir(environ, 0) == Path("/var/log/pictofs")
    assert places.run_dir(environ, 0) == Path("/run/pictofs")


def test_without_home_the_user_database_tells() -> None:
    assert places.home({}).is_absolute()
    assert places.home({"HOME": "relative"}) == places.home({})


def test_two_mountpoints_never_share_a_name() -> None:
    assert places.name_of("/a/data") != places.name_of("/b/data")
    assert places.name_of("/a/data").startswith("data-")
    assert "/" not in places.name_of("/a/we ird/ /")
    assert len(os.fsencode(places.name_of("/" + "ü" * 200))) < 200


def test_a_cache_directory_is_made_for_this_user_alone(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    places.check_cache_dir(cache, "/mnt")
    assert cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(0o755)
    places.check_cache_dir(cache, "/mnt")
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_file_is_no_cache_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CacheUnusable, match=r"cache_dir .* cannot be used"):
        places.check_cache_dir(file, "/mnt")


def test_a_cache_inside_the_mount_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheUnusable, match="inside the mountpoint"):
        places.check_cache_dir(tmp_path / "mnt" / "cache", str(tmp_path / "mnt"))


def test_a_cache_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"90 1 0:52 / {tmp_path} rw - nfs4 server:/export rw\n".encode()
    monkeypatch.setattr(mountinfo, "table", lambda: mountinfo.parse(line))
    with pytest.raises(CacheUnusable, match=r"network file system \(nfs4\); name a local folder"):
        places.check_cache_dir(tmp_path / "cache", "/mnt")
