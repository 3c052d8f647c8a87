"""exports/: completed archives as <name>.zip, opened as <name>/, and <name>.status.json of every export.

    EXPORTS (pk: dataset)      EXPORT (pk: export version)      EXPORT_STATUS (pk: export version)

The list of exports has its own age: an export moves nothing that the dataset says of itself. What is in an
opened archive is in `archives`; it stands in the list only where `opened=listed` says so, since a copy of the
folder would otherwise hold every byte twice.
"""

from __future__ import annotations

import errno

from pictofs.catalog.model import DatasetRow, ExportRow, Kind, block_bytes, node_id, node_kind, node_pk
from pictofs.link.messages import Look
from pictofs.tree.archives import ArchiveDirectory
from pictofs.tree.attributes import IMMUTABLE_S, ino_of, newest_ns, told_apart_ns
from pictofs.tree.facts import Attr, DirEntry, Entry, File
from pictofs.tree.ground import Ground
from pictofs.tree.need import Asked, Need
from pictofs.tree.place import Place, refuse
from pictofs.tree.xattrs import of_export

ARCHIVE = ".zip"
STATUS = ".status.json"


class ExportsDirectory(Place):
    """exports/ of a dataset."""

    def __init__(
        self, ground: Ground, archives: ExportFile, statuses: ExportStatus, opened: ArchiveDirectory
    ) -> None:
        self._ground = ground
        self._archives = archives
        self._statuses = statuses
        self._opened = opened

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """An archive, a status file, or an archive opened."""
        dataset = node_pk(node)
        valid_s = self._listed(dataset, asked)
        for suffix in (STATUS, ARCHIVE):
            if name.endswith(suffix):
                row = self._ground.reader.export_named(dataset, name.removesuffix(suffix))
                if row is not None and suffix == STATUS:
                    return Entry(self._statuses.attr(row, valid_s), valid_s)
                if row is not None and row.status == "completed":
                    return Entry(self._archives.attr(row), valid_s)
        if self._ground.settings.opened != "off":
            row = self._ground.reader.export_named(dataset, name)
            if row is not None and row.status == "completed":
                return Entry(self._opened.attr(row, node_id(row.pk, Kind.EXPORT_OPENED)), valid_s)
        return Entry(None, valid_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """Nothing is listed for a stat of it before somebody has looked inside."""
        row = self._ground.dataset(node_pk(node))
        if not row.exports_listed_ns:
            return self.attr_as_known(row.pk)
        return self._attr(row, self._listed(row.pk, asked))

    def attr_as_known(self, dataset: int) -> Attr:
        """The attributes without a look at anything."""
        row = self._ground.dataset(dataset)
        node = node_id(dataset, Kind.EXPORTS)
        if not row.exports_listed_ns:
            return self._attr(row, 0.0)
        return self._attr(row, self._ground.freshness.left_s(row.exports_listed_ns, node))

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """Two or three entries for a completed export, one for any other, by the export's name."""
        dataset = node_pk(node)
        if cookie == 0:
            valid_s = self._listed(dataset, asked)
        else:
            valid_s = self._ground.freshness.left_s(self._ground.dataset(dataset).exports_listed_ns, node)
        after = ("", 0)
        if cookie:
            row = self._ground.reader.export(node_pk(cookie))
            if row is None:
                refuse(errno.ESTALE)
            after = (row.file_name, int(node_kind(cookie)))
        entries: list[DirEntry] = []
        for row in self._ground.reader.exports(dataset):
            if row.status == "completed" and (row.file_name, int(Kind.EXPORT)) > after:
                entries.append(_entry(row.file_name + ARCHIVE, self._archives.attr(row)))
            if (row.file_name, int(Kind.EXPORT_STATUS)) > after:
                entries.append(_entry(row.file_name + STATUS, self._statuses.attr(row, valid_s)))
            listed = row.status == "completed" and self._ground.settings.opened == "listed"
            if listed and (row.file_name, int(Kind.EXPORT_OPENED)) > after:
                top = self._opened.attr(row, node_id(row.pk, Kind.EXPORT_OPENED))
                entries.append(_entry(row.file_name, top))
            if len(entries) >= limit:
                break
        return entries[:limit]

    def parent(self, node: int) -> int:
        """The dataset."""
        return node_id(node_pk(node), Kind.DATASET)

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(node_pk(node)).organization

    def _listed(self, dataset: int, asked: Asked) -> float:
        row = self._ground.dataset(dataset)
        look = node_id(dataset, Kind.EXPORTS)
        if row.exports_listed_ns:
            return self._ground.freshness.require(look, row.exports_listed_ns, asked, known=True)
        if asked.looked(look):
            refuse(errno.EIO)
        raise Need(Look(0, look))

    def _attr(self, dataset: DatasetRow, valid_s: float) -> Attr:
        rows = self._ground.reader.exports(dataset.pk)
        newest = newest_ns([dataset.created_ns, *(max(row.created_ns, row.completed_ns) for row in rows)])
        mtime_ns = told_apart_ns(newest, *(f"{row.pk}{row.status}" for row in rows))
        return self._ground.attributes.directory(node_id(dataset.pk, Kind.EXPORTS), mtime_ns, valid_s, 0)


def _entry(name: str, attr: Attr) -> DirEntry:
    return DirEntry(name, attr.node, attr.ino, attr.mode, attr.node, attr if attr.size_known else None)


class ExportFile(Place):
    """One version of an export's archive."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The size is the storage host's where the list does not give it."""
        return self.attr(self._sized(node, asked))

    def attr(self, row: ExportRow) -> Attr:
        """From the row alone; the mtime is the completion."""
        return self._ground.attributes.file(
            node_id(row.pk, Kind.EXPORT), ino_of(row.ino, Kind.EXPORT), row.size_bytes,
            row.completed_ns or row.created_ns, IMMUTABLE_S,
        )

    def file(self, node: int, asked: Asked) -> File:
        """Its size and whether it is the current version."""
        row = self._sized(node, asked)
        if row.size_bytes is None:
            refuse(errno.EIO)
        return File(node, row.size_bytes, block_bytes(Kind.EXPORT), not row.gone)

    def xattrs(self, node: int) -> dict[str, str]:
        """What the list says of it."""
        return of_export(self._row(node), self._ground.reader.whole(node))

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._row(node).dataset).organization

    def _row(self, node: int) -> ExportRow:
        row = self._ground.reader.export(node_pk(node))
        if row is None:
            refuse(errno.ESTALE)
        return row

    def _sized(self, node: int, asked: Asked) -> ExportRow:
        row = self._row(node)
        if row.size_bytes is None:
            if row.gone:
                refuse(errno.ESTALE)
            if asked.looked(node):
                refuse(errno.EIO)
            raise Need(Look(0, node))
        return row


