"""READDIR and READDIRPLUS: pages of vfs, cut to the kernel's buffers.

The kernel asks in pages of its own (4 KiB and up, a hundred names), vfs answers up to a thousand rows at the
price of a few. So what did not fit is kept for the request that goes on behind it, for a moment: a changed
directory forgets it, and any other cookie asks vfs anew. Cookies of vfs hold across changes; so does telldir.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from pictofs.drivers.kernel import replies
from pictofs.vfs import Vfs
from pictofs.vfs.types import Attr, DirEntry, Fail, Ticket

PAGE_ROWS = 1000                   # a short read transaction of the catalog
_STREAMS = 64                      # readers of directories remembered at once, of at most PAGE_ROWS rows each
_KEPT_S = 2.0                      # for the next request of a reader that is at it, no longer


@dataclass(frozen=True, slots=True)
class _Rest:
    rows: list[DirEntry]
    plus: bool         # they were asked for with attributes
    first: int
    valid_s: float
    born_s: float


class Listings:
    """Directories as the kernel reads them. Called where vfs may be called."""

    def __init__(self, vfs: Vfs, clock: Callable[[], float] = time.monotonic) -> None:
        self._vfs = vfs
        self._clock = clock
        self._rests: OrderedDict[tuple[int, int], _Rest] = OrderedDict()

    def read(
        self, node: int, cookie: int, size: int, plus: bool, done: Callable[[bytes], None], fail: Fail
    ) -> Ticket | None:
        """What stands behind `cookie`, at most `size` bytes of fuse_dirent(plus); none at the end."""
        rest = self._rests.pop((node, cookie), None)
        if rest is not None and rest.born_s + _KEPT_S > self._clock() and (rest.plus or not plus):
            done(self._cut(node, rest, size, plus, []))
            return None
        head = [] if cookie >= replies.DOTDOT else replies.dots(self._vfs.dots(node), cookie, plus)
        after = 0 if cookie <= replies.DOTDOT else cookie
        arrived = partial(self._arrived, node, size, plus, head, done)
        return self._vfs.readdir(node, after, PAGE_ROWS, arrived, fail, names_only=not plus)

    def changed(self, nodes: Iterable[int]) -> None:
        """These directories are others now."""
        changed = set(nodes)
        for key in [key for key in self._rests if key[0] in changed]:
            del self._rests[key]

    def _arrived(
        self, node: int, size: int, plus: bool, head: list[bytes], done: Callable[[bytes], None],
        rows: list[DirEntry],
    ) -> None:
        valid_s = self._valid_s(node) if plus and rows else 0.0
        done(self._cut(node, _Rest(rows, plus, 0, valid_s, self._clock()), size, plus, head))

    def _cut(self, node: int, rest: _Rest, size: int, plus: bool, head: list[bytes]) -> bytes:
        room_bytes = size - sum(map(len, head))
        packed, following = replies.rows(rest.rows, rest.first, room_bytes, plus, rest.valid_s)
        if rest.first < following < len(rest.rows):
            key = node, rest.rows[following - 1].cookie
            self._rests[key] = _Rest(rest.rows, rest.plus, following, rest.valid_s, rest.born_s)
            if len(self._rests) > _STREAMS:
                self._rests.popitem(last=False)
        return b"".join(head + packed)

    def _valid_s(self, node: int) -> float:
        """How long names in the directory hold: as long as its attributes; not at all if those must wait."""
        said: list[float] = []

        def got(attr: Attr) -> None:
            said.append(attr.valid_s)

        def failed(_: int) -> None:
            said.append(0.0)

        ticket = self._vfs.getattr(node, got, failed)
        if ticket is not None:
            ticket.interrupt()
        return said[0]
