"""Open descriptors of blocks that are whole on this machine, least recently read closed first.

A block is immutable: once opened, its descriptor gives the right bytes also after the store evicted the
file. `open` opens what the catalog names; a path that is not there, of another length, or written in an
earlier boot and not verified since (nothing was synced) is *lost*: the fetching process must look first.

A file that the store has removed keeps its place on the disk while it is open, against every limit of the
cache. So those are closed now and then (`release`), and of what the store had no room for at all only a few
stay open.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable

from pictofs.catalog import JOINED
from pictofs.catalog.model import SPILL, BlockRow

DEFAULT_LIMIT = 512
MOST_SPILLED = 16   # more than one read of a MiB can need


class Lost(Exception):
    """The catalog names a block that cannot be trusted as it lies there."""


class Descriptors:
    """At most `limit` open blocks under `directory`; `boot` is the index of this boot in the catalog."""

    def __init__(self, directory: str, boot: Callable[[], int | None], limit: int = DEFAULT_LIMIT) -> None:
        self._directory = directory
        self._boot = boot
        self._limit = limit
        self._open: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._spilled: list[tuple[int, int]] = []   # those of them that lie in the spill, the latest last
        self.opened = 0
        self.hits = 0

    def held(self, node: int, block: int) -> int | None:
        """The descriptor when it is open already."""
        fd = self._open.get((node, block))
        if fd is not None:
            self.hits += 1
            self._open.move_to_end((node, block))
        return fd

    def holds(self, node: int, block: int) -> bool:
        """Is it open already? Not a reader's question, so it counts as no hit."""
        return (node, block) in self._open

    def trusted(self, row: BlockRow) -> bool:
        """Was it written, or verified, in this boot, or synced?"""
        return row.block == JOINED or row.boot == self._boot()

    def open(self, row: BlockRow, *, verified: bool = False) -> int:
        """Opens the block of `row`; raises Lost, and OSError for what looking again does not mend.

        `verified`: the fetching process has just looked at it (where the system tells no boots apart,
        there is nothing else to go by).
        """
        if not verified and not self.trusted(row):
            raise Lost(f"block {row.block} of {row.node} is of an earlier boot")
        try:
            fd = self._open_file(f"{self._directory}/{row.path}")
        except FileNotFoundError:
            raise Lost(f"block {row.block} of {row.node} is not there") from None
        if os.fstat(fd).st_size != row.size_bytes:
            os.close(fd)
            raise Lost(f"block {row.block} of {row.node} has another length")
        self._open[row.node, row.block] = fd
        self.opened += 1
        self._shrink()
        if row.path.startswith(SPILL):
            self._spilled.append((row.node, row.block))
            if len(self._spilled) > MOST_SPILLED:
                self._close(self._spilled.pop(0))
        return fd

    def release(self) -> None:
        """Closes the files that have been removed: some 0.7 µs for each that is open."""
        for key, fd in list(self._open.items()):
            if not os.fstat(fd).st_nlink:
                self._close(key)

    def _open_file(self, path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        # fewer may be had than we thought: give up half of ours, and no longer expect as many
        self._limit = max(1, len(self._open) // 2)
        self._shrink()
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _shrink(self) -> None:
        while len(self._open) > self._limit:
            os.close(self._open.popitem(last=False)[1])

    def forget(self, nodes: Iterable[int]) -> None:
        """Closes what is open of these nodes."""
        wanted = frozenset(nodes)
        for key in [key for key in self._open if key[0] in wanted]:
            self._close(key)

    def close(self) -> None:
        """Closes all."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _close(self, key: tuple[int, int]) -> None:
        fd = self._open.pop(key, None)
        if fd is not None:
            os.close(fd)

    def __len__(self) -> int:
        return len(self._open)
