"""Reading members: what is inside an export's archive, by name and by row."""

from __future__ import annotations

from typing import NamedTuple

from pictofs import names
from pictofs.catalog.connected import Connected, Row
from pictofs.catalog.model import MemberRow, OpenedRow

_MEMBER = (
    "SELECT pk, export, parent, file_name, plain, method, encrypted, header, packed, size, crc32, data "
    "FROM member"
)

_LISTED = (
    "SELECT pk, file_name, method, size FROM member "
    "WHERE parent = ? AND file_name > ? ORDER BY file_name LIMIT ?"
)


class ListedMember(NamedTuple):
    """The part of a `MemberRow` that a directory's listing takes."""

    pk: int
    file_name: str
    method: int | None        # None: a directory
    size_bytes: int


class MemberReads(Connected):
    """Archives that were opened."""

    def opened(self, export: int) -> OpenedRow | None:
        """The members' pks of one version of an export; None until every one of them is in the catalog."""
        row = self._row("SELECT export, first, count FROM opened WHERE export = ? AND whole = 1", (export,))
        return OpenedRow(*row) if row else None

    def member(self, pk: int) -> MemberRow | None:
        """The member or the directory of that pk."""
        row = self._row(f"{_MEMBER} WHERE pk = ?", (pk,))
        return _member(row) if row else None

    def member_named(self, export: int, directory: int, file_name: str) -> MemberRow | None:
        """By its file name in a directory of an archive; `directory` 0 is the top."""
        row = self._row(
            f"{_MEMBER} WHERE parent = ? AND file_name = ?", (directory or -export, file_name)
        )
        return _member(row) if row else None

    def members(
        self, export: int, directory: int, after_name: str = "", limit: int = 1000
    ) -> list[MemberRow]:
        """At most `limit` of what is in a directory of an archive, behind a name, by file name."""
        sql = f"{_MEMBER} WHERE parent = ? AND file_name > ? ORDER BY file_name LIMIT ?"
        return [_member(row) for row in self._rows(sql, (directory or -export, after_name, limit))]

    def listed_members(
        self, export: int, directory: int, after_name: str = "", limit: int = 1000
    ) -> list[ListedMember]:
        """As `members`, with what a listing takes."""
        return list(map(ListedMember._make, self._rows(_LISTED, (directory or -export, after_name, limit))))

    def members_from(self, pk: int, limit: int) -> list[MemberRow]:
        """At most `limit` members from `pk` on as they lie in their archive; directories come last of all."""
        sql = f"{_MEMBER} WHERE pk >= ? ORDER BY pk LIMIT ?"
        return [_member(row) for row in self._rows(sql, (pk, limit))]

    def member_directories(self, export: int, limit: int) -> list[MemberRow]:
        """At most `limit` directories of an archive, the last ones first."""
        opened = self.opened(export)
        if opened is None:
            return []
        sql = f"{_MEMBER} WHERE pk BETWEEN ? AND ? ORDER BY pk DESC LIMIT ?"
        rows = self._rows(sql, (opened.first, opened.first + opened.count - 1, limit))
        return [found for row in rows if (found := _member(row)).method is None]


def _member(row: Row) -> MemberRow:
    pk, export, parent, file_name, plain, method, encrypted, header, packed, size, crc32, data = row
    return MemberRow(
        pk, export, max(0, parent), file_name, names.decode(plain) if plain is not None else file_name,
        method, bool(encrypted), header, packed, size, crc32, data,
    )  # fmt: skip
