"""The order in which files will be read, as announced: what comes next, and what is done with. Pure.

    nodes   ├──────── read ────────┤ at ├─── sent ───┤ window ┤──── later ────┤

Readers do not keep the order exactly (workers run ahead of each other), so every file that was read is
marked, and `at` is the furthest of them. A file that was read has the furthest known use of all: none.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable


class Advice:
    """One announced order of nodes; a node may come more than once."""

    def __init__(self, nodes: Iterable[int] = ()) -> None:
        self._nodes = array("q", nodes)
        self._ranked = array("l")     # positions, by node and then by position
        self._read = bytearray(len(self._nodes))
        self._rank()
        self.at = -1                  # the furthest position that was read
        self.sent = 0                 # positions before this were given out
        self._released = 0

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def left(self) -> int:
        """How many were not given out yet."""
        return len(self._nodes) - self.sent

    def extend(self, nodes: Iterable[int]) -> None:
        """These come behind those."""
        self._nodes.extend(nodes)
        self._read.extend(bytes(len(self._nodes) - len(self._read)))
        self._rank()

    def read(self, node: int) -> bool:
        """A node was read, or is waited for; False when it is not in the order, or all its turns are over."""
        found = self._first_unread(node)
        if found is None:
            return False
        self._read[found] = 1
        self.at = max(self.at, found)
        return True

    def knows(self, node: int) -> bool:
        """Whether a node comes in the order at all, read or not."""
        at = bisect_left(self._ranked, node, key=self._nodes.__getitem__)
        return at < len(self._ranked) and self._nodes[self._ranked[at]] == node

    def take(self, count: int, window: int) -> list[int]:
        """The next nodes, at most `count`, no further than `window` ahead of the readers."""
        end = min(len(self._nodes), self.sent + count, self.at + 1 + window)
        taken = self._nodes[self.sent : max(self.sent, end)].tolist()
        self.sent += len(taken)
        return taken

    def give_back(self, count: int) -> None:
        """The last `count` of what was taken could not be sent yet."""
        self.sent = max(0, self.sent - count)

    def release(self, count: int) -> list[int]:
        """At most `count` nodes that were read and have no turn left: the first to make room. Each once."""
        released: list[int] = []
        while self._released <= self.at and len(released) < count:
            position = self._released
            if not self._read[position]:
                if self.at - position < 4 * count:
                    break             # a slow worker is to read it yet
            elif self._first_unread(self._nodes[position]) is None:
                released.append(self._nodes[position])
            self._released += 1
        return released

    def _rank(self) -> None:
        self._ranked = array("l", sorted(range(len(self._nodes)), key=self._nodes.__getitem__))

    def _first_unread(self, node: int) -> int | None:
        at = bisect_left(self._ranked, node, key=self._nodes.__getitem__)
        while at < len(self._ranked) and self._nodes[self._ranked[at]] == node:
            if not self._read[self._ranked[at]]:
                return self._ranked[at]
            at += 1
        return None
