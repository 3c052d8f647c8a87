"""Who reads: whether a process may set off look-ahead, told by its name.

Thumbnailers and desktop indexers read a little of everything, and search tools read everything once and
never again: neither is a reason to fetch a dataset. A process that cannot be seen (another pid namespace, or
gone already) counts as a reader like any other.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable

from cachetools import TTLCache

NAME_S = 10.0      # a pid may be another process by then
PIDS = 1024
# As /proc/<pid>/comm has them: at most 15 characters.
_IDLERS = frozenset({
    "file", "mds", "nautilus", "dolphin", "kioworker", "kioslave5", "thunar", "nemo", "clamscan", "clamd",
})  # fmt: skip
_IDLING = (
    "baloo_file", "tracker-", "localsearch", "updatedb", "plocate", "tumblerd", "thumbnail", "gdk-pixbuf-thu",
    "ffmpegthumb", "evince-thumb", "totem-video-thu", "mdworker", "freshclam", "recollindex", "zeitgeist",
)  # fmt: skip
_SEARCHERS = frozenset({"grep", "egrep", "fgrep", "rg", "ag", "ack", "ugrep", "find"})


class Habit(enum.Enum):
    """What a process is likely to do next."""

    READS = "reads"        # a training job, a copy, a person
    SEARCHES = "searches"  # everything once: a window ahead, never a whole dataset
    IDLES = "idles"        # a little of everything: nothing is fetched ahead for it


def habit_of(name: str) -> Habit:
    """By the name of the process."""
    if name in _SEARCHERS:
        return Habit.SEARCHES
    return Habit.IDLES if name in _IDLERS or name.startswith(_IDLING) else Habit.READS


class Readers:
    """The habits of processes, looked up once in NAME_S each. `comm` gives a name, "" for none."""

    def __init__(
        self,
        comm: Callable[[int], str] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._comm = comm or _comm
        self._known: TTLCache[int, Habit] = TTLCache(PIDS, NAME_S, timer=clock)

    def habit(self, pid: int) -> Habit:
        """Of the process `pid`; 0 is one that nobody knows."""
        if pid <= 0:
            return Habit.READS
        known = self._known.get(pid)
        if known is None:
            known = self._known[pid] = habit_of(self._comm(pid))
        return known


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
