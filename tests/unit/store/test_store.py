"""The store: blocks in and out, limits, disks that fail, kills, and what is swept."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest

from pictofs.catalog.columns import pack_path
from pictofs.catalog.model import Kind, node_id
from pictofs.errors import CacheFull, CacheUnusable
from pictofs.store import Store, disk

NODE = node_id(70_000, Kind.IMAGE)


def body(number: int, size_bytes: int = 6000) -> bytes:
    """Bytes that tell whose they are."""
    return (f"block {number} " * (size_bytes // 8)).encode()[:size_bytes]


def opened(folder: Path, **options: object) -> Store:
    values: dict[str, object] = {"limit_bytes": 1 << 30, "min_free_bytes": 0, "free_bytes": lambda: 1 << 40}
    store = Store(folder, **{**values, **options})  # type: ignore[arg-type]
    store.open()
    return store


def put(store: Store, node: int, block: int = 0, size_bytes: int = 6000) -> str | None:
    raw = body(node, size_bytes)
    return store.put(node, block, raw, google_crc32c.value(raw))


def files(folder: Path) -> list[str]:
    """The blocks' files, as paths relative to the cache directory."""
    found = (path for path in (folder / "store").rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found if not path.name.startswith("cache.db"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = opened(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_block_is_a_file_under_the_path_that_put_returns(store: Store, tmp_path: Path, kind: type) -> None:
    raw = body(1)
    path = store.put(NODE, 3, kind(raw), google_crc32c.value(raw))
    assert path is not None
    assert path.startswith("store/")
    assert (tmp_path / path).read_bytes() == raw
    assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o600
    assert store.path(NODE, 3) == path
    assert store.read(NODE, 3) == raw
    assert store.bytes == len(raw)
    assert len(pack_path(NODE, 3, path)) == 4, "the catalog knows how to abbreviate it"


def test_what_is_not_here_is_a_miss(store: Store) -> None:
    assert store.path(NODE, 0) is None
    assert store.read(NODE, 0) is None
    assert store.verify(NODE, 0, 0) is False
    assert store.drop(NODE, 0) == 0


def test_an_empty_block_is_a_block(store: Store, tmp_path: Path) -> None:
    path = store.put(NODE, 0, b"", 0)
    assert path is not None
    assert (tmp_path / path).read_bytes() == b""
    assert store.verify(NODE, 0, 0)


def test_the_store_is_as_it_was_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    paths = [put(first, NODE + (n << 8)) for n in range(5)]
    first.close()
    second = opened(tmp_path)
    assert second.bytes == 5 * 6000
    assert [second.path(NODE + (n << 8), 0) for n in range(5)] == paths
    second.close()


def test_putting_a_block_again_gives_it_another_file_and_removes_the_old_one(
    store: Store, tmp_path: Path
) -> None:
    old = put(store, NODE, 0, 6000)
    new = put(store, NODE, 0, 500)
    assert old != new
    assert files(tmp_path) == [new]
    assert store.bytes == 500


def test_a_dropped_block_is_read_on_by_whoever_has_it_open(store: Store, tmp_path: Path) -> None:
    path = put(store, NODE)
    assert path is not None
    with (tmp_path / path).open("rb") as file:
        assert store.drop(NODE, 0) == 6000
        assert file.read() == body(NODE)
    assert files(tmp_path) == []
    assert store.bytes == 0


def test_verify_tells_harm_from_health(store: Store, tmp_path: Path) -> None:
    path = put(store, NODE)
    assert path is not None
    crc32c = google_crc32c.value(body(NODE))
    assert store.verify(NODE, 0, crc32c)
    os.truncate(tmp_path / path, 100)
    assert not store.verify(NODE, 0, crc32c)
    (tmp_path / path).unlink()
    assert not store.verify(NODE, 0, crc32c)


def test_nothing_is_stored_beyond_the_limit_and_nothing_evicted_on_its_own(tmp_path: Path) -> None:
    store = opened(tmp_path, limit_bytes=20_000)
    for number in range(3):
        assert put(store, NODE + (number << 8))
    with pytest.raises(CacheFull) as caught:
        put(store, NODE + (9 << 8))
    assert caught.value.need_bytes == 4000
    assert len(files(tmp_path)) == 3, (
        "diskcache has its own mind about items that are large next to its limit"
    )
    assert store.make_room(6000, [(NODE, 0), (NODE + 256, 0)])
    assert store.bytes == 12_000, "no more than was needed"
    assert put(store, NODE + (9 << 8))
    store.close()


def test_a_limit_of_one_block_still_stores_one(tmp_path: Path) -> None:
    store = opened(tmp_path, limit_bytes=8 << 20)
    path = put(store, NODE, 0, 8 << 20)
    assert path is not None
    assert (tmp_path / path).stat().st_size == 8 << 20
    store.close()


def test_the_free_space_of_the_disk_is_a_limit_too(tmp_path: Path) -> None:
    free = [100_000]
    store = opened(tmp_path, min_free_bytes=95_000, free_bytes=lambda: free[0])
    with pytest.raises(CacheFull) as caught:
        put(store, NODE)
    assert caught.value.need_bytes == 1000
    free[0] = 101_000
    assert put(store, NODE)
    free[0] = 50_000
    assert store.short_bytes(0) == 45_000
    assert not store.make_room(6000, [(NODE, 0)]), "what others put on the disk is not ours to remove"
    store.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_is_a_miss_that_is_logged_once_and_leaves_no_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    put(store, NODE)
    real = os.write

    def full(handle: int, data: bytes) -> int:
        real(handle, bytes(data[:1000]))
        raise OSError(code, os.strerror(code))

    with caplog.at_level(logging.ERROR):
        with monkeypatch.context() as patched:
            patched.setattr(disk.os, "write", full)
            assert put(store, NODE + 256) is None
            assert put(store, NODE) is None
        assert len(caplog.records) == 1
        assert os.strerror(code) in caplog.text
        assert len(files(tmp_path)) == 1
        assert store.read(NODE, 0) == body(NODE), "what was there is there"
        assert store.bytes == 6000
        assert put(store, NODE + 256)
        with monkeypatch.context() as patched:
            patched.setattr(disk.os, "write", full)
            assert put(store, NODE + 512) is None
        assert len(caplog.records) == 2, "it had worked in between"
    assert store.failures == 3


def test_a_table_that_cannot_grow_is_a_miss_and_the_store_goes_on(store: Store, tmp_path: Path) -> None:
    put(store, NODE)
    store._table("PRAGMA max_page_count = 12")
    stored = 0
    for number in range(1, 2000):
        if put(store, NODE + (number << 8), 0, 10) is None:
            break
        stored += 1
    assert 0 < stored < 1999
    assert len(files(tmp_path)) == stored + 1
    assert put(store, NODE + (5000 << 8)), "the next use connects anew, without that limit"
    assert store.read(NODE, 0) == body(NODE)


def test_a_file_system_that_is_really_full_harms_nothing(tmp_path: Path) -> None:
    mounted = tmp_path / "tiny"
    mounted.mkdir()
    if os.geteuid() != 0 or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", mounted], capture_output=True, timeout=10
    ).returncode:  # fmt: skip
        pytest.skip("NOT TESTED, needs root to mount a small tmpfs")
    try:
        store = opened(mounted)
        stored = {}
        for number in range(300):
            path = put(store, NODE + (number << 8), 0, 20_000)
            if path is not None:
                stored[number] = path
        assert 20 < len(stored) < 100
        assert store.failures == 300 - len(stored)
        for number, path in stored.items():
            assert (mounted / path).read_bytes() == body(NODE + (number << 8), 20_000)
        assert len(files(mounted)) == len(stored)
        store.close()
        again = opened(mounted)  # opening writes, and there is no room: everything is a miss meanwhile
        assert put(again, NODE, 0, 20_000) is None
        for number in sorted(stored)[:20]:
            os.unlink(mounted / stored[number])
        assert again.read(NODE + (max(stored) << 8), 0) == body(NODE + (max(stored) << 8), 20_000)
        for number in sorted(stored)[20:25]:
            assert again.drop(NODE + (number << 8), 0) == 20_000
        assert put(again, NODE + (999 << 8), 0, 20_000)
        assert again.bytes == 20_000 * (len(stored) - 4)
        sum(again.sweep(lambda node, block: True))
        assert again.bytes == 20_000 * (len(stored) - 24)
        again.close()
    finally:
        subprocess.run(["umount", "-l", mounted], check=True, timeout=10)


PUTTER = """
    import os, signal, sys
    import google_crc32c
    from pictofs.catalog import Catalog
    from pictofs.catalog.model import BlockRow
    from pictofs.store import Store, disk
    from tests.unit.store.test_store import body

    folder, die_at = sys.argv[1], int(sys.argv[2])
    catalog = Catalog.open(folder + "/catalog.sqlite")
    store = Store(folder, limit_bytes=1 << 40, min_free_bytes=0)
    store.open()
    write = disk._write_all
    written = 0

    def write_and_die(handle, data):
        global written
        written += 1
        if written == die_at:
            os.write(handle, bytes(data)[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
        write(handle, data)
        if written == -die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    disk._write_all = write_and_die
    for number in range(1, 100000):
        node = number << 8 | 16
        raw = body(node)
        path = store.put(node, 0, raw, google_crc32c.value(raw))
        catalog.put_block(BlockRow(node, 0, path, len(raw), 0, 1))
        print(number, flush=True)
"""


def putter(folder: Path, die_at: int = 0) -> subprocess.Popen[str]:
    """A process that fills store and catalog; it kills itself in write `die_at`, or after it (negative)."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PUTTER), str(folder), str(die_at)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.parametrize("die_at", [7, -7])
def test_a_kill_within_a_put_leaves_a_file_that_the_next_sweep_removes(tmp_path: Path, die_at: int) -> None:
    process = putter(tmp_path, die_at)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    store = opened(tmp_path)
    assert len(files(tmp_path)) == 7
    assert store.bytes == 6 * 6000
    freed = sum(store.sweep(lambda node, block: True))
    assert freed == (1000 if die_at > 0 else 6000)
    assert files(tmp_path) == sorted(str(store.path(n << 8 | 16, 0)) for n in range(1, 7))
    assert sum(store.sweep(lambda node, block: True)) == 0
    store.close()


def test_a_path_in_the_catalog_leads_to_a_whole_block_however_the_writer_dies(tmp_path: Path) -> None:
    from pictofs.catalog import CatalogReader

    process = putter(tmp_path)
    checked = 0
    try:
        assert process.stdout is not None
        process.stdout.readline()
        reader = CatalogReader.open(tmp_path / "catalog.sqlite")
        while checked < 300:
            node = (checked + 1) << 8 | 16
            row = reader.block(node, 0)
            if row is None:
                assert process.stdout.readline(), "the writer goes on"
                continue
            assert (tmp_path / row.path).read_bytes() == body(node)
            checked += 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    node = 1 << 8 | 16
    while row := reader.block(node, 0):
        assert (tmp_path / row.path).read_bytes() == body(node)
        node += 1 << 8
    reader.close()


def test_a_sweep_removes_strangers_and_what_the_catalog_does_not_know(store: Store, tmp_path: Path) -> None:
    kept, unknown, lost = NODE, NODE + 256, NODE + 512
    paths = {node: put(store, node) for node in (kept, unknown, lost)}
    (tmp_path / str(paths[lost])).unlink()
    folder = (tmp_path / str(paths[kept])).parent
    (folder / "stranger").write_bytes(b"x" * 100)
    (folder / f"{kept:x}.0.00000000").write_bytes(b"y" * 50)
    (tmp_path / "store" / "ab" / "cd").mkdir(parents=True)
    steps = list(store.sweep(lambda node, block: node != unknown))
    assert sum(steps) == 6000 + 6000 + 150
    assert len(steps) >= 3, "the caller can do something else in between"
    assert files(tmp_path) == [paths[kept]]
    assert store.bytes == 6000
    assert store.read(kept, 0) == body(kept)


def test_a_sweep_that_cannot_read_its_table_removes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, NODE)

    real = store._table
    for fails_at in (0, 1):
        calls = iter(range(100))

        def failing(
            sql: str, *parameters: object, calls: Iterator[int] = calls, at: int = fails_at
        ) -> list[tuple[object, ...]]:
            if next(calls) >= at:
                raise sqlite3.OperationalError("disk I/O error")
            return real(sql, *parameters)

        monkeypatch.setattr(store, "_table", failing)
        assert sum(store.sweep(lambda node, block: True)) == 0
        monkeypatch.undo()
    assert store.read(NODE, 0) == body(NODE)


def test_a_damaged_table_is_begun_anew_and_what_it_knew_is_swept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(tmp_path)
    put(first, NODE)
    first.close()
    (tmp_path / "store" / "cache.db").write_bytes(b"no database" * 1000)
    with caplog.at_level(logging.WARNING):
        second = opened(tmp_path)
    assert len(caplog.records) == 1
    assert second.read(NODE, 0) is None
    assert sum(second.sweep(lambda node, block: True)) == 6000
    assert put(second, NODE)
    second.close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"in the way")
    with pytest.raises(CacheUnusable, match="cache_dir"):
        opened(tmp_path)
    with pytest.raises(CacheUnusable, match="not open"):
        Store(tmp_path, limit_bytes=1, min_free_bytes=0, free_bytes=lambda: 9).put(NODE, 0, b"", 0)


def test_a_policy_must_be_one_of_the_three(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="newest"):
        Store(tmp_path, limit_bytes=1, min_free_bytes=0, eviction="newest")
