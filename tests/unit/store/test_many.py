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
