"""The end of a listing: what it has not seen goes, what this made empty too, and mtimes move.

`collect` removes for good, later, what no name leads to and nothing in the store belongs to.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pictofs.catalog.members import MemberWrites
from pictofs.catalog.model import Change, Kind, node_id
from pictofs.catalog.placing import ENTRIES, Listing
from pictofs.catalog.versions import VersionWrites
from pictofs.catalog.views import ViewWrites
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, image_entries, padded, paged

_SCAN_ROWS = 4000
_UNUSED = "NOT EXISTS (SELECT 1 FROM block b WHERE b.node = o.pk * 256 + ?)"
_OLD_OPENED = (
    "SELECT o.export FROM opened o JOIN export e ON e.pk = o.export WHERE e.gone = 1 AND NOT EXISTS ("
    "SELECT 1 FROM block b WHERE b.node BETWEEN o.first * 256 AND (o.first + o.count) * 256 - 1) LIMIT ?"
)


class Removing(VersionWrites, ViewWrites, MemberWrites):
    """Rows that lose their name, and rows that go."""

    def collect(self, limit: int = ROWS_PER_TRANSACTION) -> int:
        """Removes at most `limit` rows of each kind that are old or deleted and of which no block is left.

        Returns how many; 0 when there is nothing more to do. Their pks are not used again. A node that
        somebody still has open answers ESTALE afterwards, as it would without blocks before: run it seldom.
        """
        removed = 0
        with self._transaction():
            images = self._rows(
                "SELECT o.pk, o.ino FROM image o INDEXED BY image_old WHERE o.directory IS NULL AND "
                f"{_UNUSED} LIMIT ?",
                (int(Kind.IMAGE), limit),
            )
            for pk, ino in images:
                self._run("DELETE FROM truth WHERE image = ?", (pk,))
                self._run("DELETE FROM image WHERE pk = ?", (pk,))
                removed += 1 + self._supersede_orphan(ino or pk)
            for (export,) in self._rows(_OLD_OPENED, (limit,)):
                removed += self.clear_members(export, limit)
            for table, old, kind in (
                ("annotation", "INDEXED BY annotation_old WHERE superseded = 1", Kind.ANNOTATION),
                (
                    "export",
                    "INDEXED BY export_old WHERE gone = 1 AND pk NOT IN (SELECT export FROM opened)",
                    Kind.EXPORT,
                ),
            ):
                rows = self._rows(
                    f"SELECT o.pk FROM {table} o {old} AND {_UNUSED} LIMIT ?", (int(kind), limit)
                )
                self._run_many(f"DELETE FROM {table} WHERE pk = ?", rows)
                removed += len(rows)
        return removed

    def _supersede_orphan(self, ino: int) -> int:
        """The annotation of an object that has no row left is old too; returns how many versions it had."""
        if self._row("SELECT 1 FROM image WHERE pk = ?1 OR ino = ?1", (ino,)):
            return 0
        return self._run(
            "UPDATE annotation SET superseded = 1 WHERE superseded = 0 AND (pk = ?1 OR ino = ?1)", (ino,)
        )

    def _remove_unseen(self, listing: Listing, change: Change) -> None:
        count = self._value("SELECT images FROM dataset_count WHERE dataset = ?", (listing.dataset,))
        if count == listing.seen.count:
            return
        after: Any = -1  # an integer comes before every text and blob
        while True:
            rows = self._rows(
                "SELECT identity, pk, ifnull(ino, pk) FROM image INDEXED BY image_identity WHERE dataset = ? "
                "AND directory IS NOT NULL AND identity > ? ORDER BY identity LIMIT ?",
                (listing.dataset, after, _SCAN_ROWS),
            )
            for page in paged([pk for _, pk, ino in rows if ino not in listing.seen]):
                with self._transaction():
                    self._remove_images(listing, page, change)
            if len(rows) < _SCAN_ROWS:
                return
            after = rows[-1][0]

    def _remove_images(self, listing: Listing, pks: Any, change: Change) -> None:
        marks, padding = padded(pks)
        rows = self._rows(
            "SELECT pk, directory, file_name, annotation_name, status, split FROM image WHERE pk IN "
            f"({marks})",
            padding,
        )
        for pk, directory, file_name, annotation_name, status, split in rows:
            change.entries += image_entries(directory, file_name, annotation_name)
            change.entries += self._view_entries(
                listing.dataset, directory, file_name, annotation_name, status, split
            )
            self._count(listing, directory, status, split, -1)
            self._retire(pk)
        for directory, count in Counter(row[1] for row in rows).items():
            self._run("UPDATE directory SET images = images - ? WHERE pk = ?", (count, directory))
            self._soil(listing, directory, ENTRIES)
        self._flush_tallies(listing)

    def _remove_empty_directories(self, listing: Listing, change: Change) -> None:
        while True:
            with self._transaction():
                rows = self._rows(
                    "SELECT pk, parent, file_name FROM directory INDEXED BY directory_empty WHERE dataset = "
                    "? "
                    "AND images = 0 AND subdirectories = 0 AND parent > 0 LIMIT ?",
                    (listing.dataset, ROWS_PER_TRANSACTION),
                )
                for pk, parent, file_name in rows:
                    self._run("DELETE FROM directory WHERE pk = ?", (pk,))
                    self._run("DELETE FROM tally WHERE directory = ?", (pk,))
                    self._run(
                        "UPDATE directory SET subdirectories = subdirectories - 1 WHERE pk = ?", (parent,)
                    )
                    self._drop_from_views(pk, parent, file_name, change)
                    self._soil(listing, parent, ENTRIES)
                    for kind in (Kind.IMAGES, Kind.ANNOTATIONS):
                        change.entries.append((node_id(parent, kind), file_name))
                        change.nodes.append(node_id(pk, kind))
            if not rows:
                return
            listing.directories.clear()

    def _move_mtimes(self, dataset: int, now_ns: int, change: Change) -> None:
        while True:
            with self._transaction():
                rows = self._rows(
                    "SELECT pk, dirty FROM directory INDEXED BY directory_dirty WHERE dataset = ? AND dirty "
                    "> 0 LIMIT ?",
                    (dataset, ROWS_PER_TRANSACTION),
                )
                for pk, dirty in rows:
                    self._run(
                        "UPDATE directory SET dirty = 0, mtime_ns = CASE WHEN dirty & 1 THEN ? ELSE mtime_ns "
                        "END "
                        "WHERE pk = ?",
                        (now_ns, pk),
                    )
                    viewed = self._rows(
                        "UPDATE view_directory SET mtime_ns = ? WHERE directory = ? RETURNING pk",
                        (now_ns, pk),
                    )
                    for (view_directory,) in viewed:
                        change.nodes.append(node_id(view_directory, Kind.VIEW_IMAGES))
                        change.nodes.append(node_id(view_directory, Kind.VIEW_ANNOTATIONS))
                    if dirty & ENTRIES:
                        change.nodes += [node_id(pk, Kind.IMAGES), node_id(pk, Kind.ANNOTATIONS)]
            if len(rows) < ROWS_PER_TRANSACTION:
                return
