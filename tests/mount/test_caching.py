"""`pictofs cache` on a live mount, and on a cache directory that nobody has mounted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pictofs.catalog import CatalogReader
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount.conftest import Make, Mount, pictofs

pytestmark = pytest.mark.mount
DATASET = "Street Scenes"
IMAGES = 12


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    running = start(EmulatorSettings(generate=IMAGES))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def mount(emulator: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(emulator, "prefetch=off").mounted()


def images(mount: Mount) -> list[Path]:
    return sorted(path for path in (mount.root / DATASET / "images").rglob("*") if path.is_file())


def blocks(mount: Mount) -> dict[bytes, Path]:
    """The files of the store by what is in them."""
    reader = CatalogReader.open(mount.cache / "catalog.sqlite")
    try:
        paths = [mount.cache / kept.path for kept in reader.kept()]
    finally:
        reader.close()
    return {path.read_bytes(): path for path in paths}


def asked(*words: str | Path, code: int = 0) -> Any:
    ran = pictofs("cache", *words, "--json")
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout)


def test_verify_drops_a_block_that_the_disk_has_damaged_and_the_next_read_is_right(mount: Mount) -> None:
    image, other = images(mount)[:2]
    right = image.read_bytes()
    other.read_bytes()
    blocks(mount)[right].write_bytes(right[:-9] + b"\0" * 9)
    where = f"cache_dir={mount.cache}"
    report = asked("verify", "-o", where, code=1)
    relative = str(image.relative_to(mount.root))
    assert report["damaged"] == [{"path": relative, "block": 0, "bytes": len(right)}]
    assert report["blocks"] >= 2
    assert image.read_bytes() == right
    assert asked("verify", "-o", where)["damaged"] == []
    assert asked("prune", "-o", where) == {
        "dir": str(mount.cache), "blocks": 0, "bytes": 0, "rows": 0, "swept": 0, "evicted": 0
    }  # fmt: skip


def test_what_was_read_of_a_damaged_block_is_read_anew_after_verify(mount: Mount) -> None:
    image = images(mount)[3]
    right = image.read_bytes()
    wrong = b"\0" * len(right)
    blocks(mount)[right].write_bytes(wrong)
    handle = os.open(image, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)  # what the kernel read before the damage
    finally:
        os.close(handle)
    assert image.read_bytes() == wrong, "a disk that lies is believed until somebody looks"
    said = pictofs("cache", "verify", DATASET, "-o", f"cache_dir={mount.cache}")
    assert said.returncode == 1
    assert "was damaged and is dropped" in said.stderr

    assert image.read_bytes() == right


def test_info_says_what_each_dataset_takes_and_clear_takes_it(mount: Mount) -> None:
    for image in images(mount)[:5]:
        image.read_bytes()
    where = f"cache_dir={mount.cache}"
    (info,) = (found for found in asked("info") if found["dir"] == str(mount.cache))
    (row,) = (row for row in info["datasets"] if row["name"] == DATASET)
    assert info["mountpoints"] == [str(mount.mountpoint)]
    assert info["fetching"] == mount.status()["pids"]["fetching"]
    assert (info["bytes"], row["cached"] >= 5) == (row["bytes"], True)
    assert DATASET in pictofs("cache", "info").stdout
    refused = pictofs("cache", "clear", DATASET, "-o", where)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert asked("clear", DATASET, "--yes", "-o", where) == {
        "dir": str(mount.cache), "blocks": row["blocks"], "bytes": row["bytes"], "pinned": 0
    }  # fmt: skip
    assert asked("info", "-o", where)[0]["bytes"] == 0
    assert blocks(mount) == {}
    assert images(mount)[0].read_bytes()


def test_without_a_mount_one_works_on_the_directory_by_a_process_for_the_while(
    emulator: Running, mounts: Make
) -> None:
    made = mounts(emulator, "prefetch=off").mounted()
    image = images(made)[0]
    right = image.read_bytes()
    damaged = blocks(made)[right]
    assert made.umount().returncode == 0
    damaged.write_bytes(b"x")
    where = f"cache_dir={made.cache}"
    ran = pictofs("cache", "verify", "-o", where)
    assert (ran.returncode, "1 were damaged" in ran.stdout) == (1, True)
    assert "INFO" not in ran.stderr, "what the process logs is not for the terminal"
    assert not (made.cache / "fetch.sock").exists()
    image = images(made.mounted())[0]
    assert image.read_bytes() == right


def test_a_dataset_or_a_directory_that_is_none_is_one_line(mount: Mount, tmp_path: Path) -> None:
    ran = pictofs("cache", "clear", "Nothing", "--yes", "-o", f"cache_dir={mount.cache}")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "knows no dataset Nothing" in ran.stderr
    ran = pictofs("cache", "verify", "-o", f"cache_dir={tmp_path / 'none'}")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "none").exists()
