"""Which images of a directory are shown: all, those of one view, or those of `status_filter`.

The catalog pages by file name whatever is shown, and a directory is shown when it holds, directly or below,
an image that is. Pages are short reads, so that the write-ahead log of the catalog can be emptied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pictofs.catalog.model import ImageRow, ListedImage, ViewRow
from pictofs.tree.ground import Ground

PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory as a selection shows it; `view_directory` is 0 where everything is shown."""

    directory: int
    file_name: str
    view_directory: int


class Selection:
    """`view` None shows everything; `status` keeps only images of that status (None: any)."""

    def __init__(self, ground: Ground, view: ViewRow | None, status: str | None = None) -> None:
        self._ground = ground
        self._view = view
        self._status = status

    def folders(self, directory: int, after: str, limit: int) -> list[Folder]:
        """At most `limit` directories within `directory` behind the name `after`."""
        if self._view is None:
            rows = self._ground.reader.subdirectories(directory, after, limit)
            return [Folder(row.pk, row.file_name, 0) for row in rows]
        views = self._ground.reader.view_subdirectories(self._view.pk, directory, after, limit)
        return [Folder(row.directory, row.file_name, row.pk) for row in views]

    def folder(self, directory: int, name: str) -> Folder | None:
        """The directory of that name within `directory`."""
        row = self._ground.reader.subdirectory(directory, name)
        if row is None:
            return None
        if self._view is None:
            return Folder(row.pk, row.file_name, 0)
        shown = self._ground.reader.view_directory_for(self._view.pk, row.pk)
        return Folder(row.pk, row.file_name, shown.pk) if shown else None

    def listed(self, directory: int, after: str, limit: int) -> Sequence[ImageRow | ListedImage]:
        """As `images`, for a listing: the whole rows only where something is selected by them."""
        if self._view is None and self._status is None:
            return self._ground.reader.listed_images(directory, after, limit)
        return self.images(directory, after, limit)

    def names(self, directory: int, after: str, limit: int) -> Sequence[tuple[int, int, str]]:
        """(pk, inode's pk, file name) of the same."""
        if self._view is None and self._status is None:
            return self._ground.reader.image_names(directory, after, limit)
        return [(row.pk, row.ino, row.file_name) for row in self.images(directory, after, limit)]

    def images(self, directory: int, after: str, limit: int) -> list[ImageRow]:
        """At most `limit` images of `directory` behind the file name `after`; fewer only at the end."""
        shown: list[ImageRow] = []
        while len(shown) < limit:
            asked = limit - len(shown) if self._status is None else max(limit, PAGE_ROWS)
            if self._view is None:
                rows = self._ground.reader.images(directory, after, asked)
            else:
                rows = self._ground.reader.view_images(self._view.pk, directory, after, asked)
            shown += rows if self._status is None else [row for row in rows if row.status == self._status]
            if len(rows) < asked:
                break
            after = rows[-1].file_name
        return shown[:limit]

    def holds(self, row: ImageRow) -> bool:
        """Is this image shown?"""
        if self._status is not None and row.status != self._status:
            return False
        if self._view is None:
            return True
        return self._view.value == (row.split if self._view.field == "split" else row.status)


class NoSelection(Selection):
    """Nothing has the value that is asked for: empty, in a dataset whose listing is whole."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground, None)

    def folders(self, directory: int, after: str, limit: int) -> list[Folder]:
        """None."""
        return []

    def folder(self, directory: int, name: str) -> Folder | None:
        """None."""
        return None

    def listed(self, directory: int, after: str, limit: int) -> Sequence[ImageRow | ListedImage]:
        """None."""
        return []

    def names(self, directory: int, after: str, limit: int) -> Sequence[tuple[int, int, str]]:
        """None."""
        return []

    def images(self, directory: int, after: str, limit: int) -> list[ImageRow]:
        """None."""
        return []

    def holds(self, row: ImageRow) -> bool:
        """No."""
        return False
