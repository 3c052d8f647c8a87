"""How nodes look to stat: types, permissions, owners, sizes of what has no bytes."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterable

from pictofs.catalog.model import Kind, node_id
from pictofs.tree.facts import Attr

DIRECTORY_BYTES = 4096
# What a version of an image or an export looks like never changes; its name leads elsewhere instead.
IMMUTABLE_S = 3600.0
# st_nlink of a directory is 2 + its subdirectories; 1 says that nobody counted them (btrfs says so always),
# and keeps find(1) from concluding anything.
UNCOUNTED = 1


class Attributes:
    """Builds `Attr`s for one mount: its owner and its umask."""

    def __init__(self, uid: int, gid: int, umask: int) -> None:
        self._uid = uid
        self._gid = gid
        self.directory_mode = stat.S_IFDIR | 0o777 & ~umask
        self.file_mode = stat.S_IFREG | 0o666 & ~umask
        self.link_mode = stat.S_IFLNK | 0o777

    def directory(
        self, node: int, mtime_ns: int, valid_s: float, subdirectories: int | None
    ) -> Attr:
        """A directory; `subdirectories` None where counting them would cost more than the answer is worth."""
        nlink = UNCOUNTED if subdirectories is None else 2 + subdirectories
        return Attr(
            node, node, self.directory_mode, nlink, DIRECTORY_BYTES, mtime_ns, self._uid, self._gid, valid_s
        )

    def file(self, node: int, ino: int, size_bytes: int | None, mtime_ns: int, valid_s: float) -> Attr:
        """A file; of unknown size it is valid for no time at all."""
        if size_bytes is None:
            return Attr(node, ino, self.file_mode, 1, 0, mtime_ns, self._uid, self._gid, 0.0, False)
        return Attr(node, ino, self.file_mode, 1, size_bytes, mtime_ns, self._uid, self._gid, valid_s)

    def link(self, node: int, ino: int, size_bytes: int, mtime_ns: int, valid_s: float) -> Attr:
        """A symbolic link; `size_bytes` is the length of its target."""
        return Attr(node, ino, self.link_mode, 1, size_bytes, mtime_ns, self._uid, self._gid, valid_s)


def ino_of(first_pk: int, kind: Kind) -> int:
    """st_ino of the object whose first version is row `first_pk`."""
    return node_id(first_pk, kind)


def told_apart_ns(mtime_ns: int, *texts: bytes | str) -> int:
    """`mtime_ns` to the second, the rest being a checksum of `texts`.

    What the service changes without moving its clock (a count in dataset.json, a dataset that is gone) must
    still have another mtime: the page cache, the kernel's directory cache, rsync and make go by it.
    """
    digest = 0
    for text in texts:
        digest = zlib.crc32(text if isinstance(text, bytes) else text.encode(), zlib.crc32(b"\0", digest))
    return mtime_ns - mtime_ns % 1_000_000_000 + digest % 1_000_000_000


def newest_ns(times_ns: Iterable[int]) -> int:
    """The latest of some times; 0 of none."""
    return max(times_ns, default=0)
