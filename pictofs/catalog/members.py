"""Writing members: an archive's central directory, page by page, and what its local headers tell.

Until its last page is here an archive is not opened: a process that died meanwhile leaves rows that the next
opening removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pictofs import names
from pictofs.catalog.model import Change, Kind, MemberFacts, OpenedRow, node_id
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, Writing

_INSERT = (
    "INSERT INTO member (pk, export, parent, file_name, plain, method, encrypted, header, packed, size, "
    "crc32) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class MemberWrites(Writing):
    """What archives hold."""

    def begin_opening(self, export: int, count: int) -> OpenedRow:
        """Draws pks for `count` members; what an earlier opening left must have been cleared."""
        with self._transaction():
            first = self._draw(count)
            self._run(
                "INSERT OR REPLACE INTO opened (export, first, count) VALUES (?, ?, ?)",
                (export, first, count),
            )
        return OpenedRow(export, first, count)

    def put_members(self, opened: OpenedRow, start: int, facts: Sequence[MemberFacts]) -> None:
        """The members `start` to `start + len(facts) - 1` of an archive; at most 1,000 of them."""
        rows = [
            (
                opened.first + at, opened.export,
                opened.first + one.parent if one.parent >= 0 else -opened.export,
                one.file_name, names.encode(one.plain) if one.plain else None, one.method,
                int(one.encrypted), one.header, one.packed_bytes, one.size_bytes, one.crc32,
            )
            for at, one in enumerate(facts, start)
        ]  # fmt: skip
        with self._transaction():
            self._run_many(_INSERT, rows)

    def finish_opening(self, opened: OpenedRow) -> Change:
        """Every member is here."""
        with self._transaction():
            self._run("UPDATE opened SET whole = 1 WHERE export = ?", (opened.export,))
        return Change([], [node_id(opened.export, Kind.EXPORT_OPENED)])

    def put_member_data(self, offsets: Iterable[tuple[int, int]]) -> None:
        """(pk, where its bytes begin) of members whose local header was read."""
        with self._transaction():
            self._run_many("UPDATE member SET data = ? WHERE pk = ?", [(at, pk) for pk, at in offsets])

    def clear_members(self, export: int, limit: int = ROWS_PER_TRANSACTION) -> int:
        """Removes at most `limit` members of an archive, in the end the opening itself; 0: all are gone.

        Their blocks must have gone before.
        """
        with self._transaction():
            row = self._row("SELECT first, count FROM opened WHERE export = ?", (export,))
            if row is None:
                return 0
            first, count = row
            removed = self._run(
                "DELETE FROM member WHERE pk IN (SELECT pk FROM member WHERE pk BETWEEN ? AND ? LIMIT ?)",
                (first, first + count - 1, limit),
            )
            if not removed:
                self._run("DELETE FROM opened WHERE export = ?", (export,))
        return removed
