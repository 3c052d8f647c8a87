"""Candidates for eviction: blocks with their age, and whether anything still needs them.

Which of them go is the store's policy; here is what it must know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pictofs.catalog.model import ROOT_NODE, BlockAge, Kind, node_id, node_kind, node_pk
from pictofs.catalog.reader import CatalogReader

_AGES = "SELECT b.node, b.block, b.size, b.stored_s, b.used_s FROM block b"
# What nearly all blocks are, images, is judged in the same statement.
_BY_AGE = f"""
    SELECT b.*, i.directory IS NOT NULL AND d.gone_ns = 0
    FROM ({_AGES} INDEXED BY block_used WHERE used_s >= ?1 AND (used_s, node, block) > (?1, ?2, ?3)
          ORDER BY used_s, node, block LIMIT ?4) b
    LEFT JOIN image i ON b.node & 255 = {int(Kind.IMAGE)} AND i.pk = b.node >> 8
    LEFT JOIN dataset d ON d.pk = i.dataset ORDER BY b.used_s, b.node, b.block
"""
_OLD = {
    Kind.IMAGE: "image INDEXED BY image_old WHERE directory IS NULL",
    Kind.ANNOTATION: "annotation INDEXED BY annotation_old WHERE superseded = 1",
    Kind.EXPORT: "export INDEXED BY export_old WHERE gone = 1",
}
_OF_OLD_ARCHIVES = (
    f"{_AGES}, (SELECT o.first, o.count FROM export e INDEXED BY export_old JOIN opened o ON o.export = e.pk "
    "WHERE e.gone = 1) o WHERE b.node BETWEEN o.first * 256 AND (o.first + o.count) * 256 - 1 LIMIT ?"
)
_Age = tuple[int, int, int, int, int]


class EvictionReads(CatalogReader):
    """What the fetching process asks before it makes room."""

    def pinned_among(self, nodes: Iterable[int]) -> set[int]:
        """Those of the nodes that a pin holds."""
        pins = frozenset(self.pinned())
        if not pins:
            return set()
        return {node for node in nodes if self._held(node, pins)}

    def _held(self, node: int, pins: frozenset[int]) -> bool:
        current, above = self._standing(node)
        return current and not pins.isdisjoint(above)

    def blocks_by_age(self, limit: int = 1000, after: BlockAge | None = None) -> list[BlockAge]:
        """At most `limit` blocks behind `after`, the longest unused first."""
        key = (after.used_s, after.node, after.block) if after else (-1, 0, 0)
        rows = self._rows(_BY_AGE, (*key, limit))
        if self._row("SELECT 1 FROM pin LIMIT 1"):
            return self._ages([row[:5] for row in rows])
        ages = []
        for row in rows:
            if node_kind(row[0]) is Kind.IMAGE:
                node, block, size_bytes, stored_s, used_s, current = row
                ages.append(BlockAge(node, block, size_bytes, stored_s, used_s, bool(current), False))
            else:
                ages += self._ages([row[:5]])
        return ages

    def blocks_of_the_gone(self, limit: int = 1000) -> list[BlockAge]:
        """At most `limit` blocks of old versions and of what was deleted: first to go under every policy."""
        found: list[_Age] = []
        for kind, old in _OLD.items():
            found += self._rows(
                f"{_AGES}, (SELECT pk FROM {old}) o WHERE b.node = o.pk * 256 + ? LIMIT ?",
                (int(kind), limit - len(found)),
            )
        found += self._rows(_OF_OLD_ARCHIVES, (limit - len(found),))
        return self._ages(found)

    def _ages(self, rows: Sequence[_Age]) -> list[BlockAge]:
        pins = frozenset(self.pinned())
        ages = []
        for node, block, size_bytes, stored_s, used_s in rows:
            current, above = self._standing(node)
            pinned = bool(pins) and current and not pins.isdisjoint(above)
            ages.append(BlockAge(node, block, size_bytes, stored_s, used_s, current, pinned))
        return ages

    def _standing(self, node: int) -> tuple[bool, set[int]]:
        """Whether a name still leads to a node, and the nodes whose pin would hold it."""
        pk, kind = node_pk(node), node_kind(node)
        if kind in (Kind.EXPORT, Kind.MEMBER):
            if kind is Kind.MEMBER:
                pk = self._value("SELECT export FROM member WHERE pk = ?", (pk,))
            row = self._row("SELECT ifnull(ino, pk), dataset, gone FROM export WHERE pk = ?", (pk,))
            if row is None:
                return False, set()
            ino, dataset, gone = row
            return not gone and self._exists(dataset), {
                node_id(ino, Kind.EXPORT),
                node_id(dataset, Kind.EXPORTS),
                *self._above(dataset, 0, kind),
            }
        if kind not in (Kind.IMAGE, Kind.ANNOTATION):
            return True, {node, ROOT_NODE}
        image = self.image(pk) if kind is Kind.IMAGE else self.image_of_annotation(pk)
        if image is None:
            return False, set()
        current = image.directory > 0 and (kind is Kind.IMAGE or image.annotation == pk)
        return current and self._exists(image.dataset), {
            node_id(image.ino, kind),
            *self._above(image.dataset, image.directory, kind),
        }

    def _exists(self, dataset: int) -> bool:
        return self._row("SELECT 1 FROM dataset WHERE pk = ? AND gone_ns = 0", (dataset,)) is not None

    def _above(self, dataset: int, directory: int, kind: Kind) -> set[int]:
        """The dataset, its organization, the root, and every directory on the way up."""
        organization = self._value("SELECT organization FROM dataset WHERE pk = ?", (dataset,))
        above = {node_id(dataset, Kind.DATASET), node_id(organization, Kind.ORGANIZATION), ROOT_NODE}
        while directory:
            above.add(node_id(directory, Kind.IMAGES if kind is Kind.IMAGE else Kind.ANNOTATIONS))
            directory = self._value("SELECT parent FROM directory WHERE pk = ?", (directory,))
        return above
