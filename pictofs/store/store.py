"""Blocks in diskcache: put, read, verify, drop, within a size and a minimum of free space.

diskcache keeps the table of entries and the files; eviction is ours (`eviction_policy='none'`,
`cull_limit=0`: its default of ten can evict the item just stored). It does not fsync, so what was written
before a crash of the machine may be short: whoever opens a block first after a boot asks `verify`.

Open, use and close a store in one thread: diskcache has a connection for every thread, and closes only the
caller's. What it does not offer (the name of an entry's file, its size) is read from its table, in `_table`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import diskcache
import google_crc32c
from diskcache.core import MODE_BINARY

from pictofs.errors import CacheFull, CacheUnusable
from pictofs.store.disk import BlockDisk, Body, Written, key_of, parse_key, parse_name
from pictofs.store.eviction import POLICIES

log = logging.getLogger(__name__)
FOLDER = "store"
_TABLE = "cache.db"
_FAILURES = (OSError, sqlite3.Error, diskcache.Timeout)
_SWEEP_ROWS = 1000
_CHUNK_BYTES = 1 << 20
# As diskcache enters a file, without its five statements for each (0.02 ms of CPU instead of 0.1).
_ENTER = (
    "INSERT INTO Cache (key, raw, store_time, access_time, access_count, tag, size, mode, filename) "
    "VALUES (?, 1, ?, ?, 0, ?, ?, ?, ?)"
)


class Store:
    """The blocks of one cache directory.

    `directory` is the cache directory: paths are relative to it and begin with `store/`. `limit_bytes` bounds
    the sum of all blocks; with less than `min_free_bytes` left on the disk nothing is stored either.
    `eviction` names the policy for who asks; `free_bytes` tells the free space.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        limit_bytes: int,
        min_free_bytes: int,
        eviction: str = "epoch",
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        if eviction not in POLICIES:
            raise ValueError(f"no eviction policy {eviction!r}")
        self.directory = os.fspath(directory)
        self.limit_bytes = limit_bytes
        self.min_free_bytes = min_free_bytes
        self.eviction = eviction
        self.bytes = 0
        self.failures = 0
        self._folder = os.path.join(self.directory, FOLDER)
        self._free_bytes = free_bytes or self._disk_free_bytes
        self._cache: diskcache.Cache | None = None
        self._failing = False
        self._opened = False

    def open(self) -> None:
        """Opens or begins the store, without a scan. CacheUnusable when the folder cannot be used.

        A damaged table is begun anew: the files it knew are swept later, and fetched again when wanted. On a
        disk without any room everything is a miss until there is some.
        """
        self._opened = True
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            try:
                self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # busy, full or not writable: no damage
                self._set_table_aside()
                self._connect()
        except _FAILURES as error:
            if _is_full(error):
                self._failed(error)
                return
            self._opened = False
            raise CacheUnusable(
                f"the store in cache_dir {self.directory} cannot be opened ({error}): "
                "see whether it can be written"
            ) from error

    def close(self) -> None:
        """Closes the table; idempotent."""
        self._opened = False
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def put(self, node: int, block: int, body: Body, crc32c: int) -> str | None:
        """Stores a block and returns its path relative to the cache directory.

        `crc32c` is of the body, which the caller has checked. CacheFull when room must be made first. None
        when the disk failed: that is logged once until it works again, and the block is simply not here.
        """
        need_bytes = self.short_bytes(len(body))
        if need_bytes > 0:
            raise CacheFull(f"no room for {len(body)} bytes in {self._folder}", need_bytes=need_bytes)
        return self._set(node, block, body, len(body), crc32c)

    def take(self, node: int, block: int, path: str, size_bytes: int, crc32c: int) -> str | None:
        """As `put`, of a file on the store's file system, which becomes the store's own.

        What it replaces may be dropped after it, so the room for both is the caller's to look for. None
        leaves the file where it was, or nowhere.
        """
        return self._set(node, block, Written(path, size_bytes), size_bytes, crc32c)

    def _set(
        self, node: int, block: int, body: Body | Written, size_bytes: int, crc32c: int
    ) -> str | None:
        key, name = key_of(node, block), ""
        try:
            cache = self._open()
            _, replaced_bytes = self._entry(key)
            cache.disk.last = ""
            try:
                cache.set(key, body, tag=crc32c)
            finally:
                name = cache.disk.last
        except _FAILURES as error:
            self._failed(error, name)
            return None
        self._failing = False
        self.bytes += size_bytes - replaced_bytes
        return f"{FOLDER}/{name}"

    def put_many(self, blocks: Sequence[tuple[int, int, Body, int]]) -> list[str] | None:
        """Stores (node, block, body, crc32c) as `put` does, in one transaction: a third of the cost.

        The paths in order; None when there is no room for all of them, or the disk failed: then none of them
        is stored, and each may be put by itself. A node and block must not come twice.
        """
        size_bytes = sum(len(body) for _, _, body, _ in blocks)
        if self.short_bytes(size_bytes) > 0:
            return None
        names: list[str] = []
        try:
            cache = self._open()
            with cache.transact():
                keys = [key_of(node, block) for node, block, _, _ in blocks]
                marks = ",".join("?" * len(keys))
                sql = f"SELECT ifnull(sum(size), 0) FROM Cache WHERE raw = 1 AND key IN ({marks})"
                replaced_bytes = int(self._table(sql, *keys)[0][0])
                for key, (_, _, body, crc32c) in zip(keys, blocks, strict=True):
                    cache.disk.last = ""
                    try:
                        cache.set(key, body, tag=crc32c)
                    finally:
                        names.append(cache.disk.last)
        except _FAILURES as error:
            self._failed(error)
            for name in filter(None, names):
                try:
                    os.unlink(os.path.join(self._folder, name))
                except OSError:
                    continue  # it never came to be
            return None
        self._failing = False
        self.bytes += size_bytes - replaced_bytes
        return [f"{FOLDER}/{name}" for name in names]

    def adopt_many(self, blocks: Sequence[tuple[int, int, str, int, int]]) -> list[str] | None:
        """Takes over the files of (node, block, path, bytes, crc32c) by rename, entered by one statement.

        The paths in order, as of `put_many`. None when there is no room for all of them, one has an entry
        already, or the disk failed: then the files are where they were.
        """
        size_bytes = sum(block[3] for block in blocks)
        if self.short_bytes(size_bytes) > 0:
            return None
        keys = [key_of(node, block) for node, block, *_ in blocks]
        moved: list[tuple[str, str]] = []
        try:
            cache = self._open()
            now_s = time.time()
            with cache.transact():
                marks = ",".join("?" * len(keys))
                if self._table(f"SELECT 1 FROM Cache WHERE raw = 1 AND key IN ({marks}) LIMIT 1", *keys):
                    return None
                rows = []
                for key, (node, block, path, length, crc32c) in zip(keys, blocks, strict=True):
                    name = cache.disk.adopt(path, node, block)
                    moved.append((name, path))
                    rows.append((key, now_s, now_s, crc32c, length, MODE_BINARY, name))
                cache._con.executemany(_ENTER, rows)
        except _FAILURES as error:
            for name, path in moved:
                with contextlib.suppress(OSError):
                    os.replace(os.path.join(self._folder, name), path)
            self._failed(error)
            return None
        self._failing = False
        self.bytes += size_bytes
        return [f"{FOLDER}/{name}" for name, _ in moved]

    def read(self, node: int, block: int) -> bytes | None:
        """The block's bytes, unchecked; None when it is not here."""
        path = self.path(node, block)
        if path is None:
            return None
        try:
            with open(os.path.join(self.directory, path), "rb") as file:
                return file.read()
        except OSError:
            return None

    def verify(self, node: int, block: int, crc32c: int) -> bool:
        """Whether the block is here and its bytes have this checksum."""
        path = self.path(node, block)
        if path is None:
            return False
        found = 0
        try:
            with open(os.path.join(self.directory, path), "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    found = google_crc32c.extend(found, chunk)
        except OSError:
            return False
        return found == crc32c

    def path(self, node: int, block: int) -> str | None:
        """The block's path relative to the cache directory; None when it is not here."""
        try:
            name, _ = self._entry(key_of(node, block))
        except _FAILURES as error:
            self._failed(error)
            return None
        return f"{FOLDER}/{name}" if name else None

    def drop(self, node: int, block: int) -> int:
        """Removes a block; returns the bytes that this freed. Whoever has it open reads on.

        Where the disk is too full even to note that, the file goes all the same and a sweep notes it later.
        """
        key, name, size_bytes = key_of(node, block), "", 0
        try:
            name, size_bytes = self._entry(key)
            self._open().delete(key)
        except _FAILURES as error:
            self._failed(error, name)
        self.bytes -= size_bytes
        return size_bytes

    def free_bytes(self) -> int:
        """What the disk has left, whatever the limits say."""
        return self._free_bytes()

    def short_bytes(self, size_bytes: int) -> int:
        """How many bytes must go before `size_bytes` fit; 0 or less: they fit."""
        over_limit = self.bytes + size_bytes - self.limit_bytes
        return max(over_limit, self.min_free_bytes + size_bytes - self._free_bytes())

    def make_room(self, size_bytes: int, blocks: Iterable[tuple[int, int]]) -> bool:
        """Drops these blocks, in order, until `size_bytes` fit; whether they do.

        The catalog must have forgotten them before, so that nobody is sent to a file that is gone.
        """
        for node, block in blocks:
            if self.short_bytes(size_bytes) <= 0:
                break
            self.drop(node, block)
        return self.short_bytes(size_bytes) <= 0

    def sweep(self, known: Callable[[int, int], bool]) -> Iterator[int]:
        """Removes what nobody would ever read: files no entry has, entries without a file or not `known`.

        A step looks at one folder or at a thousand entries and yields the bytes it freed, so that the caller
        can do something urgent in between. For rare runs in the background; ends early when the disk fails.
        """
        try:
            yield from self._sweep_entries(known)
            with os.scandir(self._folder) as folders:
                names = sorted(entry.name for entry in folders if entry.is_dir(follow_symlinks=False))
            for name in names:
                yield self._sweep_folder(name)
        except _FAILURES as error:
            self._failed(error)

    def _connect(self) -> None:
        self._cache = diskcache.Cache(
            self._folder,
            disk=BlockDisk,
            eviction_policy="none",
            cull_limit=0,
            disk_min_file_size=0,
            statistics=0,
            sqlite_mmap_size=0,  # a disk that is full or broken must be an error, not SIGBUS
        )
        self.bytes = int(self._cache.reset("size"))

    def _set_table_aside(self) -> None:
        table = os.path.join(self._folder, _TABLE)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(table + suffix):
                os.replace(table + suffix, f"{table}.damaged{suffix}")
        log.warning("the table of the store %s was damaged: it is begun anew", self._folder)

    def _open(self) -> diskcache.Cache:
        if not self._opened:
            raise CacheUnusable(f"the store in cache_dir {self.directory} is not open")
        if self._cache is None:
            self._connect()
        return self._cache

    def _table(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._open()._sql(sql, parameters).fetchall()
        return rows

    def _entry(self, key: str) -> tuple[str, int]:
        """(name of the file, its size) of an entry; ("", 0) when there is none."""
        rows = self._table("SELECT filename, size FROM Cache WHERE key = ? AND raw = 1", key)
        return (rows[0][0], rows[0][1]) if rows else ("", 0)

    def _failed(self, error: Exception, name: str = "") -> None:
        """A miss, no more: leaves no file and no open transaction behind, and says so once."""
        self.failures += 1
        if name:
            try:
                os.unlink(os.path.join(self._folder, name))
            except OSError:
                pass  # it is gone, or never came to be
        # A COMMIT that fails leaves diskcache within its transaction: the next use connects anew.
        if self._cache is not None:
            self._cache.close()
        if not self._failing:
            self._failing = True
            log.error("the store %s fails, bytes pass it by until it works again: %s", self._folder, error)

    def _sweep_entries(self, known: Callable[[int, int], bool]) -> Iterator[int]:
        after = 0
        sql = "SELECT rowid, key, filename FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?"
        while rows := self._table(sql, after, _SWEEP_ROWS):
            freed_bytes = 0
            for _, key, name in rows:
                node, block = parse_key(key)
                if not known(node, block) or not os.path.exists(os.path.join(self._folder, name)):
                    freed_bytes += self.drop(node, block)
            after = rows[-1][0]
            yield freed_bytes

    def _sweep_folder(self, folder: str) -> int:
        freed_bytes = 0
        path = os.path.join(self._folder, folder)
        try:
            files = list(os.scandir(path))
        except FileNotFoundError:
            return 0  # its last block went meanwhile
        for entry in files:
            named = parse_name(entry.name)
            if named is not None and self._entry(key_of(*named))[0] == f"{folder}/{entry.name}":
                continue
            try:
                size_bytes = entry.stat(follow_symlinks=False).st_size
                os.unlink(entry.path)
                freed_bytes += size_bytes
            except OSError:
                continue  # gone already, or no file
        try:
            os.rmdir(path)
        except OSError:
            pass  # something is in it, as there should be
        return freed_bytes

    def _disk_free_bytes(self) -> int:
        try:
            status = os.statvfs(self._folder)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(error)
