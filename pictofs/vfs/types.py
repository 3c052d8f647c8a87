"""What `vfs` answers to a driver: attributes, entries and bytes, in inode terms and without a FUSE type.

An operation takes `done` and `fail` and calls exactly one of them exactly once: before it returns when
the answer is on this machine, later (from `Vfs.deliver`) when something must be fetched first. It returns a
`Ticket` in the second case, None in the first. Nothing here is safe to call from two threads at once:
the driver owns the one thread, or the one lock, in which it calls vfs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
Done = Callable[[T], None]
Fail = Callable[[int], None]     # a positive errno


class Ticket(Protocol):
    """An operation that is still waiting."""

    def interrupt(self) -> None:
        """End the wait now: `fail(EINTR)`, and what nobody else wants is not fetched."""


@dataclass(frozen=True, slots=True)
class Attr:
    """What getattr says of a node."""

    node: int
    ino: int
    mode: int            # type and permission bits, umask applied
    nlink: int
    size_bytes: int
    mtime_ns: int
    uid: int
    gid: int
    valid_s: float       # how long the kernel may believe it; 0 where the size is not known yet or moves
    size_known: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """What lookup says of a name. `attr` is None for a name that does not exist and may be remembered."""

    attr: Attr | None
    valid_s: float


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One row of a directory; `cookie` continues behind it, also when the listing has changed since.

    `attr` is None where the size is not known: readdirplus then leaves the attributes out.
    """

    name: str
    node: int
    ino: int
    mode: int            # the type bits suffice
    cookie: int
    attr: Attr | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file that lie on this machine: `size_bytes` at `offset` of the open descriptor `fd`.

    The descriptor stays open until `done` has returned; a driver that reads later duplicates it.
    """

    fd: int
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """The answer to a read: bytes at hand (control files), or pieces in order; both empty at the end."""

    data: bytes = b""
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Statfs:
    """What statfs says: the organization's bytes and files; free is 0."""

    block_bytes: int
    blocks: int
    files: int
    name_limit_bytes: int = 255
