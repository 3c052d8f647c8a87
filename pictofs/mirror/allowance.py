"""How much may be fetched a day: the option max_fetch, kept in the cache directory over restarts.

A day is one of Unix time (UTC). Look-ahead and fill end at AHEAD_SHARE of it, so that they never take what
readers need; demand ends at all of it, in EAGAIN.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from pictofs.errors import RateLimited

FILE = "fetched.json"
DAY_S = 86_400
AHEAD_SHARE = 0.8


class Allowance:
    """Counts bytes of the day. `limit_bytes` None: no limit, and nothing is kept."""

    def __init__(
        self, cache_dir: str, limit_bytes: int | None, *, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._path = os.path.join(cache_dir, FILE)
        self._limit_bytes = limit_bytes
        self._wall_s = wall_s
        self._day = 0
        self._bytes = 0
        self._kept = 0
        if limit_bytes is not None:
            self._load()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit_bytes is not None

    def spend(self, size_bytes: int) -> None:
        """So many bytes have come."""
        self._turn()
        self._bytes += size_bytes

    def left_bytes(self, *, ahead: bool = False) -> int | None:
        """What may still be fetched today, by readers or `ahead` of them; None without a limit."""
        if self._limit_bytes is None:
            return None
        self._turn()
        limit = int(self._limit_bytes * AHEAD_SHARE) if ahead else self._limit_bytes
        return max(0, limit - self._bytes)

    def check(self) -> None:
        """RateLimited when a reader may fetch no more today."""
        if self.left_bytes() == 0:
            left_s = DAY_S - self._wall_s() % DAY_S
            raise RateLimited(
                f"max_fetch={self._limit_bytes} bytes are used up for today; again in {left_s / 3600:.1f} "
                "hours, or mount with a larger max_fetch",
                retry_after_s=left_s,
            )

    def keep(self) -> None:
        """Writes it down if it moved. OSError."""
        if self._limit_bytes is None or self._bytes == self._kept:
            return
        with open(self._path + ".new", "w", encoding="ascii") as file:
            json.dump({"day": self._day, "bytes": self._bytes}, file)
        os.replace(self._path + ".new", self._path)
        self._kept = self._bytes

    def _load(self) -> None:
        self._turn()
        try:
            with open(self._path, encoding="ascii") as file:
                kept = json.load(file)
            if int(kept["day"]) == self._day:
                self._bytes = self._kept = max(0, int(kept["bytes"]))
        except (OSError, ValueError, KeyError, TypeError):
            return  # none yet, or not ours to read: the day begins here

    def _turn(self) -> None:
        day = int(self._wall_s()) // DAY_S
        if day != self._day:
            self._day, self._bytes, self._kept = day, 0, -1
