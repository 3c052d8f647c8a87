"""What waits to be fetched ahead, in a line for each run of a reader; the lines take turns. Pure.

In one queue the window of a reader that has gone elsewhere would stand before what it reads now, a file at a
time. So a line that grows is the next to have its turn, and whose turn is over is the last.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

LINES = 64      # the one whose turn is furthest away goes
T = TypeVar("T")


class Lines(Generic[T]):
    """Lines by key. Of one that is longer than `limit` the oldest goes: it is too late to be of use."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: OrderedDict[Hashable, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, key: Hashable, items: Iterable[T]) -> None:
        """These wait at the end of a line, which is the next."""
        line = self._lines.setdefault(key, deque(maxlen=self._limit))
        line.extend(items)
        self._first(key, line)

    def back(self, key: Hashable, items: list[T]) -> None:
        """These were taken and could not go: they are the next."""
        line = deque([*items, *self._lines.get(key, ())], maxlen=self._limit)
        self._lines[key] = line
        self._first(key, line)

    def next(self) -> list[T]:
        """The line whose turn it is."""
        return list(next(iter(self._lines.values()), ()))

    @property
    def head(self) -> T | None:
        """Who is the next."""
        line = next(iter(self._lines.values()), None)
        return line[0] if line else None

    def take(self, count: int) -> tuple[Hashable, list[T]]:
        """At most so many of the line whose turn it is, and its key. KeyError when nothing waits."""
        key, line = self._lines.popitem(last=False)
        taken = [line.popleft() for _ in range(min(count, len(line)))]
        if line:
            self._lines[key] = line
        return key, taken

    def skip(self) -> None:
        """The next one does not wait any more; it is still the turn of its line."""
        key, (_, *rest) = next(iter(self._lines.items()))
        self._lines[key] = deque(rest, maxlen=self._limit)
        self._first(key, self._lines[key])

    def clear(self) -> None:
        """Nothing waits any more."""
        self._lines.clear()

    def _first(self, key: Hashable, line: deque[T]) -> None:
        if not line:
            del self._lines[key]
            return
        self._lines.move_to_end(key, last=False)
        if len(self._lines) > LINES:
            self._lines.popitem()
