"""splits/ and status/: the images of one split or status, by reference.

    SPLITS, STATUSES (pk: dataset) ── VIEW (pk: view) ── VIEW_IMAGES, VIEW_ANNOTATIONS (pk: view_directory)
                                                           └── IMAGE_LINK, ANNOTATION_LINK (pk: image version)

Every entry is a relative symbolic link into images/ or annotations/, so nothing is cached twice and a link
tells by its target what it is. All of it comes from the listing of the dataset.
"""

from __future__ import annotations

import errno

from pictofs.catalog.model import (
    DatasetRow,
    ImageRow,
    Kind,
    ViewDirectoryRow,
    ViewRow,
    node_id,
    node_kind,
    node_pk,
)
from pictofs.tree import links
from pictofs.tree.attributes import IMMUTABLE_S, ino_of
from pictofs.tree.facts import Attr, DirEntry, Entry
from pictofs.tree.ground import Ground
from pictofs.tree.need import Asked
from pictofs.tree.place import Place, refuse
from pictofs.tree.selection import Selection


class ViewsDirectory(Place):
    """splits/ or status/: one folder for each value that some image has."""

    def __init__(self, ground: Ground, kind: Kind, field: str) -> None:
        self._ground = ground
        self._kind = kind
        self._field = field

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """The folder of a value."""
        dataset = node_pk(node)
        view = self._ground.reader.view_named(dataset, self._field, name)
        if view is not None and not self._shown(view):
            view = None
        valid_s = self._ground.listing(dataset, asked, found=view is not None)
        if view is None:
            return Entry(None, valid_s)
        return Entry(self._view_attr(view, valid_s), valid_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """As a directory of the dataset: nothing is listed for a stat of it."""
        row = self._ground.dataset(node_pk(node))
        if not row.listed_ns:
            return self.attr_as_known(row.pk)
        valid_s = self._ground.listing(row.pk, asked)
        return self._attr(self._ground.dataset(row.pk), valid_s)

    def attr_as_known(self, dataset: int) -> Attr:
        """The attributes without a look at anything."""
        return self._attr(self._ground.dataset(dataset), self._ground.listing_left_s(dataset))

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The values, by folder name."""
        dataset = node_pk(node)
        after = ""
        if cookie == 0:
            valid_s = self._ground.listing(dataset, asked)
        else:
            valid_s = self._ground.listing_left_s(dataset)
            view = self._ground.reader.view(node_pk(cookie))
            if view is None:
                refuse(errno.ESTALE)
            after = view.file_name
        views = [v for v in self._ground.reader.views(dataset, self._field) if v.file_name > after]
        entries = []
        for view in filter(self._shown, views):
            child = node_id(view.pk, Kind.VIEW)
            attr = self._view_attr(view, valid_s)
            entries.append(DirEntry(view.file_name, child, child, attr.mode, child, attr))
        return entries[:limit]

    def parent(self, node: int) -> int:
        """The dataset."""
        return node_id(node_pk(node), Kind.DATASET)

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(node_pk(node)).organization

    def _shown(self, view: ViewRow) -> bool:
        status = self._ground.settings.status_filter
        return status is None or view.field != "status" or view.value == status

    def _attr(self, row: DatasetRow, valid_s: float) -> Attr:
        node = node_id(row.pk, self._kind)
        if not row.listed_ns:
            return self._ground.attributes.directory(node, row.created_ns, 0.0, None)
        count = len([v for v in self._ground.reader.views(row.pk, self._field) if self._shown(v)])
        return self._ground.attributes.directory(node, row.listed_ns, valid_s, count)

    def _view_attr(self, view: ViewRow, valid_s: float) -> Attr:
        listed_ns = self._ground.dataset(view.dataset).listed_ns
        faces = len(faces_of(self._ground.settings.mode))
        return self._ground.attributes.directory(node_id(view.pk, Kind.VIEW), listed_ns, valid_s, faces)


class ViewFolder(Place):
    """splits/<split>/ or status/<status>/: holds images/ and annotations/."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """One of the two faces."""
        view = self._view(node)
        valid_s = self._ground.listing(view.dataset, asked, found=True)
        for entry in self._faces(view, valid_s):
            if entry.name == name:
                return Entry(entry.attr, valid_s)
        return Entry(None, valid_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The mtime is the listing's."""
        view = self._view(node)
        valid_s = self._ground.listing(view.dataset, asked)
        listed_ns = self._ground.dataset(view.dataset).listed_ns
        faces = len(faces_of(self._ground.settings.mode))
        return self._ground.attributes.directory(node, listed_ns, valid_s, faces)

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The faces that `mode` shows."""
        view = self._view(node)
        if cookie == 0:
            valid_s = self._ground.listing(view.dataset, asked)
        else:
            valid_s = self._ground.listing_left_s(view.dataset)
        entries = self._faces(view, valid_s)
        passed = [place for place, entry in enumerate(entries) if entry.cookie == cookie]
        return entries[passed[0] + 1 if passed else 0 :][:limit]

    def parent(self, node: int) -> int:
        """splits/ or status/."""
        view = self._view(node)
        return node_id(view.dataset, Kind.SPLITS if view.field == "split" else Kind.STATUSES)

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._view(node).dataset).organization

    def _view(self, node: int) -> ViewRow:
        view = self._ground.reader.view(node_pk(node))
        if view is None:
            refuse(errno.ESTALE)
        return view

    def _faces(self, view: ViewRow, valid_s: float) -> list[DirEntry]:
        dataset = self._ground.dataset(view.dataset)
        root = self._ground.reader.view_directory_for(view.pk, dataset.root_directory)
        if root is None:
            return []       # no image has the value any more
        entries = []
        for face in faces_of(self._ground.settings.mode):
            child = node_id(root.pk, Kind.VIEW_IMAGES if face == "images" else Kind.VIEW_ANNOTATIONS)
            attr = self._ground.attributes.directory(child, dataset.listed_ns, valid_s, None)
            entries.append(DirEntry(face, child, child, attr.mode, child, attr))
        return entries


class ViewMedia(Place):
    """images/ or annotations/ of a view, and the directories below that hold something of it."""

    def __init__(self, ground: Ground, kind: Kind, links: Link) -> None:
        self._ground = ground
        self._kind = kind
        self._links = links

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """A link, or a directory."""
        place, view = self._at(node)
        selection = self._selection(view)
        if self._kind is Kind.VIEW_IMAGES:
            image = self._ground.reader.image_named(place.directory, name)
        else:
            image = self._ground.reader.image_of_annotation_name(place.directory, name)
        if image is not None and selection.holds(image):
            valid_s = self._ground.listing(view.dataset, asked, found=True)
            return Entry(self._links.attr(image), valid_s)
        folder = selection.folder(place.directory, name)
        valid_s = self._ground.listing(view.dataset, asked, found=folder is not None)
        if folder is None:
            return Entry(None, valid_s)
        return Entry(self._attr(folder.view_directory, view, valid_s), valid_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The mtime is the listing's: an image that changes its split moves no directory's own."""
        place, view = self._at(node)
        return self._attr(place.pk, view, self._ground.listing(view.dataset, asked))

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """Directories by name, then links by the name of their image."""
        place, view = self._at(node)
        if cookie == 0:
            valid_s = self._ground.listing(view.dataset, asked)
        else:
            valid_s = self._ground.listing_left_s(view.dataset)
        selection = self._selection(view)
        after_folder, after_image = self._position(cookie)
        entries: list[DirEntry] = []
        if after_folder is not None:
            for folder in selection.folders(place.directory, after_folder, limit):
                attr = self._attr(folder.view_directory, view, valid_s)
                entries.append(DirEntry(folder.file_name, attr.node, attr.ino, attr.mode, attr.node, attr))
        if len(entries) < limit:
            for image in selection.images(place.directory, after_image, limit - len(entries)):
                attr = self._links.attr(image)
                name = image.file_name if self._kind is Kind.VIEW_IMAGES else image.annotation_name
                cookie = node_id(image.pk, Kind.IMAGE)
                entries.append(DirEntry(name, attr.node, attr.ino, attr.mode, cookie, attr))
        return entries

    def parent(self, node: int) -> int:
        """The directory above in the view, else the value's folder."""
        place, view = self._at(node)
        above = self._ground.directory(place.directory).parent
        if not above:
            return node_id(view.pk, Kind.VIEW)
        row = self._ground.reader.view_directory_for(view.pk, above)
        return node_id(row.pk, self._kind) if row else node_id(view.pk, Kind.VIEW)

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._at(node)[1].dataset).organization

    def _at(self, node: int) -> tuple[ViewDirectoryRow, ViewRow]:
        place = self._ground.reader.view_directory(node_pk(node))
        view = self._ground.reader.view(place.view) if place else None
        if place is None or view is None:
            refuse(errno.ESTALE)
        return place, view

    def _selection(self, view: ViewRow) -> Selection:
        status = self._ground.settings.status_filter
        return Selection(self._ground, view, status if view.field != "status" else None)

    def _position(self, cookie: int) -> tuple[str | None, str]:
        if cookie == 0:
            return "", ""
        if node_kind(cookie) is self._kind:
            place = self._ground.reader.view_directory(node_pk(cookie))
            if place is None:
                refuse(errno.ESTALE)
            return place.file_name, ""
        image = self._ground.reader.image(node_pk(cookie))
        if image is None:
            refuse(errno.ESTALE)
        return None, image.file_name

    def _attr(self, view_directory: int, view: ViewRow, valid_s: float) -> Attr:
        listed_ns = self._ground.dataset(view.dataset).listed_ns
        return self._ground.attributes.directory(
            node_id(view_directory, self._kind), listed_ns, valid_s, None
        )


