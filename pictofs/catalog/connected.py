"""One SQLite connection to the catalog, and how its failures read.

Nothing of SQLite leaves the room: every `sqlite3.Error` becomes `CacheUnusable` with the mend in it. A file
that turns out damaged is marked (`catalog.sqlite.damaged`), and the next writer to open it sets it aside.
A connection may be used by one thread at a time, any thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from pictofs.catalog import schema
from pictofs.errors import CacheUnusable

BUSY_TIMEOUT_S = 10.0  # a write transaction is ≤ 1,000 rows: some 100 ms, more on a cold disk
MARK = ".damaged"
# A lookup costs a quarter less from mapped pages; so much holds 200,000 images. With all of a million mapped
# a walk's serving process was 299 MB large, which is the page cache's memory but counts as its own. The
# price: where the disk fails to read one, the process dies (SIGBUS) instead of getting an error, and is
# started again. The writer does not.
_MAPPED_BYTES = 64 << 20
_OLDEST_SQLITE = (3, 35)  # RETURNING, and upserts without a target
_PAGE_CACHE_KIB = 16 << 10  # inner pages of a million-image catalog; leaves are in the kernel's page cache

Row = tuple[Any, ...]


def connect(path: str, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit, with the pragmas that hold for both sides; sqlite3.Error as it comes."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise CacheUnusable(f"SQLite {sqlite3.sqlite_version} is too old, {needed} is needed: upgrade Python")
    db = sqlite3.connect(
        f"file:{quote(path)}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_S,
        check_same_thread=False,
        cached_statements=512,
    )
    db.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
    if read_only:
        db.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    return db


def check_schema(path: str, db: sqlite3.Connection) -> None:
    """CacheUnusable unless the file is a catalog of a version that is understood; two header reads.

    A reader may be here before the writer has upgraded the file.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise CacheUnusable(f"{path} is no catalog of pictofs: point cache_dir to a folder of its own")
    if not schema.OLDEST <= version <= schema.VERSION:
        raise CacheUnusable(
            f"{path} has schema {version}, this pictofs speaks {schema.VERSION}: "
            "use the pictofs that wrote it, or remove the file to begin anew"
        )


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, as opposed to busy, full or missing."""
    code = getattr(error, "sqlite_errorcode", None)  # Python ≥ 3.11
    if code is not None:
        return (code & 0xFF) in (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
    return "malformed" in str(error) or "not a database" in str(error)


def unusable(path: str, error: sqlite3.Error) -> CacheUnusable:
    """The error for a person; marks a damaged file for the next writer."""
    text = str(error)
    if is_damage(error):
        _mark_damaged(path)
        mend = "it is set aside and begun anew when the mount starts again"
        return CacheUnusable(f"the catalog {path} is damaged ({text}): {mend}")
    if "locked" in text or "busy" in text:
        return CacheUnusable(f"the catalog {path} was locked for {BUSY_TIMEOUT_S:.0f} s: end what holds it")
    if "full" in text:
        return CacheUnusable(f"no room for the catalog {path}: free some disk, or point cache_dir elsewhere")
    if "unable to open" in text:
        return CacheUnusable(f"no catalog at {path}: mount first, or see whether cache_dir is readable")
    return CacheUnusable(f"the catalog {path} cannot be used ({text}): see whether cache_dir is writable")


class Connected:
    """The base of reader and writer: runs statements, interprets what goes wrong."""

    def __init__(self, path: str, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        self._words: dict[int, str] = {}
        self._inode = _inode(path)

    def close(self) -> None:
        """Closes the connection; idempotent."""
        self._db.close()

    def replaced(self) -> bool:
        """Whether `path` is another file than the one opened: it was damaged and set aside. Open again."""
        return _inode(self.path) != self._inode

    def data_version(self) -> int:
        """A number that changes whenever another connection has committed; costs a few µs."""
        return int(self._value("PRAGMA data_version"))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One state of the catalog for every question within, and the cost of a read transaction once.

        For a few questions that belong together: the write-ahead log cannot be emptied meanwhile. Within
        another one, or within a transaction of the writer, it is a part of that.
        """
        if self._db.in_transaction:
            yield
            return
        self._row("BEGIN")
        try:
            yield
        finally:
            self._row("COMMIT")

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def _row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        try:
            row: Row | None = self._db.execute(sql, parameters).fetchone()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
        return row

    def _value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row; 0 without a row."""
        row = self._row(sql, parameters)
        return row[0] if row is not None else 0

    def _word(self, pk: int | None) -> str:
        """The text of an interned word; words never change, so they are kept."""
        if pk is None:
            return ""
        text = self._words.get(pk)
        if text is None:
            row = self._row("SELECT text FROM word WHERE pk = ?", (pk,))
            if row is None:
                return ""
            if len(self._words) > 100_000:  # tags that differ with every image
                self._words.clear()
            text = self._words[pk] = str(row[0])
        return text


def _mark_damaged(path: str) -> None:
    try:
        os.close(os.open(path + MARK, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError:
        return  # a disk that cannot be written cannot be begun anew either


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
