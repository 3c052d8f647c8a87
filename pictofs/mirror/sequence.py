"""Who reads an archive in order, and how far ahead of it to fetch: pure.

A reader is a process on one archive. Some blocks in a row are proof enough for a window as long as the row;
so the window doubles as long as the reader goes on, and whoever takes one member and goes has fetched little
in vain. Who begins with the first byte most likely wants all: four times the row then, which is two latencies
instead of five until a link of 1 Gbit/s is full. The window is gone with the first step aside. News come late
and out of order: a block that was here is told of some time after it was read, one that was not when it is
asked for, and the kernel asks ahead of who reads. So what lies within the row or the window is no step aside.
Whoever begins at the end reads the directory there: the end comes in one piece.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

READERS = 256
PROOF_BLOCKS = 4           # a picture lies in two, and the kernel reads ahead into a third
LONGEST_WINDOW = 128       # 32 MiB
STEP_BLOCKS = 8            # one transfer
FROM_THE_START = 4         # times the row, of a row that began with the archive
SLACK = 1                  # blocks that may be skipped: what is stored with headers between
END_SHARE = 256            # of an archive: its end, where the directory is, and never much of it
END_BLOCKS = 16


@dataclass(slots=True)
class _Reader:
    row: range             # the blocks it has read in order
    before: range          # the row before that, of which there may still be news
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
            self._readers[key] = _Reader(range(first, last + 1), range(0))
            while len(self._readers) > READERS:
                self._readers.popitem(last=False)
            if last + 1 == count:
                return range(max(0, count - min(END_BLOCKS, max(1, count // END_SHARE))), first)
            return range(0)
        self._readers.move_to_end(key)
        if _within(first, last, reader.row) or _within(first, last, reader.before):
            return range(0)
        if not reader.row.start <= first <= max(reader.row.stop, reader.reach) + SLACK:
            reader.row, reader.before = range(first, last + 1), reader.row
            reader.window = reader.reach = 0
            return range(0)
        reader.row = range(reader.row.start, last + 1)
        return self._ahead(reader, count, min(self._longest, longest or self._longest))

    def _ahead(self, reader: _Reader, count: int, longest: int) -> range:
        """Asked anew a step at a time: what is asked for together comes together, and then the link idles."""
        at = reader.row.stop
        reader.reach = max(reader.reach, at)
        step = min(STEP_BLOCKS, reader.window // 2)
        if len(reader.row) < PROOF_BLOCKS or (reader.window and reader.reach - at > reader.window - step):
            return range(0)
        times = 1 if reader.row.start else FROM_THE_START
        reader.window = min(longest, times * len(reader.row))
        end = min(count, at + reader.window)
        ahead = range(reader.reach, end)
        reader.reach = max(reader.reach, end)
        return ahead


def _within(first: int, last: int, row: range) -> bool:
    return row.start <= first and last < row.stop
