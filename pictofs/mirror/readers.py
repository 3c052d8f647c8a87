"""Who reads: whether a process may set off look-ahead, told by its name.

Thumbnailers and desktop indexers read a little of everything, and search tools read everything once and
never again: neither is a reason to fetch a dataset. A process that cannot be seen (another pid namespace, or
gone already) counts as a reader like any other.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable

NAME_S = 10.0      # a pid may be another process by then
PIDS = 1024
# As /proc/<pid>/comm has them: at most 15 characters.
_IDLERS = frozenset({
    "file", "mds", "nautilus", "dolphin", "kioworker", "kioslave5", "thunar", "nemo", "clamscan", "clamd",
    "pictofs-ui",  # the page's thumbnails: ui/server.py
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
        self._clock = clock
        self._known: dict[int, tuple[Habit, float]] = {}  # until when it is believed

    def habit(self, pid: int) -> Habit:
        """Of the process `pid`; 0 is one that nobody knows."""
        if pid <= 0:
            return Habit.READS
        known = self._known.get(pid)
        now_s = self._clock()
        if known is None or now_s >= known[1]:
            if len(self._known) >= PIDS:
                self._known.clear()
            known = self._known[pid] = habit_of(self._comm(pid)), now_s + NAME_S
        return known[0]


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
