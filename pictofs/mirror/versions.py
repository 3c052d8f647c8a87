"""Which version of an object bytes belong to. Runs in the writer's thread, so that no two decide at once.

Every block of one node comes from one generation of the stored object. The first bytes of a node settle its
generation; bytes of another size or generation belong to another version, under a node of its own.
"""

from __future__ import annotations

import hashlib

import google_crc32c
import msgspec

from pictofs.catalog import Catalog
from pictofs.catalog.model import Change, ImageRow, Kind, node_id
from pictofs.errors import Stale


class Seen(msgspec.Struct, frozen=True):
    """What the storage host says of a whole object; empty where it does not."""

    size_bytes: int
    generation: str = ""
    md5: str = ""
    crc32c: str = ""


class Settled(msgspec.Struct, frozen=True):
    """The node that bytes just seen belong to, 0 for none; `stale` when it is not the node asked for."""

    node: int
    stale: bool
    change: Change


class Superseded(Stale):
    """Bytes came for a node that they do not belong to; `settled` says where they do."""

    def __init__(self, settled: Settled) -> None:
        super().__init__("the stored object is another version by now: open it again")
        self.settled = settled


def same(size_bytes: int | None, generation: str, seen: Seen) -> bool:
    """True unless `seen` contradicts what is known of a version."""
    if size_bytes is not None and size_bytes != seen.size_bytes:
        return False
    return not generation or not seen.generation or generation == seen.generation


def needs_truth(row: ImageRow, seen: Seen) -> bool:
    """True when `seen` tells more of this version than the catalog knows."""
    return row.size_bytes is None or (bool(seen.generation) and not row.generation)


def settle_image(catalog: Catalog, image: int, seen: Seen) -> Settled:
    """Enters what was seen of an image, as the truth of this version or as a new one."""
    row = catalog.image(image)
    if row is None:
        return Settled(0, True, Change())
    node = node_id(image, Kind.IMAGE)
    fits = same(row.size_bytes, row.generation, seen)
    if not row.directory:
        # Superseded or deleted meanwhile. Only bytes that are known to be of this version still are its own.
        known = fits and bool(row.generation) and row.generation == seen.generation
        return Settled(node if known else 0, not known, Change())
    if fits:
        change = Change()
        if needs_truth(row, seen):
            change = catalog.put_image_truth(image, seen.size_bytes, seen.generation, seen.md5, seen.crc32c)
        return Settled(node, False, change)
    new, change = catalog.supersede_image(image, seen.size_bytes, seen.generation, seen.md5, seen.crc32c)
    return Settled(node_id(new.pk, Kind.IMAGE), True, change)


def version_of(body: bytes | memoryview) -> str:
    """What tells a version of an annotation: the hash of its body."""
    return hashlib.sha256(body).hexdigest()[:32]


def crc32c(body: bytes | memoryview) -> int:
    """The checksum of a piece that was cut out of a transfer."""
    value: int = google_crc32c.value(bytes(body))
    return value
