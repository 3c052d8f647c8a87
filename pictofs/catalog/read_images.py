"""Reading images and annotations."""

from __future__ import annotations

from pictofs import names
from pictofs.catalog.columns import (
    pack_id,
    unpack_digest,
    unpack_id,
    unpack_number,
    unpack_tags,
)
from pictofs.catalog.connected import Connected, Row
from pictofs.catalog.found import FoundAnnotation, FoundImage
from pictofs.catalog.model import AnnotationRow, ImageRow, Kind, ListedImage

IMAGE = (
    "SELECT i.pk, ifnull(i.ino, i.pk), i.dataset, ifnull(i.directory, 0), i.file_name, i.annotation_name, "
    "i.identity, "
    "i.plain, ifnull(t.size, i.size), i.created_ns, i.status, i.split, i.width, i.height, "
    "i.annotation_count, i.tags, "
    "t.generation, t.md5, t.crc32c, i.annotation FROM image i LEFT JOIN truth t ON t.image = i.pk"
)
# Whole statements, so that their hash, which finds the prepared one, is computed once.
_BY_PK = f"{IMAGE} WHERE i.pk = ?"
_BY_NAME = f"{IMAGE} WHERE i.directory = ? AND i.file_name = ?"
_PAGE = f"{IMAGE} WHERE i.directory = ? AND i.file_name > ? ORDER BY i.file_name LIMIT ?"
# What storage told of a size holds against what the listing says of it: see `supersede_image`.
_LISTED = (
    "SELECT pk, ifnull(ino, pk), file_name, annotation_name, coalesce(annotation, ino, pk), "
    "ifnull((SELECT t.size FROM truth t WHERE t.image = pk), size), created_ns "
    "FROM image WHERE directory = ? AND file_name > ? ORDER BY file_name LIMIT ?"
)
_NAMES = (
    "SELECT pk, ifnull(ino, pk), file_name FROM image WHERE directory = ? AND file_name > ? "
    "ORDER BY file_name LIMIT ?"
)
_FIRST_NAMES = (
    "SELECT pk, pk, file_name FROM image WHERE directory = ? AND file_name > ? ORDER BY file_name LIMIT ?"
)
_FOUND = (
    "SELECT i.pk, ifnull(i.ino, i.pk), i.file_name, "
    "ifnull((SELECT t.size FROM truth t WHERE t.image = i.pk), i.size), i.created_ns, "
    "b.path, b.size, b.crc32c, b.boot "
    f"FROM image i LEFT JOIN block b ON b.node = (i.pk << 8 | {int(Kind.IMAGE)}) AND b.block = 0 "
    "WHERE i.directory = ? AND i.file_name "
)
_FOUND_PAGE = f"{_FOUND} > ? ORDER BY i.file_name LIMIT ?"
_FOUND_NAMED = f"{_FOUND} = ?"
_BY_ANNOTATION = f"{IMAGE} WHERE i.directory = ? AND i.annotation_name = ?"
_ANNOTATION_PAGE = (
    f"{IMAGE} WHERE i.directory = ? AND i.annotation_name > ? ORDER BY i.annotation_name LIMIT ?"
)
_CURRENT = f"{IMAGE} WHERE i.pk = ? AND i.directory IS NOT NULL"
_CURRENT_LATER = f"{IMAGE} WHERE i.ino = ? AND i.directory IS NOT NULL"
_LAST = f"{IMAGE} WHERE i.ino = ? ORDER BY i.pk DESC LIMIT 1"
_KNOWN_AS = f"{IMAGE} WHERE i.dataset = ? AND i.identity = ? AND i.directory IS NOT NULL LIMIT 1"
# An image at its first version, whose pk is then that of its annotation's first version, and of no other's.
_FIRST = f"{IMAGE} WHERE i.pk = ? AND i.directory IS NOT NULL AND i.ino IS NULL"
_ANNOTATION = (
    "SELECT a.pk, ifnull(a.ino, a.pk), a.size, a.version, a.mtime_ns, a.fetched_ns, a.superseded FROM "
    "annotation a "
    "WHERE a.pk = ?"
)
# An annotation with its image, or the image of one that was never fetched, where the image is at its first
# version: nearly always, and one statement is one state of the catalog.
_ANNOTATION_OF_FIRST = (
    "SELECT i.pk, i.created_ns, a.size, a.version, a.mtime_ns, a.fetched_ns, a.superseded FROM image i "
    "LEFT JOIN annotation a ON a.pk = i.pk "
    "WHERE i.pk = ? AND i.directory IS NOT NULL AND i.ino IS NULL AND a.ino IS NULL"
)
_FOUND_ANNOTATION = (
    "SELECT coalesce(i.annotation, i.ino, i.pk), coalesce(a.ino, a.pk, i.ino, i.pk), i.dataset, a.size, "
    "ifnull(a.mtime_ns, i.created_ns), ifnull(a.fetched_ns, 0) "
    "FROM image i LEFT JOIN annotation a ON a.pk = coalesce(i.annotation, i.ino, i.pk) "
    "WHERE i.directory = ? AND i.annotation_name = ?"
)


