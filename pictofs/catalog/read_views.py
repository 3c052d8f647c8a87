"""Reading views: splits/<split>/… and status/<status>/…, as listings of what is there by reference."""

from __future__ import annotations

from pictofs.catalog.model import ImageRow, ViewDirectoryRow, ViewRow
from pictofs.catalog.read_images import IMAGE, ImageReads

FIELDS = {"split": 1, "status": 2}   # as `tally` and `view` number them
_FIELD_NAMES = {number: name for name, number in FIELDS.items()}
_VIEW = "SELECT v.pk, v.dataset, v.field, w.text, v.file_name FROM view v JOIN word w ON w.pk = v.word"
_DIRECTORY = (
    "SELECT vd.pk, vd.view, vd.directory, d.file_name, vd.mtime_ns FROM view_directory vd JOIN directory d ON d.pk = vd.directory"
)
_SCAN = 4000  # index entries a statement may look at: some 4 ms


class ViewReads(ImageReads):
    """What exists under splits/ and status/. All arguments are pks; `directory` is a directory's, not a view's."""

    def views(self, dataset: int, field: str) -> list[ViewRow]:
        """The values of `field` ("split" or "status") that some image of the dataset has, by file name."""
        rows = self._rows(f"{_VIEW} WHERE v.dataset = ? AND v.field = ? ORDER BY v.file_name", (dataset, FIELDS[field]))
        return [_view(row) for row in rows]

    def view(self, pk: int) -> ViewRow | None:
        """The view of that pk."""
        row = self._row(f"{_VIEW} WHERE v.pk = ?", (pk,))
        return _view(row) if row else None

    def view_named(self, dataset: int, field: str, file_name: str) -> ViewRow | None:
        """The view whose folder has that name."""
        row = self._row(
            f"{_VIEW} WHERE v.dataset = ? AND v.field = ? AND v.file_name = ?", (dataset, FIELDS[field], file_name)
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

    def view_subdirectories(self, view: int, directory: int, after: str = "", limit: int = 1000) -> list[ViewDirectoryRow]:
        """At most `limit` directories within `directory` that hold something of the view, by file name."""
        sql = (
            "SELECT vd.pk, vd.view, vd.directory, d.file_name, vd.mtime_ns FROM directory d "
            "CROSS JOIN view_directory vd ON vd.view = ? AND vd.directory = d.pk "
            "WHERE d.parent = ? AND d.parent > 0 AND d.file_name > ? ORDER BY d.file_name LIMIT ?"
        )
        return [ViewDirectoryRow(*row) for row in self._rows(sql, (view, directory, after, limit))]

    def view_images(self, view: int, directory: int, after: str = "", limit: int = 1000) -> list[ImageRow]:
        """At most `limit` images of the view in `directory` behind the name `after`, by file name."""
        return self._view_page("file_name", view, directory, after, limit)

    def view_images_by_annotation_name(
        self, view: int, directory: int, after: str = "", limit: int = 1000
    ) -> list[ImageRow]:
        """The same behind the annotation name `after`, by annotation name."""
        return self._view_page("annotation_name", view, directory, after, limit)

    def in_view(self, view: int, image: int) -> bool:
        """Whether the image, in this version, is current and has the view's value."""
        row = self._row(
            "SELECT 1 FROM view v JOIN image i ON i.pk = ? AND i.directory IS NOT NULL AND i.dataset = v.dataset "
            "AND v.word = CASE v.field WHEN 1 THEN i.split ELSE i.status END WHERE v.pk = ?",
            (image, view),
        )
        return row is not None

    def _view_page(self, order: str, view: int, directory: int, after: str, limit: int) -> list[ImageRow]:
        found = self._row("SELECT field, word FROM view WHERE pk = ?", (view,))
        if found is None:
            return []
        column = "i.split" if found[0] == FIELDS["split"] else "i.status"
        images: list[ImageRow] = []
        while len(images) < limit:
            # The value is no part of the index, so a statement looks at a bounded number of rows and may find none.
            last = self._row(
                f"SELECT {order} FROM image WHERE directory = ? AND {order} > ? ORDER BY {order} LIMIT 1 OFFSET ?",
                (directory, after, _SCAN - 1),
            )
            bound = f"AND i.{order} <= ?" if last else ""
            parameters = (directory, after, *(last or ()), found[1], limit - len(images))
            rows = self._rows(
                f"{IMAGE} WHERE i.directory = ? AND i.{order} > ? {bound} AND {column} = ? ORDER BY i.{order} LIMIT ?",
                parameters,
            )
            images += map(self._image, rows)
            if last is None:
                break
            after = last[0]
        return images


def _view(row: tuple[int, int, int, str, str]) -> ViewRow:
    pk, dataset, field, value, file_name = row
    return ViewRow(pk, dataset, _FIELD_NAMES[field], value, file_name)
