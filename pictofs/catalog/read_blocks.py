"""Reading blocks: which pieces of which version lie in the store, and under which path."""

from __future__ import annotations

from pictofs.catalog.columns import unpack_path
from pictofs.catalog.connected import Connected
from pictofs.catalog.found import FoundImage
from pictofs.catalog.model import BlockRow, Kind, block_bytes, node_kind, node_pk

# The number of the "block" that a whole object is, once its blocks were joined into one file. They are
# dropped then, and whoever asks for one of them is given this row. It was synced before it was entered.
JOINED = -1
# Images and annotations are one block as good as always.
JOINABLE = frozenset((Kind.EXPORT, Kind.MEMBER))

_BLOCK = "SELECT node, block, path, size, crc32c, boot FROM block"


class BlockReads(Connected):
    """What of a node is on this machine."""

    def block(self, node: int, block: int) -> BlockRow | None:
        """That block, if it is whole in the store; the row of the file that it lies in, if that is JOINED."""
        row = self._row(f"{_BLOCK} WHERE node = ? AND block = ?", (node, block))
        return _block(row) if row else self.joined(node)

    def joined(self, node: int) -> BlockRow | None:
        """The one file that holds the whole object, if its blocks were joined."""
        if node & 0xFF not in JOINABLE:
            return None
        row = self._row(f"{_BLOCK} WHERE node = ? AND block = ?", (node, JOINED))
        return _block(row) if row else None

    def blocks(self, node: int) -> list[BlockRow]:
        """All blocks of a node that are there, in order; JOINED is first."""
        return [_block(row) for row in self._rows(f"{_BLOCK} WHERE node = ? ORDER BY block", (node,))]

    def blocks_from(self, node: int, block: int, limit: int) -> list[BlockRow]:
        """At most `limit` blocks of a node that are there, from `block` on."""
        sql = f"{_BLOCK} WHERE node = ? AND block >= ? ORDER BY block LIMIT ?"
        return [_block(row) for row in self._rows(sql, (node, block, limit))]

    def whole(self, node: int, size_bytes: int | None = None) -> bool:
        """Whether every block of a node is there; False while its size is not known.

        `size_bytes` spares looking for what the caller knows.
        """
        if size_bytes is None:
            size_bytes = self.size_bytes(node)
            if size_bytes is None:
                return False
        count = -(-size_bytes // block_bytes(node_kind(node)))
        sql = "SELECT count(*) FROM block WHERE node = ? AND block >= 0 AND block < ?"
        return bool(self._value(sql, (node, count)) == count) or self.joined(node) is not None

    def size_bytes(self, node: int) -> int | None:
        """The size of an image, an annotation, an export or a member, old versions too; None: not known."""
        pk, kind = node_pk(node), node_kind(node)
        if kind is Kind.IMAGE:
            row = self._row(
                "SELECT ifnull(t.size, i.size) FROM image i LEFT JOIN truth t ON t.image = i.pk WHERE i.pk = "
                "?",
                (pk,),
            )
        elif kind is Kind.ANNOTATION:
            row = self._row("SELECT size FROM annotation WHERE pk = ?", (pk,))
        elif kind is Kind.EXPORT:
            row = self._row("SELECT size FROM export WHERE pk = ?", (pk,))
        elif kind is Kind.MEMBER:
            row = self._row("SELECT size FROM member WHERE pk = ? AND method IS NOT NULL", (pk,))
        else:
            row = None
        return row[0] if row else None

    def block_totals(self) -> tuple[int, int]:
        """(bytes, files) of all blocks; kept, not counted."""
        sums: dict[str, int] = dict(
            self._rows("SELECT name, value FROM meta WHERE name IN ('block_bytes', 'block_files')")
        )
        return int(sums.get("block_bytes", 0)), int(sums.get("block_files", 0))

    def boot(self, boot_id: str) -> int | None:
        """The index that the writer gave to this boot; None before it wrote anything in it."""
        row = self._row("SELECT pk FROM boot WHERE boot_id = ?", (boot_id,))
        return row[0] if row else None


def first_block(found: FoundImage) -> BlockRow | None:
    """The first block of an image that was found, if it is here."""
    if found.stored is None:
        return None
    node = found.pk << 8 | Kind.IMAGE
    path = unpack_path(node, 0, found.stored)
    return BlockRow(node, 0, path, found.stored_bytes, found.crc32c, found.boot)


def _block(row: tuple[int, int, bytes | str, int, int, int]) -> BlockRow:
    node, block, path, size_bytes, crc32c, boot = row
    return BlockRow(node, block, unpack_path(node, block, path), size_bytes, crc32c, boot)
