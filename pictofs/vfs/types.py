"""What `vfs` answers to a driver: attributes, entries and bytes, in inode terms and without a FUSE type.

An operation takes `done` and `fail` and calls exactly one of them exactly once: before it returns when
the answer is on this machine, later (from `Vfs.deliver`) when something must be fetched first. It returns a
`Ticket` in the second case, None in the first. Nothing here is safe to call from two threads at once:
the driver owns the one thread, or the one lock, in which it calls vfs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from pictofs.catalog.model import ROOT_NODE
from pictofs.tree.facts import Attr, DirEntry, Entry, Statfs

__all__ = ["ROOT_NODE", "Attr", "Bytes", "DirEntry", "Done", "Entry", "Fail", "Piece", "Statfs", "Ticket"]

T = TypeVar("T")
Done = Callable[[T], None]
Fail = Callable[[int], None]     # a positive errno


class Ticket(Protocol):
    """An operation that is still waiting."""

    def interrupt(self) -> None:
        """End the wait now: `fail(EINTR)`, and what nobody else wants is not fetched."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a file that lie on this machine: `size_bytes` at `offset` of the open descriptor `fd`.

    The descriptor stays open until `done` has returned; a driver that reads later duplicates it.
    """

    fd: int
    offset: int
    size_bytes: int


class Bytes(msgspec.Struct, frozen=True, gc=False):
    """The answer to a read: bytes at hand (control files), or pieces in order; both empty at the end."""

    data: bytes = b""
    pieces: tuple[Piece, ...] = ()
