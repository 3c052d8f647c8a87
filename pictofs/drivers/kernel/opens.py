"""Which node is open how often, and over which backing file: what io=passthrough must never forget.

While a node is open in passthrough the kernel refuses every other answer to OPEN with EIO, also one over
another backing id, and the same holds for a node that is open the ordinary way. So each OPEN follows the
first, and the rows lie in shared memory: a successor goes on counting. RELEASE comes after the kernel has let
go, so our count is never below its.

A row is (node, backing id or 0, count << 40 | unique of the request that changed it last): the last word is
one store, before the reply. A request that comes again after a hand-over has the same unique and changes
nothing.

A backing id is kept for a while after the last close (`IDLE`, the least recent given back first), for an
epoch opens each file again and again: without, each time costs two ioctls and a look at the catalog. The row
then counts 0, and a successor gives such ids back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from pictofs.drivers.kernel.shared import ROW_WORDS, ROWS
from pictofs.drivers.kernel.wire import FUSE_UNIQUE_RESEND

_UNIQUE = (1 << 40) - 1
IDLE = 512                         # an evicted file takes room on the disk while a backing id holds it


class Opens:
    """The rows, with an index by node.

    `words` is `Shared.words`; `close` gives a backing id back; `idle` are kept that nobody has open.
    """

    def __init__(self, words: memoryview, close: Callable[[int], None], idle: int = IDLE) -> None:
        self._words = words
        self._close = close
        self._most_idle = idle
        self._rows: dict[int, int] = {}
        self._idle: OrderedDict[int, int] = OrderedDict()
        self._freed: list[int] = []
        self._unused = ROWS

    def adopt(self) -> None:
        """Take over what a predecessor had open, and carry out the releases that it had begun."""
        words, at = self._words, self._unused
        while at + ROW_WORDS <= len(words) and words[at]:
            if words[at + 2] >> 40:
                self._rows[words[at]] = at
            else:
                self._vacate(at)
            at += ROW_WORDS
        self._unused = at

    def __len__(self) -> int:
        return len(self._rows)

    def backing(self, node: int) -> int | None:
        """The backing id `node` is open over, 0 when it is open the ordinary way, None when not at all."""
        at = self._rows.get(node)
        return None if at is None else self._words[at + 1]

    def revive(self, node: int) -> int | None:
        """The backing id that is kept of `node`, which nobody has open; `opened` is to follow."""
        at = self._idle.get(node)
        return None if at is None else self._words[at + 1]

    def forget(self, nodes: Iterable[int]) -> None:
        """Something of these nodes is another now: keep nothing of those that nobody has open."""
        for node in nodes:
            at = self._idle.pop(node, None)
            if at is not None:
                self._vacate(at)

    def opened(self, node: int, backing: int, unique: int) -> bool:
        """Count one more; `backing` matters for the first. False when there is no room for another node."""
        words, mark = self._words, unique & _UNIQUE
        idle = self._idle.pop(node, None)
        if idle is not None:
            words[idle + 2] = 1 << 40 | mark
            self._rows[node] = idle
            return True
        at = self._rows.get(node)
        if at is not None:
            state = words[at + 2]
            if not _again(unique, state):
                words[at + 2] = (state >> 40) + 1 << 40 | mark
            return True
        if not self._freed and self._unused + ROW_WORDS > len(words) and self._idle:
            self._vacate(self._idle.popitem(last=False)[1])
        if self._freed:
            at = self._freed.pop()
        elif self._unused + ROW_WORDS <= len(words):
            at, self._unused = self._unused, self._unused + ROW_WORDS
        else:
            return False
        words[at + 1] = backing
        words[at] = node
        words[at + 2] = 1 << 40 | mark
        self._rows[node] = at
        return True

    def released(self, node: int, unique: int) -> None:
        """Count one less; after the last the backing id is kept for the next."""
        at = self._rows.get(node)
        if at is None:
            return
        state = self._words[at + 2]
        if _again(unique, state):
            return
        self._words[at + 2] = (state >> 40) - 1 << 40 | unique & _UNIQUE
        if state >> 40 == 1:
            del self._rows[node]
            if not self._words[at + 1]:
                self._vacate(at)
                return
            self._idle[node] = at
            if len(self._idle) > self._most_idle:
                self._vacate(self._idle.popitem(last=False)[1])

    def _vacate(self, at: int) -> None:
        backing = self._words[at + 1]
        if backing:
            self._close(backing)
        self._words[at + 1] = 0
        self._freed.append(at)


def _again(unique: int, state: int) -> bool:
    """Has this request, which comes a second time, changed the row already?"""
    return bool(unique & FUSE_UNIQUE_RESEND) and unique & _UNIQUE == state & _UNIQUE