class ImageReads(Connected):
    """What exists within a directory of a dataset."""

    def image(self, pk: int) -> ImageRow | None:
        """That version of an image, also one that is superseded or deleted (its `directory` is 0)."""
        row = self._row(_BY_PK, (pk,))
        return self._image(row) if row else None

    def image_named(self, directory: int, file_name: str) -> ImageRow | None:
        """The current image of that name."""
        row = self._row(_BY_NAME, (directory, file_name))
        return self._image(row) if row else None

    def found_image(self, directory: int, file_name: str) -> FoundImage | None:
        """The current image of that name, and what is here of it."""
        row = self._row(_FOUND_NAMED, (directory, file_name))
        return FoundImage._make(row) if row else None

    def found_images(self, directory: int, after_name: str, limit: int) -> list[FoundImage]:
        """The same of at most `limit` images of a directory behind the name `after_name`, by file name."""
        return list(map(FoundImage._make, self._rows(_FOUND_PAGE, (directory, after_name, limit))))

    def found_annotation(self, directory: int, annotation_name: str) -> FoundAnnotation | None:
        """The current annotation of that name."""
        row = self._row(_FOUND_ANNOTATION, (directory, annotation_name))
        return FoundAnnotation._make(row) if row else None

    def images(self, directory: int, after_name: str = "", limit: int = 1000) -> list[ImageRow]:
        """At most `limit` images of a directory behind the name `after_name`, by file name."""
        return [self._image(row) for row in self._rows(_PAGE, (directory, after_name, limit))]

    def listed_images(self, directory: int, after_name: str = "", limit: int = 1000) -> list[ListedImage]:
        """As `images`, with what a listing takes."""
        return list(map(ListedImage._make, self._rows(_LISTED, (directory, after_name, limit))))

    def image_names(self, directory: int, after_name: str, limit: int) -> list[tuple[int, int, str]]:
        """(pk, pk of the first version, file name) of the same, at half the cost again.

        While the catalog has seen no second version of anything, the index by name says all: 0.6 µs a name.
        """
        later = self._row("SELECT 1 FROM image WHERE ino IS NOT NULL LIMIT 1")
        return self._rows(_NAMES if later else _FIRST_NAMES, (directory, after_name, limit))

    def image_of_annotation_name(self, directory: int, annotation_name: str) -> ImageRow | None:
        """The image whose annotation has that name under annotations/."""
        row = self._row(_BY_ANNOTATION, (directory, annotation_name))
        return self._image(row) if row else None

    def images_by_annotation_name(self, directory: int, after: str = "", limit: int = 1000) -> list[ImageRow]:
        """At most `limit` images of a directory behind the annotation name `after`, by annotation name."""
        return [self._image(row) for row in self._rows(_ANNOTATION_PAGE, (directory, after, limit))]

    def current_image(self, ino: int) -> ImageRow | None:
        """The current version of the object whose first version was `ino`; None once deleted."""
        row = self._row(_CURRENT, (ino,)) or self._row(_CURRENT_LATER, (ino,))
        return self._image(row) if row else None

    def image_known_as(self, dataset: int, remote_id: str) -> ImageRow | None:
        """The current image of that remote id."""
        row = self._row(_KNOWN_AS, (dataset, pack_id(remote_id)))
        return self._image(row) if row else None

    def annotation(self, pk: int) -> AnnotationRow | None:
        """That version of an annotation; made up from the image when it was never fetched."""
        found = self._row(_ANNOTATION_OF_FIRST, (pk,))
        if found is not None:
            _, created_ns, size_bytes, version, mtime_ns, fetched_ns, superseded = found
            if fetched_ns is None:
                return AnnotationRow(pk, pk, pk, None, "", created_ns, 0, False)
            mtime_ns = created_ns if mtime_ns is None else mtime_ns
            return AnnotationRow(
                pk, pk, pk, size_bytes, unpack_digest(version), mtime_ns, fetched_ns, bool(superseded)
            )
        with self.snapshot():
            row = self._row(_ANNOTATION, (pk,))
            image = self._image_at(row[1] if row else pk)
        if row is None:
            if image is None or image.ino != pk:
                return None
            return AnnotationRow(pk, pk, image.pk, None, "", image.created_ns, 0, False)
        _, ino, size_bytes, version, mtime_ns, fetched_ns, superseded = row
        if mtime_ns is None:
            mtime_ns = image.created_ns if image else 0
        return AnnotationRow(
            pk,
            ino,
            image.pk if image else ino,
            size_bytes,
            unpack_digest(version),
            mtime_ns,
            fetched_ns,
            bool(superseded),
        )

    def annotation_fetched_ns(self, pk: int) -> int:
        """When that version of an annotation was fetched; 0 for never."""
        return int(self._value("SELECT fetched_ns FROM annotation WHERE pk = ?", (pk,)))

    def image_of_annotation(self, pk: int) -> ImageRow | None:
        """The image that a version of an annotation belongs to, in its current version where there is one."""
        found = self._row(_FIRST, (pk,))
        if found is not None:
            return self._image(found)
        with self.snapshot():
            row = self._row("SELECT ifnull(ino, pk) FROM annotation WHERE pk = ?", (pk,))
            image = self._image_at(row[0] if row else pk)
        return image if image is not None and (row is not None or image.ino == pk) else None

    def _image_at(self, ino: int) -> ImageRow | None:
        """The current version of an object, else its last one that is still kept."""
        image = self.current_image(ino)
        if image is not None:
            return image
        row = self._row(_LAST, (ino,)) or self._row(_BY_PK, (ino,))
        return self._image(row) if row else None

    def _image(self, row: Row) -> ImageRow:
        # fmt: off
        (
            pk, ino, dataset, directory, file_name, annotation_name, identity, plain, size_bytes, created_ns,
            status, split, width, height, annotation_count, tags, generation, md5, crc32c, annotation,
        ) = row
        # fmt: on
        words = self._words
        return ImageRow(
            pk,
            ino,
            dataset,
            directory,
            file_name,
            annotation_name,
            unpack_id(identity),
            names.decode(plain or file_name) if plain or "%" in file_name else file_name,
            size_bytes,
            created_ns,
            words.get(status) or self._word(status) if status else "",
            words.get(split) or self._word(split) if split else "",
            width,
            height,
            annotation_count,
            unpack_tags(self._word(tags)) if tags else (),
            unpack_number(generation) if generation is not None else "",
            unpack_digest(md5) if md5 is not None else "",
            unpack_digest(crc32c) if crc32c is not None else "",
            annotation or ino,
        )
