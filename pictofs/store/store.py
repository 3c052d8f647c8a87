"""Blocks in diskcache: put, read, verify, drop, within a size and a minimum of free space.

diskcache keeps the table of entries and the files; eviction is ours (`eviction_policy='none'`, `cull_limit=0`: its
own default of ten can evict the item just stored). It does not fsync, so what was written before
a crash of the machine may be short: whoever opens a block for the first time after a boot asks `verify`.

Open, use and close a store in one thread: diskcache has a connection for every thread and closes only the caller's.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator

import diskcache
import google_crc32c

from pictofs.errors import CacheFull, CacheUnusable
from pictofs.store.disk import BlockDisk, Body, key_of, parse_key, parse_name
from pictofs.store.eviction import POLICIES, C, victims

log = logging.getLogger(__name__)
FOLDER = "store"
_FAILURES = (OSError, sqlite3.Error, diskcache.Timeout)
_SWEEP_ROWS = 1000


class Store:
    """The blocks of one cache directory.

    `directory` is the cache directory: paths are relative to it and begin with `store/`. `limit_bytes`
    bounds the sum of all blocks; below `min_free_bytes` of free space on the disk nothing is stored either.
    `free_bytes` tells the free space.
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

    def open(self) -> None:
        """Opens or begins the store, without a scan. CacheUnusable when the folder cannot be used.

        A damaged table is begun anew: the blocks it knew are swept later, and fetched again when wanted.
        """
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            try:
                self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_table_aside()
                self._connect()
        except _FAILURES as error:
            raise CacheUnusable(
                f"the store in cache_dir {self.directory} cannot be opened ({error}): see whether it is writable"
            ) from error

    def close(self) -> None:
        """Closes the table; idempotent."""
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def put(self, node: int, block: int, body: Body, crc32c: int) -> str | None:
        """Stores a block and returns its path relative to the cache directory.

        `crc32c` is of the body, which the caller has checked. CacheFull when room must be made first. None
        when the disk failed: that is logged once until it works again, and the block is simply not here.
        """
        cache = self._open()
        need_bytes = self.short_bytes(len(body))
        if need_bytes > 0:
            raise CacheFull(f"no room for {len(body)} bytes in {self._folder}", need_bytes=need_bytes)
        key = key_of(node, block)
        disk = cache.disk
        disk.last = ""
        try:
            replaced = self._size(key)
            cache.set(key, body, tag=crc32c)
        except _FAILURES as error:
            self._failed(error, disk.last)
            return None
        self._failing = False
        self.bytes += len(body) - replaced
        return f"{FOLDER}/{disk.last}"

    def read(self, node: int, block: int) -> bytes | None:
        """The block's bytes, unchecked; None when it is not here."""
        name = self._name(node, block)
        if name is None:
            return None
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                return file.read()
        except OSError:
            return None

    def verify(self, node: int, block: int, crc32c: int) -> bool:
        """Whether the block is here and its bytes have this checksum."""
        body = self.read(node, block)
        return body is not None and google_crc32c.value(body) == crc32c

    def path(self, node: int, block: int) -> str | None:
        """The block's path relative to the cache directory; None when it is not here."""
        name = self._name(node, block)
        return None if name is None else f"{FOLDER}/{name}"

    def drop(self, node: int, block: int) -> int:
        """Removes a block; returns the bytes that this freed. Whoever has it open reads on."""
        cache = self._open()
        key = key_of(node, block)
        try:
            size_bytes = self._size(key)
            cache.delete(key)
        except _FAILURES as error:
            self._failed(error, "")
            return 0
        self.bytes -= size_bytes
        return size_bytes

    def short_bytes(self, size_bytes: int) -> int:
        """How many bytes must go before `size_bytes` fit; 0 or less: they fit."""
        return max(
            self.bytes + size_bytes - self.limit_bytes, self.min_free_bytes + size_bytes - self._free_bytes()
        )

    def choose(self, candidates: Iterable[C], need_bytes: int) -> list[C]:
        """The victims among these candidates under the store's policy; empty when they do not suffice."""
        return victims(self.eviction, candidates, need_bytes)

    def make_room(self, size_bytes: int, blocks: Iterable[tuple[int, int]]) -> bool:
        """Drops these blocks, in order, until `size_bytes` fit; whether they do.

        The catalog must have forgotten them before, so that nobody is sent to a file that is gone.
        """
        for node, block in blocks:
            if self.short_bytes(size_bytes) <= 0:
                break
            self.drop(node, block)
        return self.short_bytes(size_bytes) <= 0

    def entries(self) -> Iterator[tuple[int, int]]:
        """(node, block) of everything that is here, in the order in which it came."""
        for _, node, block, _ in self._entries():
            yield node, block

    def sweep(self, known: Callable[[int, int], bool]) -> Iterator[int]:
        """Removes what nobody would ever read: files without an entry, entries without a file or that `known` denies.

        A step handles one folder or a thousand entries and yields the bytes it freed, so that the caller can do
        something urgent in between. For rare runs in the background.
        """
        for rows in self._pages():
            freed = 0
            for _, node, block, name in rows:
                if not known(node, block) or not os.path.exists(os.path.join(self._folder, name)):
                    freed += self.drop(node, block)
            yield freed
        with os.scandir(self._folder) as folders:
            names = [entry.name for entry in folders if entry.is_dir(follow_symlinks=False)]
        for folder in names:
            yield self._sweep_folder(folder)

    def clear(self) -> None:
        """Removes every block."""
        for node, block in list(self.entries()):
            self.drop(node, block)

    def _connect(self) -> None:
        cache = diskcache.Cache(
            self._folder, disk=BlockDisk, eviction_policy="none", cull_limit=0, disk_min_file_size=0, statistics=0
        )
        self._cache = cache
        self.bytes = int(cache.reset("size"))

    def _set_table_aside(self) -> None:
        table = os.path.join(self._folder, diskcache.core.DBNAME)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(table + suffix):
                os.replace(table + suffix, f"{table}.damaged{suffix}")
        log.warning("the table of the store %s was damaged: it is begun anew", self._folder)

    def _open(self) -> diskcache.Cache:
        if self._cache is None:
            raise CacheUnusable(f"the store in cache_dir {self.directory} is not open")
        return self._cache

    def _failed(self, error: Exception, name: str) -> None:
        """A miss, no more: leaves no file behind and no transaction open, and says so once."""
        self.failures += 1
        if name:
            try:
                os.unlink(os.path.join(self._folder, name))
            except OSError:
                pass  # it never came to be
        self._open().close()  # a COMMIT that failed leaves diskcache inside its transaction; the next use connects anew
        if not self._failing:
            self._failing = True
            log.error("the store %s cannot take or give up blocks, bytes pass it by: %s", self._folder, error)

    def _size(self, key: str) -> int:
        row = self._open()._sql("SELECT size FROM Cache WHERE key = ? AND raw = 1", (key,)).fetchone()
        return row[0] if row else 0

    def _name(self, node: int, block: int) -> str | None:
        try:
            row = self._open()._sql(
                "SELECT filename FROM Cache WHERE key = ? AND raw = 1", (key_of(node, block),)
            ).fetchone()
        except _FAILURES:
            return None
        return row[0] if row else None

    def _pages(self) -> Iterator[list[tuple[int, int, int, str]]]:
        after = 0
        while True:
            rows = self._open()._sql(
                "SELECT rowid, key, filename FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, _SWEEP_ROWS)
            ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield [(rowid, *parse_key(key), name) for rowid, key, name in rows]

    def _entries(self) -> Iterator[tuple[int, int, int, str]]:
        for rows in self._pages():
            yield from rows

    def _sweep_folder(self, folder: str) -> int:
        freed = 0
        path = os.path.join(self._folder, folder)
        with os.scandir(path) as files:
            for entry in files:
                named = parse_name(entry.name)
                if named is not None and self._name(*named) == f"{folder}/{entry.name}":
                    continue
                try:
                    freed += entry.stat(follow_symlinks=False).st_size
                    os.unlink(entry.path)
                except OSError:
                    continue  # gone already, or not ours to remove
        return freed

    def _disk_free_bytes(self) -> int:
        try:
            status = os.statvfs(self._folder)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize
