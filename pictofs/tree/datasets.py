"""A dataset's folder, with what always stands in it, and its dataset.json."""

from __future__ import annotations

from collections.abc import Callable

from pictofs.catalog.model import DatasetRow, Kind, node_id, node_pk
from pictofs.tree.attributes import told_apart_ns
from pictofs.tree.facts import Attr, DirEntry, Entry, File
from pictofs.tree.ground import Ground
from pictofs.tree.need import Asked
from pictofs.tree.place import Place
from pictofs.tree.views import faces_of
from pictofs.tree.xattrs import of_dataset

# name → the attributes of the child as they are known, given the dataset
Children = dict[str, Callable[[DatasetRow], Attr]]


class DatasetFolder(Place):
    """dataset.json, images/, annotations/, exports/, splits/ and status/.

    The names are the same in every dataset, so finding one asks nobody; the dataset itself is looked at when
    its own attributes are asked for, one request after `ttl`.
    """

    def __init__(self, ground: Ground, children: Children) -> None:
        self._ground = ground
        hidden = {"images", "annotations"} - set(faces_of(ground.settings.mode))
        self._children = {name: child for name, child in children.items() if name not in hidden}

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """One of the fixed names, its attributes as known: for no time where a look is due."""
        row = self._ground.dataset(node_pk(node))
        child = self._children.get(name)
        return Entry(child(row) if child else None, self._ground.settings.ttl_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """After a look at the dataset, when its age is over `ttl`."""
        row, valid_s = self._ground.looked_dataset(node_pk(node), asked)
        return self.attr(row, valid_s)

    def attr(self, row: DatasetRow, valid_s: float) -> Attr:
        """From the row alone."""
        subdirectories = len(self._children) - 1
        return self._ground.attributes.directory(
            node_id(row.pk, Kind.DATASET), row.updated_ns or row.created_ns, valid_s, subdirectories
        )

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The fixed names, in a fixed order."""
        row = self._ground.dataset(node_pk(node))
        entries = []
        for name, child in self._children.items():
            attr = child(row)
            entries.append(DirEntry(name, attr.node, attr.ino, attr.mode, attr.node, attr))
        passed = [place for place, entry in enumerate(entries) if entry.cookie == cookie]
        return entries[passed[0] + 1 if passed else 0 :][:limit]

    def xattrs(self, node: int) -> dict[str, str]:
        """What the service calls it."""
        return of_dataset(self._ground.dataset(node_pk(node)))

    def parent(self, node: int) -> int:
        """The organization."""
        return node_id(self._ground.dataset(node_pk(node)).organization, Kind.ORGANIZATION)

    def organization(self, node: int) -> int:
        """The one that it is in."""
        return self._ground.dataset(node_pk(node)).organization


class DatasetDocument(Place):
    """dataset.json: what the service says of the dataset."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def getattr(self, node: int, asked: Asked) -> Attr:
        """After a look at the dataset, when its age is over `ttl`."""
        row, valid_s = self._ground.looked_dataset(node_pk(node), asked)
        return self.attr(row, valid_s)

    def attr_as_known(self, row: DatasetRow) -> Attr:
        """Without a look: valid for no time where one is due."""
        look = node_id(row.pk, Kind.DATASET)
        return self.attr(row, self._ground.freshness.left_s(row.checked_ns, look))

    def attr(self, row: DatasetRow, valid_s: float) -> Attr:
        """From the row; the kernel is about to believe this length."""
        node = node_id(row.pk, Kind.DATASET_JSON)
        document = self._ground.show(node, row.document)
        mtime_ns = told_apart_ns(row.updated_ns or row.created_ns, document)
        return self._ground.attributes.file(node, node, len(document), mtime_ns, valid_s)

    def file(self, node: int, asked: Asked) -> File:
        """The text whose length was told last."""
        document = self._ground.shown(node, lambda: self._ground.dataset(node_pk(node)).document)
        return File(node, len(document), 1, True, document)

    def xattrs(self, node: int) -> dict[str, str]:
        """The dataset's."""
        return of_dataset(self._ground.dataset(node_pk(node)))

    def organization(self, node: int) -> int:
        """The dataset's."""
        return self._ground.dataset(node_pk(node)).organization