class ExportStatus(Place):
    """What the service says of an export, whatever state it is in."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def getattr(self, node: int, asked: Asked) -> Attr:
        """As old as the list of exports may be."""
        row = self._row(node)
        freshness = self._ground.freshness
        listed_ns = self._ground.dataset(row.dataset).exports_listed_ns
        valid_s = freshness.require(node_id(row.dataset, Kind.EXPORTS), listed_ns, asked, known=True)
        return self.attr(self._row(node), valid_s)

    def attr(self, row: ExportRow, valid_s: float) -> Attr:
        """From the row alone; the kernel is about to believe this length."""
        node = node_id(row.pk, Kind.EXPORT_STATUS)
        document = self._ground.show(node, row.document)
        mtime_ns = told_apart_ns(row.completed_ns or row.created_ns, document)
        return self._ground.attributes.file(
            node, ino_of(row.ino, Kind.EXPORT_STATUS), len(document), mtime_ns, valid_s
        )

    def file(self, node: int, asked: Asked) -> File:
        """The text whose length was told last."""
        document = self._ground.shown(node, lambda: self._row(node).document)
        return File(node, len(document), 1, True, document)

    def xattrs(self, node: int) -> dict[str, str]:
        """What the list says of the export."""
        row = self._row(node)
        return of_export(row, self._ground.reader.whole(node_id(row.pk, Kind.EXPORT)))

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._row(node).dataset).organization

    def _row(self, node: int) -> ExportRow:
        row = self._ground.reader.export(node_pk(node))
        if row is None:
            refuse(errno.ESTALE)
        return row
