"""The rate limit of the API: a fixed window that opens with its first request, as the headers describe it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from pictofs.emulator.service import Switches


class Verdict(NamedTuple):
    """What the limit says: headers of every answer, and seconds to wait where the request is refused."""

    headers: tuple[tuple[str, str], ...]
    retry_after_s: int | None


class RateLimit:
    """Counts requests in windows of `rate_window_s`; a limit of 0 refuses nothing and sends no headers."""

    def __init__(self, switches: Switches, clock: Callable[[], float]) -> None:
        self._switches, self._clock = switches, clock
        self._spent = 0
        self._opened_s: float | None = None

    def reset(self) -> None:
        """Forget the window, as if nothing had been asked."""
        self._spent, self._opened_s = 0, None

    def look(self) -> Verdict:
        """The headers as they stand, nothing spent."""
        return self._verdict(refused=False)

    def spend(self) -> Verdict:
        """Spend one request, or refuse it."""
        now_s = self._clock()
        if self._opened_s is None or now_s >= self._opened_s + self._switches.rate_window_s:
            self._opened_s, self._spent = now_s, 0
        refused = 0 < self._switches.rate_limit <= self._spent
        self._spent += not refused
        return self._verdict(refused)

    def _verdict(self, refused: bool) -> Verdict:
        limit = self._switches.rate_limit
        if not limit:
            return Verdict((), None)
        now_s = self._clock()
        ends_s = (now_s if self._opened_s is None else self._opened_s) + self._switches.rate_window_s
        headers = (
            ("X-RateLimit-Limit", str(limit)),
            ("X-RateLimit-Remaining", str(max(0, limit - self._spent))),
            ("X-RateLimit-Reset", str(math.ceil(ends_s))),
        )
        return Verdict(headers, max(1, math.ceil(ends_s - now_s)) if refused else None)
