"""The base of everything that writes: transactions, pks, interned words.

One writer per cache directory, in one thread. A transaction holds at most `ROWS_PER_TRANSACTION` rows, so
that the write-ahead log can be emptied between two.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pictofs.catalog.columns import storable
from pictofs.catalog.connected import unusable
from pictofs.catalog.model import Kind, node_id
from pictofs.catalog.reader import CatalogReader

ROWS_PER_TRANSACTION = 1000
_MOST_WORDS_KEPT = 100_000
T = TypeVar("T")


class Writing(CatalogReader):
    """A connection that writes."""

    def __init__(self, path: str, db: sqlite3.Connection, clock_s: Callable[[], float] = time.time) -> None:
        super().__init__(path, db)
        self._clock_s = clock_s
        self._interned: dict[str, int] = {}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; within another one it is a part of that."""
        if self._db.in_transaction:
            yield
            return
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            self._interned.clear()  # a word's pk that was rolled back may be given again
            self._words.clear()
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Ends a transaction that failed; SQLite has ended some itself (a full disk)."""
        if self._db.in_transaction:
            self._run("ROLLBACK")

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs a statement; returns how many rows it changed."""
        try:
            return self._db.execute(sql, parameters).rowcount
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def _run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        if parameters:
            try:
                self._db.executemany(sql, parameters)
            except sqlite3.Error as error:
                raise unusable(self.path, error) from error

    def _insert(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs an INSERT; returns the row's pk."""
        try:
            pk = self._db.execute(sql, parameters).lastrowid
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
        return pk or 0

    def _draw(self, count: int = 1) -> int:
        """The first of `count` new pks for images and annotations."""
        sql = "UPDATE meta SET value = value + ?1 WHERE name = 'next_pk' RETURNING value - ?1"
        return int(self._value(sql, (count,)))

    def _intern(self, text: str) -> int | None:
        """The word's pk; None for the empty one."""
        if not text:
            return None
        pk = self._interned.get(text)
        if pk is None:
            stored = storable(text)
            row = self._row("SELECT pk FROM word WHERE text = ?", (stored,))
            pk = int(row[0]) if row else self._insert("INSERT INTO word (text) VALUES (?)", (stored,))
            if len(self._interned) > _MOST_WORDS_KEPT:
                self._interned.clear()
            self._interned[text] = pk
        return pk


def paged(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """`items` in pieces that a transaction may hold."""
    for start in range(0, len(items), ROWS_PER_TRANSACTION):
        yield items[start : start + ROWS_PER_TRANSACTION]


def padded(values: Sequence[T]) -> tuple[str, list[T]]:
    """(placeholders, values) for `IN (…)`, repeated to one of three lengths: statements stay prepared."""
    size = next(size for size in (1, 32, ROWS_PER_TRANSACTION) if len(values) <= size)
    return ",".join("?" * size), [*values, *[values[-1]] * (size - len(values))]


def image_entries(directory: int, file_name: str, annotation_name: str) -> list[tuple[int, str]]:
    """Where an image and its annotation stand."""
    return [
        (node_id(directory, Kind.IMAGES), file_name),
        (node_id(directory, Kind.ANNOTATIONS), annotation_name),
    ]
