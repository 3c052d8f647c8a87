"""Who reads an archive in order, and how far ahead of it to fetch: pure.

A reader is a process on one archive. The first block behind the one it read last is proof enough for a small
window; the window doubles as long as the reader goes on, and is gone with the first step aside. Whoever
begins at the end reads the directory there: the end comes in one piece.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

READERS = 256
FIRST_WINDOW = 4           # blocks
LONGEST_WINDOW = 128       # 32 MiB
SLACK = 1                  # blocks that may be skipped: what is stored with headers between
END_SHARE = 256            # of an archive: its end, where the directory is, and never much of it
END_BLOCKS = 16


@dataclass(slots=True)
class _Reader:
    last: int              # the last block it was seen on
    window: int = 0
    reach: int = 0         # the first block that was not asked for ahead


class Sequences:
    """The readers seen lately. `longest` is the longest window, in blocks."""

    def __init__(self, longest: int = LONGEST_WINDOW) -> None:
        self._longest = longest
        self._readers: OrderedDict[tuple[int, int], _Reader] = OrderedDict()

    def seen(
        self, node: int, pid: int, first: int, last: int, count: int, longest: int | None = None
    ) -> range:
        """A reader is on blocks `first` to `last` of `count`; the blocks to fetch ahead now, often none."""
        key = (node, pid)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = _Reader(last, 0, last + 1)
            while len(self._readers) > READERS:
                self._readers.popitem(last=False)
            if last + 1 == count:
                return range(max(0, count - min(END_BLOCKS, max(1, count // END_SHARE))), first)
            return range(0)
        self._readers.move_to_end(key)
        if last <= reader.last and first >= reader.last - SLACK:
            return range(0)  # still there
        if not reader.last < first <= reader.last + 1 + SLACK:
            reader.last, reader.window, reader.reach = last, 0, last + 1
            return range(0)
        reader.last = last
        return self._ahead(reader, count, min(self._longest, longest or self._longest))

    def _ahead(self, reader: _Reader, count: int, longest: int) -> range:
        """Asked anew when half of the window is read, so that the rest is on its way meanwhile."""
        reader.reach = max(reader.reach, reader.last + 1)
        left = reader.reach - reader.last - 1
        if reader.window and left > reader.window // 2:
            return range(0)
        reader.window = min(longest, reader.window * 2 or FIRST_WINDOW)
        end = min(count, reader.last + 1 + reader.window)
        ahead = range(reader.reach, end)
        reader.reach = max(reader.reach, end)
        return ahead
