"""What the catalog knows, as plain values.

A *node id* is one 64-bit number for one version of one thing on the mount: `pk << 8 | kind`, where `pk`
is the catalog's row. It means the same in every process and after every restart, is never used again,
and is what the kernel, the link and the block table all speak of. `st_ino` is `ino << 8 | kind`, where
`ino` is the row that the object had first: it stays when a new version gets a new row.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec


class Kind(enum.IntEnum):
    """The low eight bits of a node id; values are on users' disks as inode numbers and never change."""

    ROOT = 1
    ORGANIZATION = 2
    DATASET = 3
    DATASET_JSON = 4
    IMAGES = 5          # pk: directory
    ANNOTATIONS = 6     # pk: directory
    EXPORTS = 7         # pk: dataset
    SPLITS = 8          # pk: dataset
    STATUSES = 9        # pk: dataset
    VIEW = 10           # pk: view; its value's directory, holding images/ and annotations/
    VIEW_IMAGES = 11    # pk: view_directory
    VIEW_ANNOTATIONS = 12
    IMAGE_LINK = 13     # pk: image; a symbolic link in a view
    ANNOTATION_LINK = 14
    IMAGE = 16
    ANNOTATION = 17
    EXPORT = 18
    EXPORT_STATUS = 19
    EXPORT_OPENED = 20  # pk: export
    MEMBER = 21         # pk: member
    MEMBER_DIRECTORY = 22
    CONTROL = 24        # pk: 1 the directory, then its files


ROOT_NODE = 1  # what FUSE calls the root: FUSE_ROOT_ID


def node_id(pk: int, kind: Kind) -> int:
    """The node id of row `pk`; the root is `ROOT_NODE`."""
    return ROOT_NODE if kind is Kind.ROOT else pk << 8 | kind


def node_pk(node: int) -> int:
    """The row behind a node id."""
    return node >> 8


def node_kind(node: int) -> Kind:
    """The kind behind a node id; ValueError for a number that pictofs never gave."""
    return Kind(node & 0xFF)


@dataclass(frozen=True, slots=True)
class OrganizationRow:
    """One organization of one API origin: the partition that everything else hangs from."""

    pk: int
    origin: str               # scheme://host:port of the API
    remote_id: str            # the service's id, else its slug, else its name
    name: str
    slug: str
    document: bytes           # what the API says of it, JSON
    checked_ns: int           # when the list of its datasets was last seen whole; 0 never
    tried_ns: int             # when that was last attempted


class DatasetRow(msgspec.Struct, frozen=True):
    """One dataset; `document` is the API's own JSON, key order kept."""

    pk: int
    organization: int
    remote_id: str
    name: str                 # remote name
    slug: str
    file_name: str            # the name on the mount, given once
    archived: bool
    document: bytes
    fingerprint: str          # of updated_at, counts, total_size as last seen; what a change is told by
    created_ns: int
    updated_ns: int
    image_count: int
    total_bytes: int
    checked_ns: int           # when the service was last asked about this dataset and answered
    listed_ns: int            # when its images were last listed whole; 0: never
    listed_fingerprint: str   # the fingerprint that listing belongs to
    exports_listed_ns: int
    listing_generation: int   # the listing of images that was begun last
    root_directory: int       # pk of its directory "/"
    gone: bool                # no longer in the service's list


class DirectoryRow(msgspec.Struct, frozen=True):
    """A virtual directory of a dataset; the same row stands under images/ and annotations/."""

    pk: int
    dataset: int
    parent: int               # 0 for the root "/"
    file_name: str
    remote_path: str          # as the service writes it: "/" or "/a/b"
    mtime_ns: int             # moves with its listing
    subdirectories: int


class ImageRow(msgspec.Struct, frozen=True):
    """One version of one image, and the name its annotation has. Made by the thousand a second."""

    pk: int
    ino: int                  # pk of the first version
    dataset: int
    directory: int            # 0 when superseded or deleted: no name leads here any more
    file_name: str
    annotation_name: str
    remote_id: str            # "" where the service gives none
    remote_name: str
    size_bytes: int | None    # None: not known yet (dialect A)
    created_ns: int
    status: str
    split: str
    width: int | None
    height: int | None
    annotation_count: int | None
    tags: tuple[str, ...]
    generation: str           # x-goog-generation or ETag once seen
    md5: str
    crc32c: str
    annotation: int           # pk of the current annotation version; see AnnotationRow


class ListedImage(NamedTuple):
    """The part of an `ImageRow` that a directory's listing takes: a tenth of the cost of the whole row."""

    pk: int
    ino: int
    file_name: str
    annotation_name: str
    annotation: int
    size_bytes: int | None
    created_ns: int


