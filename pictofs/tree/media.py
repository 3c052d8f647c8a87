"""images/ and annotations/: one tree of directories, seen twice, and the files in it.

    IMAGES, ANNOTATIONS (pk: directory)      IMAGE (pk: image version)      ANNOTATION (pk: its version)

A listing is whole and at most ttl old before a directory is read, before its attributes are told and before a
name is said not to exist. Continuing a directory (cookie ≠ 0) asks nothing more. A cookie is the node of
the entry before it: its row still holds the name when the file is gone, so a directory continues there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, TypeAlias

from pictofs.catalog.found import FoundAnnotation, FoundImage
from pictofs.catalog.model import (
    MEDIA_BLOCK_BYTES,
    AnnotationRow,
    DirectoryRow,
    ImageRow,
    Kind,
    node_id,
    node_kind,
    node_pk,
)
from pictofs.link.messages import Look
from pictofs.tree.attributes import IMMUTABLE_S, ino_of
from pictofs.tree.facts import Attr, DirEntry, Entry, File
from pictofs.tree.ground import Ground
from pictofs.tree.need import Asked, Need
from pictofs.tree.place import Place, refuse
from pictofs.tree.selection import NoSelection, Selection
from pictofs.tree.xattrs import of_annotation, of_image

# An annotation's body is asked for again after this many ttl where nothing says that it changed.
ANNOTATION_AGES = 10

_IMAGE = int(Kind.IMAGE)
_ANNOTATION = int(Kind.ANNOTATION)
_Files: TypeAlias = Callable[[Selection, int, str, int], list[DirEntry]]

class MediaDirectory(Place):
    """A directory of a dataset, under one of its two faces."""

    kind: Kind

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._all = Selection(ground, None)

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """A file or a subdirectory; a name already seen resolves while the listing is on its way."""
        directory = node_pk(node)
        ground = self._ground
        dataset = ground.dataset_of(directory)
        selection = self.selection(dataset)
        file = self._file_named(selection, directory, name)
        if file is not None:
            valid_s = ground.listing(dataset, asked, found=True)
            return self._file_entry(file, valid_s, asked)
        folder = selection.folder(directory, name)
        valid_s = ground.listing(dataset, asked, found=folder is not None)
        if folder is None:
            return Entry(None, valid_s)
        row = ground.directory(folder.directory)
        return Entry(self._attr(row, valid_s), valid_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """Type and owner are known at once; the mtime moves with the listing, which is looked at for it.

        A directory whose dataset was never listed has no such mtime yet: stat of it lists nothing.
        """
        row = self._ground.directory(node_pk(node))
        if not self._ground.dataset(row.dataset).listed_ns:
            return self._attr(row, 0.0)
        valid_s = self._ground.listing(row.dataset, asked)
        return self._attr(self._ground.directory(row.pk), valid_s)

    def attr_as_known(self, directory: int) -> Attr:
        """The attributes without a look at anything: valid for no time where one is due."""
        row = self._ground.directory(directory)
        return self._attr(row, self._ground.listing_left_s(row.dataset))

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """Subdirectories by name, then files by the name of their image."""
        return self._entries(node, cookie, limit, asked, self._dir_entries)

    def _entries(self, node: int, cookie: int, limit: int, asked: Asked, files: _Files) -> list[DirEntry]:
        ground = self._ground
        directory = ground.directory(node_pk(node))
        if cookie == 0:
            valid_s = ground.listing(directory.dataset, asked)
        else:
            valid_s = ground.listing_left_s(directory.dataset)
        selection = self.selection(directory.dataset)
        after_folder, after_image = self._position(cookie)
        entries: list[DirEntry] = []
        if after_folder is not None:
            for folder in selection.folders(directory.pk, after_folder, limit):
                child = node_id(folder.directory, self.kind)
                attr = self._attr(ground.directory(folder.directory), valid_s)
                mode = ground.attributes.directory_mode
                entries.append(DirEntry(folder.file_name, child, child, mode, child, attr))
        if len(entries) < limit:
            entries += files(selection, directory.pk, after_image, limit - len(entries))
        return entries

    def xattrs(self, node: int) -> dict[str, str]:
        """What the service calls the directory."""
        row = self._ground.directory(node_pk(node))
        return {"name": row.remote_path}

    def parent(self, node: int) -> int:
        """The directory above, else the dataset."""
        row = self._ground.directory(node_pk(node))
        if row.parent:
            return node_id(row.parent, self.kind)
        return node_id(row.dataset, Kind.DATASET)

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._ground.dataset_of(node_pk(node))).organization

    def selection(self, dataset: int) -> Selection:
        """What `status_filter` shows of a dataset."""
        status = self._ground.settings.status_filter
        if status is None:
            return self._all
        for view in self._ground.reader.views(dataset, "status"):
            if view.value == status:
                return Selection(self._ground, view)
        return NoSelection(self._ground)

    def _attr(self, row: DirectoryRow, valid_s: float) -> Attr:
        mtime_ns, count = row.mtime_ns, row.subdirectories
        dataset = None
        if self._ground.settings.status_filter is not None or not row.parent:
            dataset = self._ground.dataset(row.dataset)
        if dataset is not None and not dataset.listed_ns:
            return self._ground.attributes.directory(
                node_id(row.pk, self.kind), mtime_ns or dataset.created_ns, 0.0, None
            )
        if dataset is not None and self._ground.settings.status_filter is not None:
            # an image that changes its status moves no directory's own mtime
            return self._ground.attributes.directory(
                node_id(row.pk, self.kind), dataset.listed_ns, valid_s, None
            )
        return self._ground.attributes.directory(node_id(row.pk, self.kind), mtime_ns, valid_s, count)

    def _position(self, cookie: int) -> tuple[str | None, str]:
        """Where to go on: behind which subdirectory (None: behind all), behind which image."""
        if cookie == 0:
            return "", ""
        kind = node_kind(cookie)
        if kind is self.kind:
            return self._ground.directory(node_pk(cookie)).file_name, ""
        image = self._ground.reader.image(node_pk(cookie)) if kind is Kind.IMAGE else None
        if image is None:
            refuse(errno.ESTALE)
        return None, image.file_name

    def _file_named(self, selection: Selection, directory: int, name: str) -> Any:
        raise NotImplementedError

    def _file_entry(self, file: Any, valid_s: float, asked: Asked) -> Entry:
        raise NotImplementedError

    def _dir_entries(self, selection: Selection, directory: int, after: str, limit: int) -> list[DirEntry]:
        raise NotImplementedError


class ImagesDirectory(MediaDirectory):
    """A directory under images/."""

    kind = Kind.IMAGES

    def __init__(self, ground: Ground, files: ImageFile) -> None:
        super().__init__(ground)
        self._files = files

    def _file_named(self, selection: Selection, directory: int, name: str) -> ImageRow | FoundImage | None:
        if self._ground.settings.status_filter is None:
            return self._ground.image_named(directory, name)
        image = self._ground.reader.image_named(directory, name)
        return image if image is not None and selection.holds(image) else None

    def _file_entry(self, file: ImageRow | FoundImage, valid_s: float, asked: Asked) -> Entry:
        return Entry(self._files.attr(file), valid_s)

    def names(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """See Place; half the cost, of which 200,000 take a second."""
        return self._entries(node, cookie, limit, asked, self._names)

    def _names(self, selection: Selection, directory: int, after: str, limit: int) -> list[DirEntry]:
        mode = self._ground.attributes.file_mode
        return [
            DirEntry(name, pk << 8 | _IMAGE, ino << 8 | _IMAGE, mode, pk << 8 | _IMAGE, None)
            for pk, ino, name in selection.names(directory, after, limit)
        ]

    def _dir_entries(self, selection: Selection, directory: int, after: str, limit: int) -> list[DirEntry]:
        file, mode, kind = self._ground.attributes.file, self._ground.attributes.file_mode, int(Kind.IMAGE)
        entries = []
        sizes: dict[int, int] = {}
        for image in selection.listed(directory, after, limit):
            node, ino, size_bytes = image.pk << 8 | kind, image.ino << 8 | kind, image.size_bytes
            attr = None
            if size_bytes is not None:
                attr = file(node, ino, size_bytes, image.created_ns, IMMUTABLE_S)
                sizes[node] = size_bytes
            entries.append(DirEntry(image.file_name, node, ino, mode, node, attr))
        self._ground.sizes.told(sizes)
        return entries


class AnnotationsDirectory(MediaDirectory):
    """A directory under annotations/: as many files, each with the name that its image's annotation has."""

    kind = Kind.ANNOTATIONS

    def __init__(self, ground: Ground, files: AnnotationFile) -> None:
        super().__init__(ground)
        self._files = files

    def _file_named(self, selection: Selection, directory: int, name: str) -> FoundAnnotation | None:
        reader = self._ground.reader
        if self._ground.settings.status_filter is not None:
            image = reader.image_of_annotation_name(directory, name)
            if image is None or not selection.holds(image):
                return None
        return reader.found_annotation(directory, name)

    def _file_entry(self, file: FoundAnnotation, valid_s: float, asked: Asked) -> Entry:
        if file.size_bytes is not None:
            self._files.look(file, file.dataset, asked)
            valid_s = self._ground.freshness.until_old_s(file.fetched_ns, ANNOTATION_AGES, valid_s)
            self._ground.sizes.told({file.pk << 8 | _ANNOTATION: file.size_bytes})
        return Entry(self._files.attr(file, valid_s), valid_s)

    def _dir_entries(self, selection: Selection, directory: int, after: str, limit: int) -> list[DirEntry]:
        # the body's row is another query each; who wants attributes asks for them
        mode, kind, image_kind = self._ground.attributes.file_mode, int(Kind.ANNOTATION), int(Kind.IMAGE)
        return [
            DirEntry(
                image.annotation_name,
                image.annotation << 8 | kind,
                image.ino << 8 | kind,
                mode,
                image.pk << 8 | image_kind,
                None,
            )
            for image in selection.listed(directory, after, limit)
        ]


