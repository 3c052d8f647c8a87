"""Views, brought up to date at the end of a listing.

A value that some image has is a view, and a directory is in a view when it holds, directly or below, an
image of it. The tallies kept with every page tell which; only directories whose tallies changed are seen to.
"""

from __future__ import annotations

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.model import Change, Kind, node_id
from pictofs.catalog.placing import TALLIES, Listing, Placing
from pictofs.catalog.writing import paged

_FACE = {1: Kind.SPLITS, 2: Kind.STATUSES}


class ViewWrites(Placing):
    """splits/ and status/ as listings of what is elsewhere."""

    def _rebuild_views(self, listing: Listing, now_ns: int, change: Change) -> None:
        dataset = listing.dataset
        views = {
            (field, word): pk
            for pk, field, word in self._rows(
                "SELECT pk, field, word FROM view WHERE dataset = ?", (dataset,)
            )
        }
        dirty = self._rows(
            "SELECT pk FROM directory INDEXED BY directory_dirty WHERE dataset = ? AND dirty > 0 AND dirty "
            f"& {TALLIES}",
            (dataset,),
        )
        for page in paged(dirty):
            with self._transaction():
                for (directory,) in page:
                    self._review(listing, views, directory, now_ns, change)
        for (field, _), pk in views.items():
            if not self._row(
                "SELECT 1 FROM view_directory WHERE view = ? AND directory = ?", (pk, listing.root)
            ):
                with self._transaction():
                    (name,) = self._rows("DELETE FROM view WHERE pk = ? RETURNING file_name", (pk,))[0]
                self._tell_view(dataset, field, name, change)
                change.nodes.append(node_id(pk, Kind.VIEW))

    def _review(
        self, listing: Listing, views: dict[tuple[int, int], int], directory: int, now_ns: int, change: Change
    ) -> None:
        """Brings one directory's place in all views up to date, and that of the directories above it."""
        rows = self._rows("SELECT field, word, images FROM tally WHERE directory = ?", (directory,))
        for field, word, images in rows:
            view = views.get((field, word))
            if images > 0:
                if view is None:
                    view = views[field, word] = self._make_view(listing.dataset, field, word, change)
                self._show(listing, view, directory, now_ns, change)
            elif view is not None:
                self._hide(view, directory, change)
        self._run("DELETE FROM tally WHERE directory = ? AND images <= 0", (directory,))

    def _show(self, listing: Listing, view: int, directory: int, now_ns: int, change: Change) -> None:
        """The directory, and every one above it, is in the view."""
        while directory:
            added = self._run(
                "INSERT OR IGNORE INTO view_directory (view, directory, mtime_ns) VALUES (?, ?, ?)",
                (view, directory, now_ns),
            )
            if not added:
                return
            parent, file_name = self._rows(
                "SELECT parent, file_name FROM directory WHERE pk = ?", (directory,)
            )[0]
            if listing.relisted:
                self._tell_directory(view, parent, file_name, change)
            directory = parent

    def _hide(self, view: int, directory: int, change: Change) -> None:
        """The directory holds nothing of the view itself: it is out, unless one below it is in."""
        while directory:
            held = self._row(
                "SELECT 1 FROM view v JOIN tally t ON t.directory = ?1 AND t.field = v.field AND t.word = "
                "v.word "
                "AND t.images > 0 WHERE v.pk = ?2 UNION ALL SELECT 1 FROM directory d JOIN view_directory vd "
                "ON vd.view = ?2 AND vd.directory = d.pk WHERE d.parent = ?1 AND d.parent > 0 LIMIT 1",
                (directory, view),
            )
            if held:
                return
            gone = self._rows(
                "DELETE FROM view_directory WHERE view = ? AND directory = ? RETURNING pk", (view, directory)
            )
            parent, file_name = self._rows(
                "SELECT parent, file_name FROM directory WHERE pk = ?", (directory,)
            )[0]
            for (pk,) in gone:
                change.nodes += [node_id(pk, Kind.VIEW_IMAGES), node_id(pk, Kind.VIEW_ANNOTATIONS)]
            self._tell_directory(view, parent, file_name, change)
            directory = parent

    def _drop_from_views(self, directory: int, parent: int, file_name: str, change: Change) -> None:
        """The directory no longer exists; `parent` may have been in views for its sake alone."""
        gone = self._rows("DELETE FROM view_directory WHERE directory = ? RETURNING pk, view", (directory,))
        for pk, view in gone:
            change.nodes += [node_id(pk, Kind.VIEW_IMAGES), node_id(pk, Kind.VIEW_ANNOTATIONS)]
            self._tell_directory(view, parent, file_name, change)
            self._hide(view, parent, change)

    def _make_view(self, dataset: int, field: int, word: int, change: Change) -> int:
        value = self._word(word)

        def is_taken(name: str) -> bool:
            sql = "SELECT 1 FROM view WHERE dataset = ? AND field = ? AND file_name = ?"
            return self._row(sql, (dataset, field, name)) is not None

        file_name = naming.claim(names.encode(value), names.tag("", "view", value), is_taken)
        self._tell_view(dataset, field, file_name, change)
        return self._insert(
            "INSERT INTO view (dataset, field, word, file_name) VALUES (?, ?, ?, ?)",
            (dataset, field, word, file_name),
        )

    def _tell_directory(self, view: int, parent: int, file_name: str, change: Change) -> None:
        """`file_name` came or went in the view's `parent`, whose listing is another now."""
        row = self._row("SELECT pk FROM view_directory WHERE view = ? AND directory = ?", (view, parent))
        if row is not None:
            for kind in (Kind.VIEW_IMAGES, Kind.VIEW_ANNOTATIONS):
                change.entries.append((node_id(row[0], kind), file_name))
            self._run("UPDATE directory SET dirty = dirty | ? WHERE pk = ?", (TALLIES, parent))

    def _tell_view(self, dataset: int, field: int, file_name: str, change: Change) -> None:
        change.entries.append((node_id(dataset, _FACE[field]), file_name))
        change.nodes.append(node_id(dataset, _FACE[field]))
