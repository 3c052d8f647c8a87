"""Writing blocks: what has entered the store and what has left it, pins, and candidates for eviction.

Sums are kept with every write, since a status call must not count a million rows: bytes and files of all
blocks, and per dataset how many current images are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pictofs.catalog.columns import pack_path
from pictofs.catalog.model import BlockAge, BlockRow, Kind, node_id, node_kind, node_pk
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, Writing

_IN_DATASET = frozenset((Kind.IMAGES, Kind.ANNOTATIONS))
_OF_DATASET = frozenset((Kind.DATASET, Kind.DATASET_JSON, Kind.EXPORTS, Kind.SPLITS, Kind.STATUSES))


class BlockWrites(Writing):
    """The fetching process' record of the store."""

    def put_block(self, row: BlockRow) -> None:
        """The block is whole in the store under `row.path`."""
        self.put_blocks([row])

    def put_blocks(self, rows: Iterable[BlockRow]) -> None:
        """Several at once; a block that was there has another path now."""
        pending = list(rows)
        now_s = self._now_s()
        for start in range(0, len(pending), ROWS_PER_TRANSACTION):
            page = {(row.node, row.block): row for row in pending[start : start + ROWS_PER_TRANSACTION]}
            with self._transaction():
                whole = {node: self.whole(node) for node, _ in page}
                for row in page.values():
                    old = self._row("SELECT size FROM block WHERE node = ? AND block = ?", (row.node, row.block))
                    self._add_block(row.size_bytes - (old[0] if old else 0), 0 if old else 1)
                    self._run(
                        "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET path = excluded.path, "
                        "size = excluded.size, crc32c = excluded.crc32c, boot = excluded.boot",
                        (row.node, row.block, pack_path(row.node, row.block, row.path), row.size_bytes, row.crc32c,
                         row.boot, now_s, now_s),
                    )  # fmt: skip
                self._count_whole(whole)

    def drop_block(self, node: int, block: int) -> None:
        """The block is no longer to be read: drop it here before its file goes."""
        self.drop_each([(node, block)])

    def drop_each(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Several of any nodes at once."""
        pending = list(blocks)
        for start in range(0, len(pending), ROWS_PER_TRANSACTION):
            page = pending[start : start + ROWS_PER_TRANSACTION]
            with self._transaction():
                whole = {node: self.whole(node) for node, _ in page}
                for node, block in page:
                    row = self._row("DELETE FROM block WHERE node = ? AND block = ? RETURNING size", (node, block))
                    if row is not None:
                        self._add_block(-row[0], -1)
                self._count_whole(whole)

    def drop_blocks(self, node: int) -> None:
        """All blocks of a node."""
        self.drop_each([(node, row.block) for row in self.blocks(node)])

    def touch_blocks(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Readers were seen on these blocks now: what `lru` goes by. For batches, a reader needs no exactness."""
        now_s = self._now_s()
        pending = list(blocks)
        for start in range(0, len(pending), ROWS_PER_TRANSACTION):
            page = [(now_s, node, block) for node, block in pending[start : start + ROWS_PER_TRANSACTION]]
            with self._transaction():
                self._run_many("UPDATE block SET used_s = ? WHERE node = ? AND block = ?", page)

    def verify_blocks(self, blocks: Iterable[tuple[int, int]], boot: int) -> None:
        """These blocks were found right in this boot."""
        with self._transaction():
            self._run_many("UPDATE block SET boot = ? WHERE node = ? AND block = ?", [(boot, *key) for key in blocks])

    def boot_index(self, boot_id: str) -> int:
        """A small number for this boot of the machine; the same for the same `boot_id`."""
        found = self.boot(boot_id)
        if found is None:
            with self._transaction():
                found = self._insert("INSERT INTO boot (boot_id) VALUES (?)", (boot_id,))
        return found

    def pin(self, node: int) -> None:
        """Keeps what is below `node` (a file, a directory, a dataset, an organization) from eviction, in any version."""
        with self._transaction():
            self._run("INSERT OR IGNORE INTO pin VALUES (?)", (self._lasting(node),))

    def unpin(self, node: int) -> None:
        """Takes that pin away; one above or below it stays."""
        with self._transaction():
            self._run("DELETE FROM pin WHERE node = ?", (self._lasting(node),))

    def pinned(self) -> list[int]:
        """The pins: files by the node of their first version."""
        return [node for (node,) in self._rows("SELECT node FROM pin ORDER BY node")]

    def blocks_by_age(self, limit: int = 1000, after: BlockAge | None = None) -> list[BlockAge]:
        """At most `limit` blocks behind `after`, the longest unused first."""
        key = (after.used_s, after.node, after.block) if after else (-1, 0, 0)
        rows = self._rows(
            "SELECT node, block, size, stored_s, used_s FROM block WHERE used_s >= ?1 "
            "AND (used_s, node, block) > (?1, ?2, ?3) ORDER BY used_s, node, block LIMIT ?4",
            (*key, limit),
        )
        return self._ages(rows)

    def blocks_of_the_gone(self, limit: int = 1000) -> list[BlockAge]:
        """At most `limit` blocks of old versions and of what was deleted: first to go under every policy."""
        found: list[tuple[int, int, int, int, int]] = []
        for kind, source in (
            (Kind.IMAGE, "SELECT pk FROM image INDEXED BY image_old WHERE directory IS NULL"),
            (Kind.ANNOTATION, "SELECT pk FROM annotation INDEXED BY annotation_old WHERE superseded = 1"),
            (Kind.EXPORT, "SELECT pk FROM export INDEXED BY export_old WHERE gone = 1"),
        ):
            found += self._rows(
                "SELECT b.node, b.block, b.size, b.stored_s, b.used_s "
                f"FROM ({source}) old CROSS JOIN block b ON b.node = old.pk * 256 + {int(kind)} LIMIT ?",
                (limit - len(found),),
            )
        return self._ages(found)

    def _ages(self, rows: Sequence[tuple[int, int, int, int, int]]) -> list[BlockAge]:
        pins = frozenset(self.pinned())
        ages = []
        for node, block, size_bytes, stored_s, used_s in rows:
            current, pinned = self._standing(node, pins)
            ages.append(BlockAge(node, block, size_bytes, stored_s, used_s, current, pinned))
        return ages

    def _standing(self, node: int, pins: frozenset[int]) -> tuple[bool, bool]:
        """(current, pinned) of a node: whether a name leads to it, and whether it or anything above is pinned."""
        pk, kind = node_pk(node), node_kind(node)
        dataset = directory = 0
        ino = pk
        if kind is Kind.IMAGE:
            row = self._row("SELECT ifnull(ino, pk), dataset, ifnull(directory, 0) FROM image WHERE pk = ?", (pk,))
            ino, dataset, directory = row if row else (pk, 0, 0)
            current = directory > 0
        elif kind is Kind.ANNOTATION:
            annotation = self.annotation(pk)
            image = self.image_of_annotation(pk)
            if annotation and image:
                ino, dataset, directory = annotation.ino, image.dataset, image.directory
            current = directory > 0 and annotation is not None and not annotation.superseded
        elif kind is Kind.EXPORT:
            row = self._row("SELECT ifnull(ino, pk), dataset, gone FROM export WHERE pk = ?", (pk,))
            ino, dataset, gone = row if row else (pk, 0, 1)
            current = not gone
        else:
            current = True
        organization, gone_ns = 0, 0
        if dataset:
            row = self._row("SELECT organization, gone_ns FROM dataset WHERE pk = ?", (dataset,))
            organization, gone_ns = row if row else (0, 1)
        current = current and not gone_ns
        if not pins or not current:
            return current, False
        above = {node_id(ino, kind), node_id(organization, Kind.ORGANIZATION), 1}
        above |= {node_id(dataset, of) for of in _OF_DATASET - {Kind.EXPORTS, Kind.SPLITS, Kind.STATUSES}}
        if kind is Kind.EXPORT:
            above.add(node_id(dataset, Kind.EXPORTS))
        side = Kind.IMAGES if kind is Kind.IMAGE else Kind.ANNOTATIONS
        while directory:
            above.add(node_id(directory, side))
            directory = self._value("SELECT parent FROM directory WHERE pk = ?", (directory,))
        return current, not pins.isdisjoint(above)

    def _lasting(self, node: int) -> int:
        """The node of an object's first version."""
        pk, kind = node_pk(node), node_kind(node)
        table = {Kind.IMAGE: "image", Kind.ANNOTATION: "annotation", Kind.EXPORT: "export"}.get(kind)
        row = self._row(f"SELECT ino FROM {table} WHERE pk = ?", (pk,)) if table else None
        return node_id(row[0], kind) if row and row[0] else node

    def _add_block(self, size_bytes: int, files: int) -> None:
        self._run("UPDATE meta SET value = value + ? WHERE name = 'block_bytes'", (size_bytes,))
        if files:
            self._run("UPDATE meta SET value = value + ? WHERE name = 'block_files'", (files,))

    def _count_whole(self, before: dict[int, bool]) -> None:
        """Adjusts the datasets' counts of whole images after blocks or sizes changed."""
        for node, was_whole in before.items():
            if node_kind(node) is Kind.IMAGE:
                is_whole = self.whole(node)
                if is_whole is not was_whole:
                    self._run(
                        "UPDATE dataset_count SET cached = cached + ? WHERE dataset = "
                        "(SELECT dataset FROM image WHERE pk = ? AND directory IS NOT NULL)",
                        (1 if is_whole else -1, node_pk(node)),
                    )