class Link(Place):
    """A symbolic link of a view; which view is no part of it."""

    def __init__(self, ground: Ground, kind: Kind, face: str) -> None:
        self._ground = ground
        self._kind = kind
        self._face = face

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The mtime is the image's creation."""
        return self.attr(self._row(node))

    def attr(self, row: ImageRow) -> Attr:
        """From the image's row."""
        return self._ground.attributes.link(
            node_id(row.pk, self._kind), ino_of(row.ino, self._kind), len(self._target(row)), row.created_ns,
            IMMUTABLE_S,
        )

    def readlink(self, node: int) -> bytes:
        """The file below images/ or annotations/ of the same dataset."""
        return self._target(self._row(node))

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._row(node).dataset).organization

    def _row(self, node: int) -> ImageRow:
        row = self._ground.reader.image(node_pk(node))
        if row is None or row.directory == 0:
            refuse(errno.ESTALE)
        return row

    def _target(self, row: ImageRow) -> bytes:
        name = row.file_name if self._kind is Kind.IMAGE_LINK else row.annotation_name
        return links.target(self._face, self._ground.path_of(row.directory), name)


def faces_of(mode: str) -> list[str]:
    """What `mode` shows of a dataset's media, in the order in which it is listed."""
    return [
        face
        for face, hidden_by in (("images", "annotations_only"), ("annotations", "images_only"))
        if mode != hidden_by
    ]