class AnnotationRow(msgspec.Struct, frozen=True):
    """One version of an image's annotation body.

    Images and annotations draw their pks from one sequence. The first version of an annotation has the
    pk of its image's first version, and no row until it is fetched: a million images cost no million
    rows. A later version gets a pk of its own, and the image's row points to the current one.
    `version` is a hash of the rendered body.
    """

    pk: int
    ino: int
    image: int
    size_bytes: int | None
    version: str
    mtime_ns: int             # its last change that we saw; the image's created_ns before
    fetched_ns: int           # when it was last fetched or found unchanged
    superseded: bool


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One version of one export, in whatever state."""

    pk: int
    ino: int
    dataset: int
    file_name: str            # without .zip
    remote_id: str
    remote_name: str
    status: str               # pending, processing, completed, failed
    size_bytes: int | None
    created_ns: int
    completed_ns: int
    document: bytes
    gone: bool


class MemberRow(NamedTuple):
    """One member of an export's archive, or a directory of it; a row of one version of the export.

    Members and images draw their pks from one sequence. A tuple, since a folder holds them by the 100,000.
    """

    pk: int
    export: int
    parent: int               # pk of a directory of the archive; 0 at the top
    file_name: str
    name: str                 # as the archive has it
    method: int | None        # of compression, as ZIP numbers them; None: a directory
    encrypted: bool
    header: int               # offset of its local header in the archive
    packed_bytes: int
    size_bytes: int
    crc32: int
    data: int | None          # offset of its bytes; None until its local header was read

    @property
    def node(self) -> int:
        """Its node id."""
        return node_id(self.pk, Kind.MEMBER_DIRECTORY if self.method is None else Kind.MEMBER)


class MemberFacts(NamedTuple):
    """A member as the central directory has it, named for its place on the mount.

    `parent` is the position of its directory in the same list, -1 at the top. `plain` is the name in the
    archive, "" where it is the file name.
    """

    parent: int
    file_name: str
    plain: str = ""
    method: int | None = None
    encrypted: bool = False
    header: int = 0
    packed_bytes: int = 0
    size_bytes: int = 0
    crc32: int = 0


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """An archive whose members are known: pks `first` to `first + count - 1`, in the archive's order."""

    export: int
    first: int
    count: int


class BlockRow(NamedTuple):
    """A block that is whole in the store, or all (`JOINED`). A tuple, since every first read makes one."""

    node: int
    block: int
    path: str                 # relative to the cache directory; below SPILL where the store had no room
    size_bytes: int
    crc32c: int
    boot: int                 # index of the boot in which it was written or last verified


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What the service says of a dataset, in no dialect."""

    remote_id: str
    name: str
    slug: str
    archived: bool
    document: bytes           # pretty-printed JSON, the body of dataset.json
    fingerprint: str
    created_ns: int
    updated_ns: int
    image_count: int
    total_bytes: int


class ImageFacts(msgspec.Struct, frozen=True):
    """What the service says of an image, in no dialect."""

    remote_id: str
    remote_name: str
    directory_path: str
    size_bytes: int | None
    created_ns: int
    status: str
    split: str
    width: int | None = None
    height: int | None = None
    annotation_count: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """What the service says of an export, in no dialect."""

    remote_id: str
    remote_name: str
    status: str
    size_bytes: int | None
    created_ns: int
    completed_ns: int
    document: bytes


@dataclass(frozen=True, slots=True)
class ViewRow:
    """One value of `split` or `status` that some image of the dataset has."""

    pk: int
    dataset: int
    field: str                # "split" or "status"
    value: str                # as the service writes it
    file_name: str


@dataclass(frozen=True, slots=True)
class ViewDirectoryRow:
    """A directory that holds, directly or below, an image of a view; the root's is the value's own folder."""

    pk: int
    view: int
    directory: int
    file_name: str            # the directory's; "" for the root
    mtime_ns: int             # moves when a listing changed what the view shows of it


@dataclass(frozen=True, slots=True)
class BlockAge:
    """A block as eviction sees it; `(used_s, node, block)` is where the next page goes on."""

    node: int
    block: int
    size_bytes: int
    stored_s: int             # when it entered the store, seconds since the epoch
    used_s: int               # when a reader was last seen on it
    current: bool             # False: its object is superseded or gone
    pinned: bool


@dataclass(frozen=True, slots=True)
class DatasetCount:
    """For status.json: how many images a dataset has, and how many of them are whole in the store."""

    dataset: int
    file_name: str
    images: int
    cached: int


@dataclass(frozen=True, slots=True)
class Totals:
    """For statfs: the bytes and the files of one organization."""

    size_bytes: int
    files: int


@dataclass(slots=True)
class Change:
    """What a write made untrue for those who looked before: for `link.messages.Changed`."""

    entries: list[tuple[int, str]] = field(default_factory=list)  # (parent node, name) that lead elsewhere
    nodes: list[int] = field(default_factory=list)   # whose attributes or listing are another
    bodies: list[int] = field(default_factory=list)  # whose bytes were wrong on this machine

    def add(self, other: Change) -> None:
        """Takes over what `other` made untrue."""
        self.entries += other.entries
        self.nodes += other.nodes
        self.bodies += other.bodies

    def __bool__(self) -> bool:
        """Whether anybody needs to be told."""
        return bool(self.entries or self.nodes)


SPILL = "tmp"  # the folder of blocks that the store had no room for
MEDIA_BLOCK_BYTES = 8 << 20    # an image or an annotation is nearly always one block: one GET, one file
EXPORT_BLOCK_BYTES = 256 << 10  # a random read brings few bytes that nobody asked for; GETs take many blocks
MEMBER_BLOCK_BYTES = 1 << 20    # what was inflated: in memory a block at a time


def block_bytes(kind: Kind) -> int:
    """The size of the blocks that the store keeps a file of this kind in; the last one may be shorter."""
    if kind is Kind.EXPORT:
        return EXPORT_BLOCK_BYTES
    return MEMBER_BLOCK_BYTES if kind is Kind.MEMBER else MEDIA_BLOCK_BYTES
