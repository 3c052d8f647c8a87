"""An opened archive, asked by image: where in it an image and what is said of it are, and their bytes.

Archives of the service's own format hold `images/<directory>/<filename>` and
`annotations/<directory>/<stem>.json` (`<filename>.json` for a later image with the same stem), all of it
below train/, valid/ or test/ where they were ordered by split. A path is no proof: who takes a document looks
into it, and an image whose path another could have is not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cachetools import LRUCache

from pictofs import names
from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ExportRow, ImageRow, MemberRow, node_id
from pictofs.catalog.model import Kind as NodeKind
from pictofs.mirror.access import Membership
from pictofs.mirror.cutting import cut, end_of
from pictofs.mirror.excerpts import Excerpts
from pictofs.mirror.exports import Exports
from pictofs.mirror.singleflight import Progress

DIRECTORIES = 4096
SEARCHED = 64          # directories, where it is not known in which one a document is
NEAR_BYTES = 64 << 10  # a document whose neighbour begins so soon lies among others: they come by the block
_PARTS = {"val": "valid", "valid": "valid", "test": "test"}


class Chest:
    """Reads members for whoever wants files. Lives in one event loop."""

    def __init__(self, reader: CatalogReader, exports: Exports, excerpts: Excerpts) -> None:
        self._reader = reader
        self._exports = exports
        self._excerpts = excerpts
        self._everywhere: LRUCache[int, tuple[int, ...]] = LRUCache(16)
        self._directories: LRUCache[tuple[int, tuple[str, ...]], int | None] = LRUCache(DIRECTORIES)

    def image(self, export: ExportRow, image: ImageRow, path: str) -> MemberRow | None:
        """The member that is an image and can be no other; None where there is none, or a doubt.

        `path` is the image's directory, as the service writes it.
        """
        if "/" in image.remote_name:
            return None  # it may share its path with an image of a directory below
        for top in _tops(image):
            at = self._directory(export, (*top, "images", *names.directories(path)))
            row = self._named(export, at, image.remote_name)
            if row is not None:
                fits = row.size_bytes == image.size_bytes and not self._has_twin(export, row)
                return row if fits else None
        return None

    def documents(self, export: ExportRow, image: ImageRow, path: str) -> Iterator[MemberRow]:
        """The members that may be about an image, the likely first."""
        stem = image.remote_name.rpartition(".")[0] or image.remote_name
        for top in _tops(image):
            for name in dict.fromkeys((f"{stem}.json", f"{image.remote_name}.json")):
                *below, last = name.split("/")
                at = self._directory(export, (*top, "annotations", *names.directories(path), *below))
                row = self._named(export, at, last)
                if row is not None:
                    yield row
        if path == "/":
            # A dialect may tell no directories; the document tells whose it is.
            for at in self._all_directories(export):
                row = self._named(export, at, f"{stem}.json") or self._named(
                    export, at, f"{image.remote_name}.json"
                )
                if row is not None:
                    yield row

    async def document(
        self, member: Membership, export: ExportRow, row: MemberRow, moved: Progress
    ) -> bytes:
        """A small member's content; those beside it are on this machine from then on. PictofsError."""
        following = self._following(row)
        if following is None or following.header - row.header > NEAR_BYTES:
            return await self._cut(member, export, row, following, moved)
        end = end_of(row, following, export.size_bytes or 0)
        node = node_id(export.pk, NodeKind.EXPORT)
        return cut(row, await self._excerpts.read(member, node, row.header, end, moved))

    async def content(self, member: Membership, export: ExportRow, row: MemberRow, moved: Progress) -> bytes:
        """A member's content, by one request for just that. PictofsError."""
        return await self._cut(member, export, row, self._following(row), moved)

    async def _cut(
        self,
        member: Membership,
        export: ExportRow,
        row: MemberRow,
        following: MemberRow | None,
        moved: Progress,
    ) -> bytes:
        end = end_of(row, following, export.size_bytes or 0)
        return cut(row, await self._exports.part(member, export.pk, row.header, end - 1, moved))

    def _following(self, row: MemberRow) -> MemberRow | None:
        """The one that lies behind it in the archive."""
        return next(
            (each for each in self._reader.members_from(row.pk + 1, 1) if each.export == row.export), None
        )

    def _directory(self, export: ExportRow, components: Sequence[str]) -> int | None:
        """The pk of a directory in the archive."""
        if not components:
            return 0
        key = (export.pk, tuple(components))
        if key not in self._directories:
            above = self._directory(export, components[:-1])
            row = self._named(export, above, components[-1])
            self._directories[key] = row.pk if row is not None and row.method is None else None
        return self._directories[key]

    def _all_directories(self, export: ExportRow) -> tuple[int, ...]:
        """Those that images' documents may be in, where there are few."""
        if export.pk not in self._everywhere:
            rows = self._reader.member_directories(export.pk, SEARCHED + 1)
            pks = tuple(row.pk for row in rows if row.name != "images")
            self._everywhere[export.pk] = pks if len(rows) <= SEARCHED else ()
        return self._everywhere[export.pk]

    def _named(self, export: ExportRow, directory: int | None, name: str) -> MemberRow | None:
        if directory is None:
            return None
        row = self._reader.member_named(export.pk, directory, names.encode(name))
        # A name that is not the plain one is a later twin's.
        return row if row is not None and row.name in (name, row.file_name) else None

    def _has_twin(self, export: ExportRow, row: MemberRow) -> bool:
        """Whether another member has the same path: it is a later one, and carries a mark."""
        marked = f"{names.split_extension(row.file_name)[0]}~"
        plain = names.decode(row.file_name)
        for each in self._reader.members(export.pk, row.parent, marked, limit=64):
            if not each.file_name.startswith(marked):
                return False
            if each.name == plain:
                return True
        return False


def _tops(image: ImageRow) -> tuple[tuple[str, ...], ...]:
    """What may stand above everything in an archive."""
    return (), (_PARTS.get(image.split, "train"),)
