"""Blocks by the batch: all of them, or none and no trace."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest

from pictofs.store import Store, disk
from tests.unit.store.test_store import body, files, opened, put


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = opened(tmp_path, limit_bytes=1_000_000)
    yield made
    made.close()


def batch(*nodes: int, size_bytes: int = 6000) -> list[tuple[int, int, bytes, int]]:
    raws = [(node, body(node, size_bytes)) for node in nodes]
    return [(node, 0, raw, google_crc32c.value(raw)) for node, raw in raws]


def test_many_are_stored_as_each_would_be(store: Store, tmp_path: Path) -> None:
    paths = store.put_many(batch(16, 272, 528))
    assert paths is not None
    assert files(tmp_path) == sorted(paths)
    assert [store.path(node, 0) for node in (16, 272, 528)] == paths
    assert store.read(272, 0) == body(272)
    assert store.bytes == 18_000
    store.close()
    again = opened(tmp_path)
    assert (again.bytes, again.read(528, 0)) == (18_000, body(528))
    again.close()


def test_what_was_there_before_is_replaced_and_counted_once(store: Store, tmp_path: Path) -> None:
    put(store, 16, size_bytes=9000)
    paths = store.put_many(batch(16, 272))
    assert paths is not None
    assert store.bytes == 12_000
    assert files(tmp_path) == sorted(paths)


def test_many_that_do_not_all_fit_are_left_to_the_caller(store: Store, tmp_path: Path) -> None:
    assert store.put_many(batch(16, 272, size_bytes=600_000)) is None
    assert (store.bytes, files(tmp_path)) == (0, [])


def test_a_disk_that_fails_in_the_middle_leaves_nothing_of_the_batch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = put(store, 784)
    written, write = [], disk.os.write

    def failing(handle: int, data: bytes) -> int:
        written.append(len(data))
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "no space")
        return write(handle, data)

    with monkeypatch.context() as patched:
        patched.setattr(disk.os, "write", failing)
        assert store.put_many(batch(16, 272, 528)) is None
    assert files(tmp_path) == [before]
    assert store.bytes == 6000
    assert store.put_many(batch(16, 272, 528)) is not None
    assert store.bytes == 24_000


def written(folder: Path, *nodes: int, size_bytes: int = 6000) -> list[tuple[int, int, str, int, int]]:
    """Files beside the store, as a transfer leaves them."""
    found = []
    for node, block, raw, crc32c in batch(*nodes, size_bytes=size_bytes):
        path = folder / f"arrived.{node}"
        path.write_bytes(raw)
        found.append((node, block, str(path), len(raw), crc32c))
    return found


def test_files_are_taken_over_as_if_they_had_been_stored(store: Store, tmp_path: Path) -> None:
    paths = store.adopt_many(written(tmp_path, 16, 272, 528))
    assert paths is not None
    assert files(tmp_path) == sorted(paths)
    assert not list(tmp_path.glob("arrived.*"))
    assert [store.path(node, 0) for node in (16, 272, 528)] == paths
    assert store.verify(272, 0, google_crc32c.value(body(272)))
    store.close()
    again = opened(tmp_path)
    assert (again.bytes, again.read(528, 0)) == (18_000, body(528))
    assert again.drop(16, 0) == 6000
    assert put(again, 16, size_bytes=9000)
    assert again.bytes == 21_000
    again.close()


def test_files_that_do_not_fit_or_are_here_already_stay_where_they_are(store: Store, tmp_path: Path) -> None:
    assert store.adopt_many(written(tmp_path, 16, size_bytes=1_200_000)) is None
    before = put(store, 272)
    assert store.adopt_many(written(tmp_path, 528, 272)) is None
    assert sorted(path.name for path in tmp_path.glob("arrived.*")) == [
        "arrived.16", "arrived.272", "arrived.528"
    ]  # fmt: skip
    assert (files(tmp_path), store.bytes) == ([before], 6000)


def test_a_file_that_is_missing_leaves_the_others_where_they_are(store: Store, tmp_path: Path) -> None:
    given = written(tmp_path, 16, 272)
    Path(given[1][2]).unlink()
    assert store.adopt_many(given) is None
    assert (files(tmp_path), store.bytes) == ([], 0)
    assert Path(given[0][2]).read_bytes() == body(16)
    assert store.adopt_many(given[:1]) is not None
