"""Versions: what storage and fetched bodies teach about images and annotations."""

from __future__ import annotations

from collections.abc import Sequence

from pictofs.catalog.blocks import BlockWrites
from pictofs.catalog.columns import pack_digest, pack_number
from pictofs.catalog.model import AnnotationRow, Change, ImageRow, Kind, node_id
from pictofs.catalog.placing import Placing
from pictofs.catalog.writing import image_entries, paged

_SUPERSEDE = (
    "INSERT INTO image (pk, ino, dataset, directory, file_name, annotation_name, identity, plain, size, "
    "created_ns, status, split, width, height, annotation_count, tags, annotation, marks) "
    "SELECT ?1, ifnull(ino, pk), dataset, ?2, file_name, annotation_name, identity, plain, ?3, "
    "?4, status, split, width, height, annotation_count, tags, annotation, marks FROM image WHERE pk = ?5"
)
_TRUTH = (
    "INSERT INTO truth SELECT pk, nullif(?2, size), ?3, ?4, ?5 FROM image WHERE pk = ?1 "
    "ON CONFLICT DO UPDATE SET size = excluded.size, generation = ifnull(excluded.generation, generation), "
    "md5 = ifnull(excluded.md5, md5), crc32c = ifnull(excluded.crc32c, crc32c)"
)


class VersionWrites(Placing, BlockWrites):
    """New versions of images and annotations."""

    def put_image_truth(
        self, image: int, size_bytes: int, generation: str = "", md5: str = "", crc32c: str = ""
    ) -> Change:
        """What the storage host says of this version: its size where none was known, and its checksums.

        Stays until the version changes. A size that differs from a known one means another version: then
        this does what `supersede_image` does. LookupError for a pk that does not exist.
        """
        row = self.image(image)
        if row is None:
            raise LookupError(f"no image {image}")
        if row.directory and row.size_bytes is not None and row.size_bytes != size_bytes:
            return self.supersede_image(image, size_bytes, generation, md5, crc32c)[1]
        with self._transaction(), self._counting(*([] if row.size_bytes == size_bytes else [image])):
            self._put_truth(image, size_bytes, generation, md5, crc32c)
        return Change()  # a size that was not known was given to nobody for longer than an instant

    def supersede_image(
        self, image: int, size_bytes: int, generation: str = "", md5: str = "", crc32c: str = ""
    ) -> tuple[ImageRow, Change]:
        """The stored object turned out to be another version: a new row under the same name.

        What the listing says of the old one is taken to mean the new one too, so that the next listing,
        unchanged, does not undo this. LookupError unless `image` is the current version.
        """
        old = self.image(image)
        if old is None or not old.directory:
            raise LookupError(f"image {image} is not current")
        with self._transaction():
            listed = self._rows("SELECT size FROM image WHERE pk = ?", (image,))[0][0]
            change = Change()
            pk = self._supersede(image, listed, old.created_ns, change)
            with self._counting(pk):
                self._put_truth(pk, size_bytes, generation, md5, crc32c)
            row = self.image(pk)
            assert row is not None
        return row, change

    def put_annotations(
        self, bodies: Sequence[tuple[int, str, int, int]]
    ) -> list[tuple[AnnotationRow, Change] | LookupError]:
        """Several at once, as `put_annotation` takes them; for each what that answers or raises."""
        found: list[tuple[AnnotationRow, Change] | LookupError] = []
        for page in paged(bodies):
            with self._transaction():
                for image, version, size_bytes, now_ns in page:
                    try:
                        found.append(self.put_annotation(image, version, size_bytes, now_ns))
                    except LookupError as error:
                        found.append(error)
        return found

    def put_annotation(
        self, image: int, version: str, size_bytes: int, now_ns: int
    ) -> tuple[AnnotationRow, Change]:
        """A body was fetched; `version` is its hash. The same one only moves `fetched_ns`.

        Otherwise a new row, and its mtime is `now_ns`; a first body's is the image's `created_ns`, as it
        was before the fetch. LookupError for an image that does not exist.
        """
        row = self.image(image)
        if row is not None and not row.directory:
            row = self.current_image(row.ino) or row
        if row is None:
            raise LookupError(f"no image {image}")
        packed = pack_digest(version)
        change = Change()
        with self._transaction():
            current = self.annotation(row.annotation)
            pk = row.annotation
            if current is None or current.size_bytes is None:
                self._run(
                    "INSERT INTO annotation (pk, ino, size, version, fetched_ns) VALUES (?, nullif(?, ?), ?, "
                    "?, ?)",
                    (pk, row.ino, pk, size_bytes, packed, now_ns),
                )
            elif (current.version, current.size_bytes) == (version, size_bytes):
                self._run("UPDATE annotation SET fetched_ns = ? WHERE pk = ?", (now_ns, pk))
            else:
                pk = self._draw()
                self._run("UPDATE annotation SET superseded = 1 WHERE pk = ?", (row.annotation,))
                self._run(
                    "INSERT INTO annotation (pk, ino, size, version, mtime_ns, fetched_ns) VALUES (?, ?, ?, "
                    "?, ?, ?)",
                    (pk, row.ino, size_bytes, packed, now_ns, now_ns),
                )
                self._run("UPDATE image SET annotation = ? WHERE pk = ?", (pk, row.pk))
                if row.directory:
                    change.entries += image_entries(row.directory, row.file_name, row.annotation_name)[1:]
            annotation = self.annotation(pk)
            assert annotation is not None
        return annotation, change

    def _put_truth(self, image: int, size_bytes: int, generation: str, md5: str, crc32c: str) -> None:
        self._run(_TRUTH, (image, size_bytes, pack_number(generation), pack_digest(md5), pack_digest(crc32c)))

    def _learn(self, image: int, size: int | None, created_ns: int) -> None:
        """A listing tells what an earlier one left out."""
        with self._counting(image):
            self._run("UPDATE image SET size = ?, created_ns = ? WHERE pk = ?", (size, created_ns, image))

    def _supersede(self, pk: int, size: int | None, created_ns: int, change: Change) -> int:
        """Another row takes the place and name of `pk`, with the size as listed; returns the new pk."""
        new = self._draw()
        dataset, directory, file_name, annotation, status, split = self._rows(
            "SELECT dataset, directory, file_name, annotation_name, status, split FROM image WHERE pk = ?",
            (pk,),
        )[0]
        # The annotation is the object's, but the links to both are this row's.
        change.entries += image_entries(directory, file_name, annotation)[:1]
        change.entries += self._view_entries(dataset, directory, file_name, annotation, status, split)
        self._retire(pk)
        self._run(_SUPERSEDE, (new, directory, size, created_ns, pk))
        self._run(
            "UPDATE dataset_count SET images = images + 1, known_bytes = known_bytes + ? WHERE dataset = ?",
            (size or 0, dataset),
        )
        return new

    def _retire(self, pk: int) -> None:
        """No name leads to this row any more; its directory's count is the caller's."""
        node = node_id(pk, Kind.IMAGE)
        self._run(
            "UPDATE dataset_count SET images = images - 1, cached = cached - ?, known_bytes = known_bytes - "
            "? "
            "WHERE dataset = (SELECT dataset FROM image WHERE pk = ?)",
            (int(self.whole(node)), self.size_bytes(node) or 0, pk),
        )
        self._run("UPDATE image SET directory = NULL WHERE pk = ?", (pk,))
