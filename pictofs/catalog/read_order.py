"""Reading a dataset in the order in which people walk it, and many rows at once: what look-ahead needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pictofs.catalog.columns import unpack_number
from pictofs.catalog.connected import Connected
from pictofs.catalog.model import ImageRow
from pictofs.catalog.read_images import IMAGE, ImageReads

_MANY = 64  # values of one IN (…): two lengths of statement, so that both stay prepared
_MARKS = ",".join("?" * _MANY)
_IMAGES_MANY = f"{IMAGE} WHERE i.pk IN ({_MARKS})"
_VERSIONS_MANY = (
    "SELECT i.pk, ifnull(t.size, i.size), t.generation FROM image i LEFT JOIN truth t ON t.image = i.pk "
    f"WHERE i.directory IS NOT NULL AND i.pk IN ({_MARKS})"
)
_HELD_MANY = f"SELECT DISTINCT node FROM block WHERE node IN ({_MARKS})"


class OrderReads(ImageReads, Connected):
    """The listing order of a dataset, and rows by the handful."""

    def walk(self, dataset: int, page: int = 1000) -> Iterator[tuple[int, list[int]]]:
        """(directory, pks of images) in readdir's order: each directory's subdirectories, then its images.

        In pages of at most `page` images; each page is a transaction of its own.
        """
        root = self._row("SELECT root_directory FROM dataset WHERE pk = ?", (dataset,))
        waiting: list[tuple[int, bool]] = [(int(root[0]), False)] if root and root[0] else []
        while waiting:
            directory, descended = waiting.pop()
            if not descended:
                below = self._rows(
                    "SELECT pk FROM directory WHERE parent = ? ORDER BY file_name DESC", (directory,)
                )
                waiting.append((directory, True))
                waiting += [(pk, False) for (pk,) in below]
                continue
            after = ""
            while True:
                rows = self._rows(
                    "SELECT pk, file_name FROM image WHERE directory = ? AND file_name > ? "
                    "ORDER BY file_name LIMIT ?",
                    (directory, after, page),
                )
                if rows:
                    yield directory, [pk for pk, _ in rows]
                if len(rows) < page:
                    break
                after = rows[-1][1]

    def parents(self, dataset: int) -> dict[int, int]:
        """Directory → the one it is in, 0 for the root, of all directories of a dataset."""
        return dict(self._rows("SELECT pk, parent FROM directory WHERE dataset = ?", (dataset,)))

    def images_at(self, pks: Sequence[int]) -> list[ImageRow]:
        """The rows of these pks, in their order; those that do not exist are left out."""
        found: dict[int, ImageRow] = {}
        for some in _by_many(pks):
            found.update((row[0], self._image(row)) for row in self._rows(_IMAGES_MANY, some))
        return [found[pk] for pk in pks if pk in found]

    def versions_at(self, pks: Sequence[int]) -> dict[int, tuple[int | None, str]]:
        """(size, generation) of those of these images that are current, as far as they are known."""
        found: dict[int, tuple[int | None, str]] = {}
        for some in _by_many(pks):
            found.update(
                (pk, (size_bytes, unpack_number(generation)))
                for pk, size_bytes, generation in self._rows(_VERSIONS_MANY, some)
            )
        return found

    def held(self, nodes: Sequence[int]) -> set[int]:
        """Those of these nodes of which some block is in the store."""
        found: set[int] = set()
        for some in _by_many(nodes):
            found.update(node for (node,) in self._rows(_HELD_MANY, some))
        return found


def _by_many(values: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(values), _MANY):
        some = list(values[start : start + _MANY])
        yield some + [some[-1]] * (_MANY - len(some))
