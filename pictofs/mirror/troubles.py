"""The last things that went wrong, for `status`; and log lines that a crowd of readers causes only once."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

RING = 50
QUIET_S = 60.0


class Troubles:
    """A ring of one-line errors. A line that came within the last minute only moves its time."""

    def __init__(self, *, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._ring: deque[tuple[float, str]] = deque(maxlen=RING)
        self._said: TTLCache[str, None] = TTLCache(1024, QUIET_S, timer=wall_s)

    def note(self, what: str) -> bool:
        """Keeps it; True when it is news, and worth a line in the log."""
        if self._ring and self._ring[-1][1] == what:
            self._ring.pop()
        self._ring.append((self._wall_s(), what))
        news = what not in self._said
        self._said[what] = None
        return news

    def log(self, logger: logging.Logger, what: str) -> None:
        """Keeps it, and logs it as a warning when it is news."""
        if self.note(what):
            logger.warning("%s", what)

    def recent(self) -> list[dict[str, Any]]:
        """Oldest first, as status.json has them; times are UTC."""
        return [
            {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when_s)), "what": what}
            for when_s, what in self._ring
        ]
