"""exports/<export>/…: a completed archive opened, its members as files.

    EXPORT_OPENED (pk: export version)      MEMBER_DIRECTORY, MEMBER (pk: member)

An archive never changes, so what was learned of it is right for good: nothing below here has an age. The
names of a new version's members lead to new nodes, as its own name does.
"""

from __future__ import annotations

import errno
import zipfile

from pictofs.catalog.model import ExportRow, Kind, MemberRow, block_bytes, node_id, node_kind, node_pk
from pictofs.link.messages import Look
from pictofs.tree.attributes import IMMUTABLE_S
from pictofs.tree.facts import Attr, DirEntry, Entry, File
from pictofs.tree.ground import Ground
from pictofs.tree.need import Asked, Need
from pictofs.tree.place import Place, refuse
from pictofs.tree.xattrs import of_export, of_member

READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveDirectory(Place):
    """A directory of an opened archive; of kind EXPORT_OPENED its top."""

    def __init__(self, ground: Ground, files: MemberFile) -> None:
        self._ground = ground
        self._files = files
        self._opened: set[int] = set()  # exports whose members are known, for good

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """A member, or a directory that members lie in."""
        export, directory = self._inside(node, asked)
        row = self._ground.reader.member_named(export.pk, directory, name)
        return Entry(self._attr(export, row) if row else None, IMMUTABLE_S)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """Nobody has to open the archive for it."""
        return self.attr(self._where(node)[0], node)

    def attr(self, export: ExportRow, node: int) -> Attr:
        """From the export's row alone; the mtime is its completion, here and of all that is below."""
        mtime_ns = export.completed_ns or export.created_ns
        return self._ground.attributes.directory(node, mtime_ns, IMMUTABLE_S, None)

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """By file name."""
        export, directory = self._inside(node, asked)
        after = ""
        if cookie:
            last = self._ground.reader.member(node_pk(cookie))
            if last is None:
                refuse(errno.ESTALE)
            after = last.file_name
        mtime_ns = export.completed_ns or export.created_ns
        file, folder = self._ground.attributes.file, self._ground.attributes.directory
        entries = []
        for pk, file_name, method, size_bytes in self._ground.reader.listed_members(
            export.pk, directory, after, limit
        ):
            if method is None:
                node = node_id(pk, Kind.MEMBER_DIRECTORY)
                attr = folder(node, mtime_ns, IMMUTABLE_S, None)
            else:
                node = node_id(pk, Kind.MEMBER)
                attr = file(node, node, size_bytes, mtime_ns, IMMUTABLE_S)
            entries.append(DirEntry(file_name, node, node, attr.mode, node, attr))
        return entries

    def xattrs(self, node: int) -> dict[str, str]:
        """Of the top what the list says of the export."""
        if node_kind(node) is Kind.EXPORT_OPENED:
            export = self._where(node)[0]
            return of_export(export, self._ground.reader.whole(node_id(export.pk, Kind.EXPORT)))
        row = self._ground.reader.member(node_pk(node))
        return of_member(row, None) if row else {}

    def parent(self, node: int) -> int:
        """The directory that it lies in; exports/ of the dataset at the top."""
        if node_kind(node) is Kind.EXPORT_OPENED:
            return node_id(self._where(node)[0].dataset, Kind.EXPORTS)
        row = self._ground.reader.member(node_pk(node))
        if row is None:
            refuse(errno.ESTALE)
        return directory_of(row)

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._where(node)[0].dataset).organization

    def _where(self, node: int) -> tuple[ExportRow, int]:
        """(export, pk of the directory in it, 0 at the top)."""
        pk, directory = node_pk(node), 0
        if node_kind(node) is Kind.MEMBER_DIRECTORY:
            row = self._ground.reader.member(pk)
            if row is None:
                refuse(errno.ESTALE)
            pk, directory = row.export, pk
        export = self._ground.reader.export(pk)
        if export is None or export.gone:
            refuse(errno.ESTALE)
        return export, directory

    def _inside(self, node: int, asked: Asked) -> tuple[ExportRow, int]:
        """The same, once the members are known."""
        export, directory = self._where(node)
        self._ground.dataset(export.dataset)
        if export.pk not in self._opened:
            if self._ground.reader.opened(export.pk) is None:
                look = node_id(export.pk, Kind.EXPORT_OPENED)
                if asked.looked(look):
                    refuse(errno.EIO)
                raise Need(Look(0, look))
            self._opened.add(export.pk)
        return export, directory

    def _attr(self, export: ExportRow, row: MemberRow) -> Attr:
        return self.attr(export, row.node) if row.method is None else self._files.attr(export, row)


class MemberFile(Place):
    """One member of one version of an export's archive."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def getattr(self, node: int, asked: Asked) -> Attr:
        """As the archive's directory says."""
        row, export = self._rows(node)
        return self.attr(export, row)

    def attr(self, export: ExportRow, row: MemberRow) -> Attr:
        """The size is the member's, the mtime the export's completion."""
        mtime_ns = export.completed_ns or export.created_ns
        return self._ground.attributes.file(row.node, row.node, row.size_bytes, mtime_ns, IMMUTABLE_S)

    def file(self, node: int, asked: Asked) -> File:
        """A stored member lies in the archive's blocks; a deflated one has its own.

        EOPNOTSUPP for an encrypted one, and for other methods of compression.
        """
        row, export = self._rows(node)
        if row.encrypted or row.method not in READABLE:
            refuse(errno.EOPNOTSUPP)
        if row.method == zipfile.ZIP_DEFLATED or not row.size_bytes:
            return File(node, row.size_bytes, block_bytes(Kind.MEMBER), not export.gone)
        if row.data is None:
            if export.gone:
                refuse(errno.ESTALE)
            if asked.looked(node):
                refuse(errno.EIO)
            raise Need(Look(0, node))
        archive = node_id(export.pk, Kind.EXPORT)
        return File(
            archive, row.size_bytes, block_bytes(Kind.EXPORT), not export.gone, offset_bytes=row.data
        )

    def xattrs(self, node: int) -> dict[str, str]:
        """What the archive says of it."""
        row, export = self._rows(node)
        if row.method == zipfile.ZIP_DEFLATED:
            return of_member(row, self._ground.reader.whole(node))
        return of_member(row, self._ground.reader.whole(node_id(export.pk, Kind.EXPORT)) or None)

    def parent(self, node: int) -> int:
        """The directory that it lies in."""
        return directory_of(self._rows(node)[0])

    def organization(self, node: int) -> int:
        """That of the dataset."""
        return self._ground.dataset(self._rows(node)[1].dataset).organization

    def _rows(self, node: int) -> tuple[MemberRow, ExportRow]:
        row = self._ground.reader.member(node_pk(node))
        export = self._ground.reader.export(row.export) if row else None
        if row is None or export is None:
            refuse(errno.ESTALE)
        return row, export


def directory_of(row: MemberRow) -> int:
    """The node of the directory that a member or a directory lies in."""
    if row.parent:
        return node_id(row.parent, Kind.MEMBER_DIRECTORY)
    return node_id(row.export, Kind.EXPORT_OPENED)
