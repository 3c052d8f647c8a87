"""`Vfs`: lookup, getattr, readdir, read and the rest in inode terms, answered now or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pictofs.config import Settings
from pictofs.vfs.types import Attr, Bytes, DirEntry, Done, Entry, Fail, Statfs, Ticket

Changes = Callable[[list[tuple[int, str]], list[int]], None]


class Vfs:
    """What a driver calls. One thread, or one lock: nothing here is safe to call from two at once.

    Every operation calls exactly one of `done` and `fail(errno)` exactly once: before it returns (and then it
    returns None) or from `deliver`, `tick`, `relink` or the ticket's `interrupt`. A write is the driver's EROFS.
    `on_changed(entries, nodes)` is set by a driver that can tell the kernel: (parent, name) pairs that lead
    elsewhere, and nodes whose attributes or listing changed. It is called from `deliver`.
    `on_link_lost()` is set by who restarts the fetching process; until `relink`, what is present is served.
    """

    on_changed: Changes | None
    on_link_lost: Callable[[], None] | None

    def __init__(self, tree: Any, link: Any, settings: Settings, clock: Callable[[], float]) -> None:
        raise NotImplementedError

    def lookup(self, parent: int, name: str, done: Done[Entry], fail: Fail) -> Ticket | None:
        """The entry of `name`; `Entry.attr` None is a name that does not exist, for `valid_s`."""
        raise NotImplementedError

    def getattr(self, node: int, done: Done[Attr], fail: Fail) -> Ticket | None:
        """The attributes of a node, the size exact."""
        raise NotImplementedError

    def readdir(
        self, node: int, cookie: int, limit: int, done: Done[list[DirEntry]], fail: Fail
    ) -> Ticket | None:
        """At most `limit` entries behind `cookie` (0: from the start); an empty list is the end.

        `.` and `..` are the driver's, see `dots`; cookies from 1 to 255 are never ours, so it may use them.
        """
        raise NotImplementedError

    def readlink(self, node: int, done: Done[bytes], fail: Fail) -> Ticket | None:
        """The target of a symbolic link."""
        raise NotImplementedError

    def read(
        self, node: int, offset: int, size: int, done: Done[Bytes], fail: Fail, pid: int = 0
    ) -> Ticket | None:
        """Bytes of a file, clipped at its end; pieces of present blocks in order."""
        raise NotImplementedError

    def getxattr(self, node: int, name: str, done: Done[bytes], fail: Fail) -> Ticket | None:
        """The value of an extended attribute; ENODATA where there is none."""
        raise NotImplementedError

    def listxattr(self, node: int, done: Done[list[str]], fail: Fail) -> Ticket | None:
        """The names of the extended attributes that have a value."""
        raise NotImplementedError

    def statfs(self, done: Done[Statfs], fail: Fail) -> Ticket | None:
        """The organization's bytes and files; free is 0."""
        raise NotImplementedError

    def dots(self, node: int) -> tuple[int, int]:
        """The inode numbers (st_ino) of `.` and `..` of a directory; answered at once, never fails."""
        raise NotImplementedError

    def ready(self, node: int) -> bool:
        """Is every block of the file present, so that any read of it is answered at once?"""
        raise NotImplementedError

    def fileno(self) -> int:
        """What to poll for reading before `deliver`; -1 while the link is down. Changes with `relink`."""
        raise NotImplementedError

    def deliver(self) -> None:
        """The link is readable: handle what has come, and end the operations that it satisfies."""
        raise NotImplementedError

    def tick(self) -> float | None:
        """End the operations whose patience is over; seconds until the next call is due, None: not before news."""
        raise NotImplementedError

    def relink(self, link: Any) -> None:
        """A new connection to a (new) fetching process: what is still wanted is asked again over it."""
        raise NotImplementedError

    def close(self) -> None:
        """Fail what waits with ENOTCONN and close the descriptors."""
        raise NotImplementedError
