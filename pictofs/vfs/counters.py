"""What is counted, and the ring of recent operations: plain numbers, since every hit pays for them."""

from __future__ import annotations

import errno
from collections import Counter, deque
from collections.abc import Callable

# The ring is fed only while somebody looks: for so long after `.pictofs/access.log` was last asked for.
WATCHED_S = 60.0
RING = 4096


class Counters:
    """Operations by name, failures by errno, waits; and the ring when somebody looks."""

    def __init__(self, wall_ns: Callable[[], int], clock: Callable[[], float]) -> None:
        self._wall_ns = wall_ns
        self._clock = clock
        self._watched_until_s = 0.0
        self.operations: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.waited_s = 0.0
        self._ring: deque[tuple[int, str, int, str, str]] = deque(maxlen=RING)

    @property
    def watched(self) -> bool:
        """Is the ring to be fed?"""
        return self._watched_until_s > 0.0 and self._clock() < self._watched_until_s

    def watch(self) -> None:
        """Somebody looks at the ring; what is old is dropped when nobody did for a while."""
        if not self.watched:
            self._ring.clear()
        self._watched_until_s = self._clock() + WATCHED_S

    def failed(self, number: int) -> None:
        """An operation ended in an errno."""
        self.failures[errno.errorcode.get(number, str(number))] += 1

    def record(self, name: str, node: int, what: str, outcome: str) -> None:
        """One line of the ring."""
        self._ring.append((self._wall_ns(), name, node, what, outcome))

    def lines(self) -> list[tuple[int, str, int, str, str]]:
        """The ring, oldest first: wall time in ns, operation, node, argument, outcome."""
        return list(self._ring)
