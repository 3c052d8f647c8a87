"""Views, rebuilt at the end of a listing: a value that some image has is a view, and a directory is in a view
when it holds, directly or below, an image of it. The tallies kept with every page tell which, so that no image is looked at.
"""

from __future__ import annotations

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.model import Change, Kind, node_id
from pictofs.catalog.placing import Listing, Placing
from pictofs.catalog.writing import ROWS_PER_TRANSACTION

_PARENT_KIND = {1: Kind.SPLITS, 2: Kind.STATUSES}


class ViewWrites(Placing):
    """splits/ and status/ as listings of what is elsewhere."""

    def _rebuild_views(self, listing: Listing, now_ns: int, change: Change) -> None:
        dataset = listing.dataset
        if not self._row("SELECT 1 FROM directory WHERE dataset = ? AND dirty > 0 LIMIT 1", (dataset,)):
            return
        parents = dict(self._rows("SELECT pk, parent FROM directory WHERE dataset = ?", (dataset,)))
        held = (
            "SELECT DISTINCT t.field, t.word FROM directory d CROSS JOIN tally t ON t.directory = d.pk "
            "WHERE d.dataset = ? AND t.images > 0"
        )
        wanted = set(self._rows(held, (dataset,)))
        known = {
            (field, word): (pk, name)
            for pk, field, word, name in self._rows("SELECT pk, field, word, file_name FROM view WHERE dataset = ?", (dataset,))
        }
        for field, word in sorted(known.keys() - wanted):
            pk, file_name = known[field, word]
            self._fill_view(pk, set(), parents, now_ns, listing, change)
            with self._transaction():
                self._run("DELETE FROM view WHERE pk = ?", (pk,))
            self._tell_view(dataset, field, file_name, change)
        for field, word in sorted(wanted):
            pk = known[field, word][0] if (field, word) in known else self._make_view(dataset, field, word, change)
            direct = self._rows(
                "SELECT d.pk FROM directory d CROSS JOIN tally t ON t.directory = d.pk AND t.field = ? AND t.word = ? "
                "WHERE d.dataset = ? AND t.images > 0",
                (field, word, dataset),
            )
            directories: set[int] = set()
            for (directory,) in direct:
                while directory and directory not in directories:
                    directories.add(directory)
                    directory = parents.get(directory, 0)
            self._fill_view(pk, directories, parents, now_ns, listing, change)

    def _make_view(self, dataset: int, field: int, word: int, change: Change) -> int:
        value = self._word(word)

        def is_taken(name: str) -> bool:
            sql = "SELECT 1 FROM view WHERE dataset = ? AND field = ? AND file_name = ?"
            return self._row(sql, (dataset, field, name)) is not None

        file_name = naming.claim(names.encode(value), names.tag("", "view", value), is_taken)
        with self._transaction():
            pk = self._insert(
                "INSERT INTO view (dataset, field, word, file_name) VALUES (?, ?, ?, ?)", (dataset, field, word, file_name)
            )
        self._tell_view(dataset, field, file_name, change)
        return pk

    def _fill_view(
        self, view: int, directories: set[int], parents: dict[int, int], now_ns: int, listing: Listing, change: Change
    ) -> None:
        """Makes the view hold exactly these directories."""
        known = {
            directory: (pk, name)
            for pk, directory, name in self._rows(
                "SELECT vd.pk, vd.directory, d.file_name FROM view_directory vd JOIN directory d ON d.pk = vd.directory "
                "WHERE vd.view = ?",
                (view,),
            )
        }
        new = sorted(directories - known.keys())
        for start in range(0, len(new), ROWS_PER_TRANSACTION):
            page = [(view, directory, now_ns) for directory in new[start : start + ROWS_PER_TRANSACTION]]
            with self._transaction():
                self._run_many("INSERT INTO view_directory (view, directory, mtime_ns) VALUES (?, ?, ?)", page)
        if listing.relisted:
            for directory in new:
                (name,) = self._rows("SELECT file_name FROM directory WHERE pk = ?", (directory,))[0]
                self._tell_directory(view, parents.get(directory, 0), name, change)
        old = sorted(known.keys() - directories)
        for directory in old:
            self._tell_directory(view, parents.get(directory, 0), known[directory][1], change)
        for start in range(0, len(old), ROWS_PER_TRANSACTION):
            with self._transaction():
                for directory in old[start : start + ROWS_PER_TRANSACTION]:
                    self._run("DELETE FROM view_directory WHERE pk = ?", (known[directory][0],))

    def _drop_view_directories(self, directory: int, parent: int, file_name: str, change: Change) -> None:
        """A directory ceases to exist."""
        for pk, view in self._rows("SELECT pk, view FROM view_directory WHERE directory = ?", (directory,)):
            self._tell_directory(view, parent, file_name, change)
            self._run("DELETE FROM view_directory WHERE pk = ?", (pk,))

    def _tell_directory(self, view: int, parent: int, file_name: str, change: Change) -> None:
        """`file_name` came or went in the view's `parent`, whose listing and mtime are others now."""
        row = self._row("SELECT pk FROM view_directory WHERE view = ? AND directory = ?", (view, parent))
        if row is not None:
            for kind in (Kind.VIEW_IMAGES, Kind.VIEW_ANNOTATIONS):
                change.entries.append((node_id(row[0], kind), file_name))
            self._run("UPDATE directory SET dirty = dirty | 2 WHERE pk = ?", (parent,))

    def _tell_view(self, dataset: int, field: int, file_name: str, change: Change) -> None:
        change.entries.append((node_id(dataset, _PARENT_KIND[field]), file_name))
        change.nodes.append(node_id(dataset, _PARENT_KIND[field]))
