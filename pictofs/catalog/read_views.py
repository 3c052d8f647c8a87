"""Reading views: splits/<split>/… and status/<status>/…, as listings of what is there by reference."""

from __future__ import annotations

from pictofs.catalog.model import ImageRow, ViewDirectoryRow, ViewRow
from pictofs.catalog.read_images import IMAGE, ImageReads

FIELDS = {"split": 1, "status": 2}  # as `tally` and `view` number them
_FIELD_NAMES = {number: name for name, number in FIELDS.items()}
_VIEW = "SELECT v.pk, v.dataset, v.field, w.text, v.file_name FROM view v JOIN word w ON w.pk = v.word"
_DIRECTORY = (
    "SELECT vd.pk, vd.view, vd.directory, d.file_name, vd.mtime_ns "
    "FROM view_directory vd JOIN directory d ON d.pk = vd.directory"
)


class ViewReads(ImageReads):
    """What exists under splits/ and status/. Arguments are pks; `directory` is never a view's."""

    def views(self, dataset: int, field: str) -> list[ViewRow]:
        """The values of `field` ("split" or "status") that some image of the dataset has, by file name."""
        rows = self._rows(
            f"{_VIEW} WHERE v.dataset = ? AND v.field = ? ORDER BY v.file_name", (dataset, FIELDS[field])
        )
        return [_view(row) for row in rows]

    def view(self, pk: int) -> ViewRow | None:
        """The view of that pk."""
        row = self._row(f"{_VIEW} WHERE v.pk = ?", (pk,))
        return _view(row) if row else None

    def view_named(self, dataset: int, field: str, file_name: str) -> ViewRow | None:
        """The view whose folder has that name."""
        row = self._row(
            f"{_VIEW} WHERE v.dataset = ? AND v.field = ? AND v.file_name = ?",
            (dataset, FIELDS[field], file_name),
        )
        return _view(row) if row else None

    def view_directory(self, pk: int) -> ViewDirectoryRow | None:
        """The directory-in-a-view of that pk."""
        row = self._row(f"{_DIRECTORY} WHERE vd.pk = ?", (pk,))
        return ViewDirectoryRow(*row) if row else None

    def view_directory_for(self, view: int, directory: int) -> ViewDirectoryRow | None:
        """`directory` as it stands in a view; None when it holds nothing of it."""
        row = self._row(f"{_DIRECTORY} WHERE vd.view = ? AND vd.directory = ?", (view, directory))
        return ViewDirectoryRow(*row) if row else None

    def view_subdirectories(
        self, view: int, directory: int, after: str = "", limit: int = 1000
    ) -> list[ViewDirectoryRow]:
        """At most `limit` directories within `directory` that hold something of the view, by file name."""
        sql = (
            "SELECT vd.pk, vd.view, vd.directory, d.file_name, vd.mtime_ns FROM directory d "
            "CROSS JOIN view_directory vd ON vd.view = ? AND vd.directory = d.pk "
            "WHERE d.parent = ? AND d.parent > 0 AND d.file_name > ? ORDER BY d.file_name LIMIT ?"
        )
        return [ViewDirectoryRow(*row) for row in self._rows(sql, (view, directory, after, limit))]

    def view_images(self, view: int, directory: int, after: str = "", limit: int = 1000) -> list[ImageRow]:
        """At most `limit` images of the view in `directory` behind the name `after`, by file name."""
        with self.snapshot():
            pks = self._view_page(view, directory, after, limit)
            if not pks:
                return []
            marks = ",".join("?" * len(pks))
            rows = self._rows(f"{IMAGE} WHERE i.pk IN ({marks}) ORDER BY i.file_name", pks)
        return [self._image(row) for row in rows]

    def in_view(self, view: int, image: int) -> bool:
        """Whether the image, in this version, is current and has the view's value."""
        row = self._row(
            "SELECT 1 FROM view v JOIN image i ON i.pk = ? AND i.directory IS NOT NULL AND i.dataset = "
            "v.dataset "
            "AND v.word = CASE v.field WHEN 1 THEN i.split ELSE i.status END WHERE v.pk = ?",
            (image, view),
        )
        return row is not None

    def _view_page(self, view: int, directory: int, after: str, limit: int) -> list[int]:
        """The pks of a page.

        One index serves both fields, (directory, split, status, file_name): a page is merged from one range
        for each value that the other field has in the directory, some four.
        """
        found = self._row("SELECT field, word FROM view WHERE pk = ?", (view,))
        if found is None:
            return []
        field, word = found
        ours, other = ("split", "status") if field == FIELDS["split"] else ("status", "split")
        sql = (
            f"SELECT file_name, pk FROM image INDEXED BY image_view WHERE directory = ? AND {ours} = ? "
            f"AND {other} IS ? AND file_name > ? ORDER BY file_name LIMIT ?"
        )
        others = self._rows(
            "SELECT word FROM tally WHERE directory = ? AND field = ?", (directory, 3 - field)
        )
        page: list[tuple[str, int]] = []
        for (value,) in [*others, (None,)]:
            page += self._rows(sql, (directory, word, value, after, limit))
        page.sort()
        return [pk for _, pk in page[:limit]]


def _view(row: tuple[int, int, int, str, str]) -> ViewRow:
    pk, dataset, field, value, file_name = row
    return ViewRow(pk, dataset, _FIELD_NAMES[field], value, file_name)
