"""What lies in the store, by dataset: a page of blocks at a time, in the order of their keys."""

from __future__ import annotations

from dataclasses import dataclass

from pictofs.catalog.columns import unpack_path
from pictofs.catalog.connected import Connected
from pictofs.catalog.model import Kind

_IMAGE, _ANNOTATION, _EXPORT, _MEMBER = map(int, (Kind.IMAGE, Kind.ANNOTATION, Kind.EXPORT, Kind.MEMBER))
# The dataset and whether a name still leads there: of an image by its row; of an annotation by the image
# whose first version has the pk of the annotation's first; of an archive and its members by the export. What
# has no row any more belongs to dataset 0.
_PAGE = f"""
    WITH page AS (SELECT node, block, path, size, crc32c, node >> 8 AS pk, node & 255 AS kind FROM block
                  WHERE (node, block) > (?, ?) ORDER BY node, block LIMIT ?),
    placed AS (
        SELECT node, block, path, size, crc32c, kind,
            CASE kind
            WHEN {_IMAGE} THEN (SELECT dataset FROM image WHERE pk = page.pk)
            WHEN {_ANNOTATION} THEN (SELECT dataset FROM image WHERE pk = ifnull(
                (SELECT ifnull(ino, pk) FROM annotation WHERE pk = page.pk), page.pk))
            WHEN {_EXPORT} THEN (SELECT dataset FROM export WHERE pk = page.pk)
            WHEN {_MEMBER} THEN (SELECT e.dataset FROM member m JOIN export e ON e.pk = m.export
                                 WHERE m.pk = page.pk)
            END AS dataset,
            CASE kind
            WHEN {_IMAGE} THEN (SELECT directory IS NOT NULL FROM image WHERE pk = page.pk)
            WHEN {_ANNOTATION} THEN (SELECT superseded = 0 FROM annotation WHERE pk = page.pk)
            WHEN {_EXPORT} THEN (SELECT gone = 0 FROM export WHERE pk = page.pk)
            WHEN {_MEMBER} THEN (SELECT e.gone = 0 FROM member m JOIN export e ON e.pk = m.export
                                 WHERE m.pk = page.pk)
            END AS named
        FROM page)
    SELECT p.node, p.block, p.path, p.size, p.crc32c, ifnull(d.pk, 0),
        ifnull(p.named, 0) AND ifnull(d.gone_ns = 0, 0)
    FROM placed p LEFT JOIN dataset d ON d.pk = p.dataset ORDER BY p.node, p.block
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A block of the store and whose it is. `current`: a name still leads to it."""

    node: int
    block: int
    path: str
    size_bytes: int
    crc32c: int
    dataset: int             # 0: of nothing that is known any more
    current: bool


class UsageReads(Connected):
    """For `pictofs cache`, and what a dataset takes of the store."""

    def pinned(self) -> list[int]:
        """The pins: files by the node of their first version."""
        return [node for (node,) in self._rows("SELECT node FROM pin ORDER BY node")]

    def kept(self, after: tuple[int, int] = (-1, 0), limit: int = 1000) -> list[Kept]:
        """At most `limit` blocks behind the key `after`, (node, block)."""
        return [
            Kept(node, block, unpack_path(node, block, path), size_bytes, crc32c, dataset, bool(current))
            for node, block, path, size_bytes, crc32c, dataset, current in self._rows(_PAGE, (*after, limit))
        ]