class ImageFile(Place):
    """One version of an image. A version never changes: a new one has another node."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def getattr(self, node: int, asked: Asked) -> Attr:
        """Where the service gives no size, the storage host is asked; never a guess."""
        found = self._ground.known.node(node)
        if found is not None and found.size_bytes is not None:
            return self.attr(found)
        return self.attr(self._sized(node, asked))

    def attr(self, row: ImageRow | FoundImage) -> Attr:
        """From the row alone."""
        return self._ground.attributes.file(
            row.pk << 8 | _IMAGE, row.ino << 8 | _IMAGE, row.size_bytes, row.created_ns, IMMUTABLE_S
        )

    def file(self, node: int, asked: Asked) -> File:
        """Its size and whether it is the current version, as far as is remembered."""
        size_bytes = self._ground.size_bytes(node)
        if size_bytes is not None:
            return File(node, size_bytes, MEDIA_BLOCK_BYTES, True)
        row = self._sized(node, asked)
        if row.size_bytes is None:
            refuse(errno.EIO)
        return File(node, row.size_bytes, MEDIA_BLOCK_BYTES, row.directory != 0)

    def xattrs(self, node: int) -> dict[str, str]:
        """Everything the listing says of it."""
        return of_image(self._row(node), self._ground.reader.whole(node))

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._row(node).dataset).organization

    def _row(self, node: int) -> ImageRow:
        row = self._ground.reader.image(node_pk(node))
        if row is None:
            refuse(errno.ESTALE)
        return row

    def _sized(self, node: int, asked: Asked) -> ImageRow:
        row = self._row(node)
        if row.size_bytes is None:
            if row.directory == 0:
                refuse(errno.ESTALE)
            if asked.looked(node):
                refuse(errno.EIO)
            raise Need(Look(0, node))
        return row


class AnnotationFile(Place):
    """One version of an annotation's body."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def attr(self, row: AnnotationRow | FoundAnnotation, valid_s: float) -> Attr:
        """From the row alone; of unknown size where it was never fetched."""
        node, ino = node_id(row.pk, Kind.ANNOTATION), ino_of(row.ino, Kind.ANNOTATION)
        return self._ground.attributes.file(node, ino, row.size_bytes, row.mtime_ns, valid_s)

    def look(self, row: AnnotationRow | FoundAnnotation, dataset: int, asked: Asked) -> None:
        """Raises Need where the body is missing or may be another by now.

        That is after the dataset changed, and after ten ttl where nothing tells of a change (the service may
        hold a count and `updated_at` still). Whether a request is worth it is decided behind the link.
        """
        node = node_id(row.pk, Kind.ANNOTATION)
        if row.size_bytes is None:
            if asked.looked(node):
                refuse(errno.EIO)
            raise Need(Look(0, node))
        known = self._ground.dataset(dataset)
        freshness = self._ground.freshness
        changed = row.fetched_ns <= max(known.listed_ns, known.updated_ns)
        if changed or freshness.age_s(row.fetched_ns) > ANNOTATION_AGES * freshness.ttl_s:
            freshness.require(node, 0, asked, known=True)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The exact size, the body being fetched for it."""
        row, image, current = self._version(node)
        if current:
            self.look(row, image.dataset, asked)
        elif row.size_bytes is None:
            refuse(errno.ESTALE)
        if not current:
            return self.attr(row, IMMUTABLE_S)
        left_s = self._ground.listing_left_s(image.dataset)
        return self.attr(row, self._ground.freshness.until_old_s(row.fetched_ns, ANNOTATION_AGES, left_s))

    def file(self, node: int, asked: Asked) -> File:
        """Its size; a body that is known is read as it is, its age being the business of whoever opens it."""
        size_bytes = self._ground.size_bytes(node)
        if size_bytes is not None:
            return File(node, size_bytes, MEDIA_BLOCK_BYTES, True)
        row, image, current = self._version(node)
        if row.size_bytes is None:
            if not current:
                refuse(errno.ESTALE)
            self.look(row, image.dataset, asked)
            refuse(errno.EIO)
        return File(node, row.size_bytes, MEDIA_BLOCK_BYTES, current)

    def xattrs(self, node: int) -> dict[str, str]:
        """Of the body, and of the image that it belongs to."""
        row, image, _ = self._version(node)
        return of_annotation(row, image, self._ground.reader.whole(node))

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._version(node)[1].dataset).organization

    def _version(self, node: int) -> tuple[AnnotationRow, ImageRow, bool]:
        """The row, its image, and whether a name still leads here."""
        pk = node_pk(node)
        row = self._ground.reader.annotation(pk)
        image = self._ground.reader.image_of_annotation(pk)
        if row is None or image is None:
            refuse(errno.ESTALE)
        return row, image, image.directory != 0 and image.annotation == pk
