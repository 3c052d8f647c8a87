"""What all places stand on: the catalog's reader, settings, freshness, and the few facts worth keeping."""

from __future__ import annotations

import errno
from collections.abc import Callable

from cachetools import LRUCache

from pictofs.catalog import CatalogReader
from pictofs.catalog.found import FoundImage
from pictofs.catalog.model import BlockRow, DatasetRow, DirectoryRow, Kind, node_id
from pictofs.config import Settings
from pictofs.tree.attributes import Attributes
from pictofs.tree.freshness import Freshness
from pictofs.tree.known import KnownBlocks, KnownImages, KnownSizes
from pictofs.tree.need import Asked
from pictofs.tree.place import refuse

# A directory's dataset and path never change; a million files share some thousand directories.
DIRECTORIES = 1 << 14
# A listing that nothing says is outdated is looked at again after this many ttl.
LISTING_AGES = 10
# Documents (dataset.json, <export>.status.json) as last shown to the kernel; a few KB each.
DOCUMENTS = 512


class Ground:
    """Shared by the places of one tree. For one thread at a time, as its reader is."""

    def __init__(
        self, reader: CatalogReader, settings: Settings, attributes: Attributes, freshness: Freshness
    ) -> None:
        self.reader = reader
        self.settings = settings
        self.attributes = attributes
        self.freshness = freshness
        self._of_directory: dict[int, tuple[int, str]] = {}
        self._listed: dict[int, float] = {}     # dataset → until when (monotonic) its listing is fresh
        self._images: dict[int, int] = {}       # dataset → about how many there are
        self.known = KnownImages()
        self.sizes = KnownSizes()
        self._blocks = KnownBlocks()
        self._shown: LRUCache[int, bytes] = LRUCache(DOCUMENTS)

    def changed(self) -> None:
        """Something in the catalog is known to be another: believe nothing that was concluded from it."""
        self._listed.clear()
        self.known.forget()
        self.sizes.forget()
        self._blocks.forget()

    def replace_reader(self, reader: CatalogReader) -> None:
        """The catalog was begun anew: nothing that was read before holds."""
        self.reader.close()
        self.reader = reader
        self._of_directory.clear()
        self._shown.clear()
        self.changed()

    # datasets

    def dataset(self, pk: int) -> DatasetRow:
        """The dataset, if the mount shows it; ESTALE for one that is gone."""
        row = self.reader.dataset(pk)
        if row is None or row.gone or (row.archived and self.settings.archived != "show"):
            refuse(errno.ESTALE)
        return row

    def looked_dataset(self, pk: int, asked: Asked) -> tuple[DatasetRow, float]:
        """The dataset as the service confirmed it within ttl, and for how long that may be believed."""
        row = self.dataset(pk)
        valid_s = self.freshness.require(node_id(pk, Kind.DATASET), row.checked_ns, asked, known=True)
        return row, valid_s

    def listing(self, pk: int, asked: Asked, *, found: bool = False) -> float:
        """Sees to it that a dataset's images are listed, whole and within ttl; seconds left to believe it.

        `found`: the catalog has the name at hand, so a listing that is on its way need not be whole.
        A listing that could not be made is never an empty one: EIO.
        """
        until_s = self._listed.get(pk)
        if until_s is not None:
            left_s = until_s - self.freshness.clock()
            if left_s > 0.0:
                return left_s
        row = self.dataset(pk)
        self._images[pk] = row.image_count
        look = listing_look(row)
        if row.listed_ns:
            seen_ns = self._seen_ns(row)
            left_s = self.freshness.require(look, seen_ns, asked, known=True, found=found)
            left_s = self.freshness.until_old_s(row.listed_ns, LISTING_AGES, left_s)
        elif asked.looked(look):
            refuse(errno.EIO)
        else:
            left_s = self.freshness.first(look, found=found)
        if left_s > 1.0:
            self._listed[pk] = self.freshness.clock() + left_s
        return left_s

    def listing_left_s(self, pk: int) -> float:
        """The same without asking anybody; 0 where a look is due."""
        row = self.dataset(pk)
        if not row.listed_ns:
            return 0.0
        left_s = self.freshness.left_s(self._seen_ns(row), listing_look(row))
        return self.freshness.until_old_s(row.listed_ns, LISTING_AGES, left_s)

    def _seen_ns(self, row: DatasetRow) -> int:
        """When the service confirmed the listing that we have; 0 where it cannot have.

        The dataset's own check confirms it as long as it is as listed. But the service may change images
        and hold `updated_at` and all counts still, so a listing is looked at again after some ttl anyway.
        """
        if row.fingerprint != row.listed_fingerprint:
            return 0
        if self.freshness.age_s(row.listed_ns) > LISTING_AGES * self.freshness.ttl_s:
            return 0
        return row.checked_ns

    # images

    def image_named(self, directory: int, name: str) -> FoundImage | None:
        """The current image of that name in a directory, and whether it is here."""
        images = self._images.get(self.dataset_of(directory), 1 << 62)
        return self.known.named(self.reader, directory, name, images)

    def size_bytes(self, node: int) -> int | None:
        """The size of a version that was current when it was looked up or listed, if it is remembered.

        It may be an old one by now: then a fetch of it ends in ESTALE.
        """
        found = self.known.node(node)
        return self.sizes.of(node) if found is None else found.size_bytes

    def block(self, node: int, block: int) -> BlockRow | None:
        """That block, if it is whole in the store, or was when its file was looked up."""
        if not block:
            row = self.known.block(node)
            if row is not None:
                return row
        return self._blocks.block(self.reader, node, block)

    # directories

    def directory(self, pk: int) -> DirectoryRow:
        """The directory; ESTALE for one that is no more."""
        row = self.reader.directory(pk)
        if row is None:
            refuse(errno.ESTALE)
        return row

    def dataset_of(self, directory: int) -> int:
        """The dataset that a directory belongs to."""
        return self._known(directory)[0]

    def path_of(self, directory: int) -> str:
        """The names that lead from the dataset's root directory to this one, each followed by a slash."""
        return self._known(directory)[1]

    def _known(self, pk: int) -> tuple[int, str]:
        known = self._of_directory.get(pk)
        if known is None:
            row = self.directory(pk)
            path = f"{self._known(row.parent)[1]}{row.file_name}/" if row.parent else ""
            if len(self._of_directory) >= DIRECTORIES:
                self._of_directory.clear()      # cheaper, at every lookup, than to know the least recent
            known = self._of_directory[pk] = (row.dataset, path)
        return known

    # documents

    def show(self, node: int, document: bytes) -> bytes:
        """The kernel is about to be told this text's size: reads get this text until it is told another."""
        self._shown[node] = document
        return document

    def shown(self, node: int, current: Callable[[], bytes]) -> bytes:
        """The text whose size the kernel was told, else the catalog's."""
        document = self._shown.get(node)
        return document if document is not None else self.show(node, current())


def listing_look(row: DatasetRow) -> int:
    """The node that stands for the listing of all images of a dataset, so that all who need it ask once."""
    return node_id(row.root_directory, Kind.IMAGES)
