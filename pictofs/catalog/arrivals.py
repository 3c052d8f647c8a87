"""Writing many small files that have just come: what fetching ahead does thousands of times a minute.

`put_blocks` and `put_image_truth` ask the catalog some ten questions for each block. Here a batch of images
that are one block each, with the size that the listing gave, and not here before, is entered by three
statements and a handful of rows; whatever is otherwise is left to those two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from pictofs.catalog.columns import pack_digest, pack_number, pack_path
from pictofs.catalog.model import BlockRow, Kind, block_bytes, node_pk
from pictofs.catalog.writing import Writing, paged

_MANY = 64
_UNKNOWN = (0, None, False, True)  # nor is the second one of two of the same node plain
_MARKS = ",".join("?" * _MANY)
_KNOWN = (
    "SELECT i.pk, i.dataset, ifnull(t.size, i.size), t.generation IS NOT NULL, "
    "EXISTS (SELECT 1 FROM block b WHERE b.node = i.pk * 256 + ?) "
    f"FROM image i LEFT JOIN truth t ON t.image = i.pk WHERE i.directory IS NOT NULL AND i.pk IN ({_MARKS})"
)
_BLOCK = "INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)"
_TRUTH = (
    "INSERT INTO truth VALUES (?1, NULL, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET "
    "generation = ifnull(excluded.generation, generation), md5 = ifnull(excluded.md5, md5), "
    "crc32c = ifnull(excluded.crc32c, crc32c)"
)


class Arrival(msgspec.Struct, frozen=True):
    """A block in the store, and what the storage host says of the object; empty where it does not."""

    row: BlockRow
    generation: str = ""
    md5: str = ""
    crc32c: str = ""


class ArrivalWrites(Writing):
    """Whole images, by the batch."""

    def put_arrivals(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Enters those that are plain (see above), each batch in one transaction; returns the others.

        A generation that is known already is the caller's to compare: it is not written again.
        """
        left: list[Arrival] = []
        for page in paged(arrivals):
            for start in range(0, len(page), _MANY):
                left += self._enter_many(page[start : start + _MANY])
        return left

    def _enter_many(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        now_s = int(self._clock_s())
        pks = [node_pk(arrival.row.node) for arrival in arrivals]
        padded = pks + [pks[-1]] * (_MANY - len(pks))
        with self._transaction():
            known = {row[0]: row[1:] for row in self._rows(_KNOWN, (int(Kind.IMAGE), *padded))}
            blocks, truths, left = [], [], []
            cached: Counter[int] = Counter()
            size_bytes = 0
            for pk, arrival in zip(pks, arrivals, strict=True):
                row = arrival.row
                dataset, size, settled, held = known.pop(pk, _UNKNOWN)
                if held or size != row.size_bytes or not _is_plain(row):
                    left.append(arrival)
                    continue
                path = pack_path(row.node, row.block, row.path)
                blocks.append((row.node, row.block, path, row.size_bytes, row.crc32c, row.boot, now_s))
                if not settled:
                    said = arrival.generation, arrival.md5, arrival.crc32c
                    truths.append((pk, pack_number(said[0]), *map(pack_digest, said[1:])))
                cached[dataset] += 1
                size_bytes += row.size_bytes
            self._run_many(_BLOCK, blocks)
            self._run_many(_TRUTH, truths)
            if blocks:
                self._run_many(
                    "UPDATE dataset_count SET cached = cached + ? WHERE dataset = ?",
                    [(count, dataset) for dataset, count in cached.items()],
                )
                self._run_many(
                    "UPDATE meta SET value = value + ? WHERE name = ?",
                    [(size_bytes, "block_bytes"), (len(blocks), "block_files")],
                )
        return left


def _is_plain(row: BlockRow) -> bool:
    whole = 0 < row.size_bytes <= block_bytes(Kind.IMAGE)
    return row.node & 0xFF == Kind.IMAGE and row.block == 0 and whole
