"""The writing side, and how a catalog begins, survives and is set aside."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from glob import escape, glob
from os import PathLike, fspath

from pictofs.catalog import schema
from pictofs.catalog.arrivals import ArrivalWrites
from pictofs.catalog.connected import MARK, check_schema, connect, is_damage, unusable
from pictofs.catalog.datasets import DatasetWrites
from pictofs.catalog.exports import ExportWrites
from pictofs.catalog.listing import ListingWrites
from pictofs.catalog.members import MemberWrites
from pictofs.catalog.model import Kind
from pictofs.errors import CacheUnusable

log = logging.getLogger(__name__)
_WAL_LIMIT_BYTES = 4 << 20  # what the write-ahead log may keep on disk between checkpoints
_SUFFIXES = ("", "-wal", "-shm")


class Catalog(DatasetWrites, ExportWrites, ListingWrites, ArrivalWrites, MemberWrites):
    """The one writer of a cache directory; also answers every question of `CatalogReader`.

    For one thread at a time. A transaction holds at most 1,000 rows. `clock_s` tells seconds since the epoch.
    """

    @classmethod
    def open(cls, path: str | PathLike[str], clock_s: Callable[[], float] = time.time) -> Catalog:
        """Opens the catalog for writing, begins it where there is none; scans nothing.

        A damaged file is set aside as `<path>.damaged-<n>` and a new one begun, with one line in the log.
        CacheUnusable when the folder cannot be written or the file belongs to another version or program.
        """
        text = fspath(path)
        if os.path.exists(text + MARK):
            _set_aside(text)
        try:
            db = _open(text)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise unusable(text, error) from error
            _set_aside(text)
            try:
                db = _open(text)
            except sqlite3.Error as again:
                raise unusable(text, again) from again
        return cls(text, db, clock_s)


def _open(path: str) -> sqlite3.Connection:
    """A writing connection to a catalog that is sound as far as its first pages tell."""
    first_pk = _first_pk(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise CacheUnusable(
            f"{path} cannot be written ({error.strerror}): point cache_dir elsewhere"
        ) from error
    db = connect(path, read_only=False)
    try:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            schema.create(db, first_pk)
        check_schema(path, db)
        schema.upgrade(db, int(Kind.EXPORT))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        db.execute("SELECT value FROM meta WHERE name = 'next_pk'").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _first_pk(path: str) -> int:
    """Where a catalog that is begun now starts to count: at 1 in a fresh folder.

    Where one was before, kernels and the store may still hold its numbers, and they must never come to mean
    another thing: then at the microseconds since the epoch, of which no catalog ever used up one each.
    """
    folder = os.path.dirname(path) or "."
    before = os.path.exists(path) or glob(escape(path) + ".damaged-*") or os.path.isdir(f"{folder}/store")
    return time.time_ns() // 1000 if before else 1


def _set_aside(path: str) -> None:
    """Moves a damaged catalog and its journal out of the way."""
    ordinal = 1
    while os.path.exists(f"{path}.damaged-{ordinal}"):
        ordinal += 1
    aside = f"{path}.damaged-{ordinal}"
    moved = False
    try:
        for suffix in _SUFFIXES:
            if os.path.exists(path + suffix):
                os.rename(path + suffix, aside + suffix)
                moved = True
        if os.path.exists(path + MARK):
            os.unlink(path + MARK)
    except OSError as error:
        raise CacheUnusable(f"the damaged {path} cannot be moved ({error.strerror}): remove it") from error
    if moved:
        log.warning("the catalog %s was damaged: it is kept as %s and a new one is begun", path, aside)
