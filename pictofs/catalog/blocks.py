"""Writing blocks: what has entered the store and what has left it; pins.

Sums are kept with every write, since a status call must not count a million rows: bytes and files of all
blocks, and per dataset how many current images are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pictofs.catalog.columns import pack_path
from pictofs.catalog.eviction import EvictionReads
from pictofs.catalog.model import BlockRow, Kind, node_id, node_kind, node_pk
from pictofs.catalog.read_blocks import JOINABLE, JOINED
from pictofs.catalog.writing import Writing, paged

_PUT = (
    "INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT DO UPDATE SET path = "
    "excluded.path, "
    "size = excluded.size, crc32c = excluded.crc32c, boot = excluded.boot"
)


class BlockWrites(EvictionReads, Writing):
    """The fetching process' record of the store."""

    def put_block(self, row: BlockRow) -> None:
        """The block is whole in the store under `row.path`."""
        self.put_blocks([row])

    def put_blocks(self, rows: Iterable[BlockRow]) -> None:
        """Several at once; one that was there before has another path now."""
        now_s = int(self._clock_s())
        for page in paged(list(rows)):
            with (
                self._transaction(),
                self._counting(*(node_pk(row.node) for row in page if _is_image(row.node))),
            ):
                size_bytes = files = 0
                for row in page:
                    old = self._row(
                        "SELECT size FROM block WHERE node = ? AND block = ?", (row.node, row.block)
                    )
                    size_bytes += row.size_bytes - (old[0] if old else 0)
                    files += 0 if old else 1
                    path = pack_path(row.node, row.block, row.path)
                    self._run(_PUT, (row.node, row.block, path, row.size_bytes, row.crc32c, row.boot, now_s))
                self._add_blocks(size_bytes, files)

    def drop_block(self, node: int, block: int) -> None:
        """The block is no longer to be read: drop it here before its file goes."""
        self.drop_each([(node, block)])

    def drop_each(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Several, of any nodes."""
        for page in paged(list(blocks)):
            with self._transaction(), self._counting(*(node_pk(node) for node, _ in page if _is_image(node))):
                size_bytes = files = 0
                for key in page:
                    row = self._row("DELETE FROM block WHERE node = ? AND block = ? RETURNING size", key)
                    if row is not None:
                        size_bytes -= row[0]
                        files -= 1
                self._add_blocks(size_bytes, files)

    def drop_blocks(self, node: int) -> None:
        """All blocks of a node."""
        self.drop_each([(node, row.block) for row in self.blocks(node)])

    def touch_blocks(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Readers were seen on these blocks now: what `lru` goes by."""
        now_s = int(self._clock_s())
        keys = list(blocks)
        keys += {(node, JOINED) for node, _ in keys if node & 0xFF in JOINABLE}
        for page in paged(keys):
            with self._transaction():
                self._run_many(
                    "UPDATE block SET used_s = ? WHERE node = ? AND block = ?",
                    [(now_s, *key) for key in page],
                )

    def verify_blocks(self, blocks: Iterable[tuple[int, int]], boot: int) -> None:
        """These blocks were found right in this boot."""
        for page in paged(list(blocks)):
            with self._transaction():
                self._run_many(
                    "UPDATE block SET boot = ? WHERE node = ? AND block = ?", [(boot, *key) for key in page]
                )

    def boot_index(self, boot_id: str) -> int:
        """A small number for this boot of the machine; the same for the same `boot_id`."""
        found = self.boot(boot_id)
        if found is None:
            with self._transaction():
                found = self._insert("INSERT INTO boot (boot_id) VALUES (?)", (boot_id,))
        return found

    def pin(self, node: int) -> None:
        """Keeps what is at or below `node` (a file in any version, a directory, a dataset) from eviction.

        Of an archive all of it: a stored member lies in the same blocks as its neighbours.
        """
        with self._transaction():
            self._run("INSERT OR IGNORE INTO pin VALUES (?)", (self._lasting(node),))

    def unpin(self, node: int) -> None:
        """Takes that pin away; one above or below it stays."""
        with self._transaction():
            self._run("DELETE FROM pin WHERE node = ?", (self._lasting(node),))

    def _lasting(self, node: int) -> int:
        """The node of an object's first version; of what is in an archive, the archive's."""
        pk, kind = node_pk(node), node_kind(node)
        if kind in (Kind.MEMBER, Kind.MEMBER_DIRECTORY):
            pk = self._value("SELECT export FROM member WHERE pk = ?", (pk,))
        if kind in (Kind.MEMBER, Kind.MEMBER_DIRECTORY, Kind.EXPORT_OPENED):
            kind, node = Kind.EXPORT, node_id(pk, Kind.EXPORT)
        table = {Kind.IMAGE: "image", Kind.ANNOTATION: "annotation", Kind.EXPORT: "export"}.get(kind)
        row = self._row(f"SELECT ino FROM {table} WHERE pk = ?", (pk,)) if table else None
        return node_id(row[0], kind) if row and row[0] else node

    def _add_blocks(self, size_bytes: int, files: int) -> None:
        sums = [(size_bytes, "block_bytes"), (files, "block_files")]
        self._run_many("UPDATE meta SET value = value + ? WHERE name = ?", sums)

    @contextmanager
    def _counting(self, *images: int) -> Iterator[None]:
        """Keeps the sums of datasets right while blocks or sizes of these images change."""
        before = {image: self._weight(image) for image in images}
        yield
        for image, (size_bytes, whole) in before.items():
            new_size_bytes, new_whole = self._weight(image)
            if (new_size_bytes, new_whole) != (size_bytes, whole):
                self._run(
                    "UPDATE dataset_count SET known_bytes = known_bytes + ?, cached = cached + ? WHERE "
                    "dataset = "
                    "(SELECT dataset FROM image WHERE pk = ? AND directory IS NOT NULL)",
                    (new_size_bytes - size_bytes, int(new_whole) - int(whole), image),
                )

    def _weight(self, image: int) -> tuple[int, bool]:
        node = node_id(image, Kind.IMAGE)
        size_bytes = self.size_bytes(node)
        return size_bytes or 0, size_bytes is not None and self.whole(node, size_bytes)


def _is_image(node: int) -> bool:
    return node & 0xFF == Kind.IMAGE
