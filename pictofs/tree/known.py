"""What was asked of the catalog lately, and what stands beside it: most lookups and first reads end here.

A lookup and the first read of a file are 15 µs from here, and 60 µs as three questions to SQLite. So a lookup
that finds nothing here takes a page of its directory along, from where the last one ended: 1 row, 2, 4 …
`MOST_ROWS`, a millisecond. That pays where an epoch comes to all of them; in a dataset of more than
`MOST_KNOWN` it mostly would not, and no page is taken.

Whoever has listed a directory with attributes reads without a lookup: for that the sizes told are remembered.

An archive is many blocks, and whoever reads one after the other finds the rows of the next here too.

What is known is forgotten as soon as anything in the catalog is known to have changed. A block that is gone
from the store all the same (`Lost`) is asked of the catalog again.
"""

from __future__ import annotations

from itertools import islice

from pictofs.catalog import CatalogReader, first_block
from pictofs.catalog.found import FoundImage
from pictofs.catalog.model import BlockRow, Kind

MOST_ROWS = 256
# 0.7 KB each, with its block: 23 MB.
MOST_KNOWN = 1 << 15
# 0.1 KB each: who has listed a directory with attributes opens its files without a lookup.
MOST_SIZES = 1 << 16
PAGE_BLOCKS = 64
MOST_BLOCKS = 1 << 12

_IMAGE = int(Kind.IMAGE)


class KnownImages:
    """For one thread at a time, as the reader is."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[int, str], FoundImage] = {}
        self._by_node: dict[int, FoundImage] = {}
        self._ends: dict[int, str | None] = {}      # directory → the last name of its pages; None: they ended
        self._rows = 1

    def __len__(self) -> int:
        return len(self._by_node)

    def named(
        self, reader: CatalogReader, directory: int, name: str, dataset_images: int
    ) -> FoundImage | None:
        """The current image of that name; `dataset_images` is how many there are to be known."""
        found = self._by_name.get((directory, name))
        if found is not None:
            return found
        if dataset_images <= MOST_KNOWN:
            self._page(reader, directory)
        row = reader.found_image(directory, name)
        if row is not None:
            self._note(directory, [row])
        return row

    def node(self, node: int) -> FoundImage | None:
        """That version of an image, if it was among them."""
        return self._by_node.get(node)

    def block(self, node: int) -> BlockRow | None:
        """The first block of a version, if it was here when its name was looked up."""
        found = self._by_node.get(node)
        return None if found is None else first_block(found)

    def forget(self) -> None:
        """The catalog is known to say something else."""
        if self._by_node:
            self._by_name.clear()
            self._by_node.clear()
            self._ends.clear()
        self._rows = 1

    def _page(self, reader: CatalogReader, directory: int) -> None:
        after = self._ends.get(directory, "")
        if after is None:
            return
        rows = reader.found_images(directory, after, self._rows)
        self._note(directory, rows)
        self._ends[directory] = rows[-1].file_name if len(rows) == self._rows else None
        self._rows = min(MOST_ROWS, 2 * self._rows)

    def _note(self, directory: int, rows: list[FoundImage]) -> None:
        if len(self._by_node) + len(rows) > MOST_KNOWN:
            self.forget()
        for row in rows:
            self._by_name[directory, row.file_name] = row
            self._by_node[row.pk << 8 | _IMAGE] = row


class KnownSizes:
    """Sizes of versions that were current when the kernel was told them; a version's never changes."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}

    def told(self, sizes: dict[int, int]) -> None:
        """The kernel is told these now. Beyond MOST_SIZES the earliest are forgotten."""
        self._sizes.update(sizes)
        for node in list(islice(self._sizes, max(0, len(self._sizes) - MOST_SIZES))):
            del self._sizes[node]

    def of(self, node: int) -> int | None:
        """The size in bytes of a version; None if it is not remembered."""
        return self._sizes.get(node)

    def forget(self) -> None:
        """The catalog is known to say something else: of a version that is none any more nothing is told."""
        self._sizes.clear()


class KnownBlocks:
    """Blocks of large objects, a page of rows at a time for who reads them in order."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], BlockRow] = {}
        self._before: tuple[int, int] = (0, 0)

    def block(self, reader: CatalogReader, node: int, block: int) -> BlockRow | None:
        """That block, if it is whole in the store, or was a moment ago."""
        row = self._rows.get((node, block))
        in_order = self._before == (node, block - 1)
        self._before = (node, block)
        if row is not None or not in_order:
            return row or reader.block(node, block)
        if len(self._rows) > MOST_BLOCKS:
            self._rows.clear()
        for each in reader.blocks_from(node, block, PAGE_BLOCKS):
            self._rows[node, each.block] = each
        return self._rows.get((node, block)) or reader.joined(node)

    def forget(self) -> None:
        """The catalog is known to say something else."""
        self._rows.clear()
