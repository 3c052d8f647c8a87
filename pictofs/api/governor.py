"""The hour's budget of requests, as the service's headers tell it, and who may still spend of it.

Every answer says how many requests are left until when. Demand (a reader waits) may spend all of them;
background calls (look-ahead, fill) end in RateLimited once only the reserve is left, so that a reader finds
some. A 429 holds everybody back for as long as its `Retry-After` says.

One lock, held for arithmetic only; nothing is called while it is held.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pictofs.api.refusals import again
from pictofs.errors import RateLimited

RESERVE_SHARE = 0.1        # of the limit: 500 of 5,000, what an hour of `ls` and new epochs needs
UNTOLD_RESET_S = 60.0      # a budget without an end is believed this long
LONGEST_WINDOW_S = 86_400.0
SAME_WINDOW_S = 2.0        # Reset and Date are whole seconds, so the end of one window wobbles


@dataclass(frozen=True, slots=True)
class Budget:
    """What the service last said: `remaining` of `limit` requests until `reset_s` (Unix seconds)."""

    limit: int
    remaining: int
    reset_s: float


class Governor:
    """Says whether a request may go now. Thread-safe.

    `clock` is monotonic and counts waits; `wall` is Unix time, asked only where an answer carries no `Date`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        reserve_share: float = RESERVE_SHARE,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._reserve_share = reserve_share
        self._lock = threading.Lock()
        self._limit = 0            # 0: the service has told no budget
        self._remaining = 0
        self._reset_s = 0.0        # Unix time, as told
        self._ends = 0.0           # the same moment on our clock
        self._held_until = 0.0     # after a 429
        self._in_flight = 0

    @property
    def budget(self) -> Budget | None:
        """What was told less what is under way; full again once its window is over; None if untold."""
        with self._lock:
            if not self._limit:
                return None
            left = self._left()
            return Budget(self._limit, self._limit if left is None else max(0, left), self._reset_s)

    @property
    def reserve(self) -> int:
        """How many requests background calls leave to demand."""
        with self._lock:
            return self._reserve()

    def admit(self, *, background: bool = False) -> float:
        """0 when the request may go: `done` must follow. Else the seconds to wait before asking here again.

        Raises RateLimited for a background call that only the reserve could pay for.
        """
        with self._lock:
            now = self._clock()
            if now < self._held_until:
                return self._held_until - now
            left = self._left()
            if left is not None and left <= 0:
                return max(0.001, self._ends - now)
            if left is None or not background or left > self._reserve():
                self._in_flight += 1
                return 0.0
            wait_s = max(0.0, self._ends - now)
        raise RateLimited(
            f"only the reserve of {left} API requests is left, kept for readers that wait: {again(wait_s)}",
            retry_after_s=wait_s,
        )

    def done(self, headers: Mapping[str, str] | None = None, server_now_s: float | None = None) -> None:
        """An admitted request has ended; `headers` of its answer, `server_now_s` from its `Date`."""
        told = _told(headers) if headers else None
        wall_s = self._wall() if server_now_s is None else server_now_s
        with self._lock:
            self._in_flight -= 1
            if told is not None:
                self._learn(told, wall_s)

    def hold(self, wait_s: float) -> None:
        """Nobody asks for so long: the service has answered 429."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + wait_s)

    def until_reset_s(self) -> float | None:
        """Seconds until the budget is full again, where it is known to be spent; None otherwise."""
        with self._lock:
            left = self._left()
            return max(0.0, self._ends - self._clock()) if left is not None and left <= 0 else None

    # with the lock held

    def _left(self) -> int | None:
        """What may still be spent in the window; None where none is known or it is over."""
        if not self._limit or self._clock() >= self._ends:
            return None
        return self._remaining - self._in_flight

    def _reserve(self) -> int:
        return math.ceil(self._limit * self._reserve_share)

    def _learn(self, told: tuple[int, int, float | None], wall_s: float) -> None:
        limit, remaining, reset_s = told
        lasts_s = UNTOLD_RESET_S if reset_s is None else reset_s - wall_s
        now = self._clock()
        ends = now + min(max(0.0, lasts_s), LONGEST_WINDOW_S)
        live = bool(self._limit) and now < self._ends
        if live and limit == self._limit and ends < self._ends - SAME_WINDOW_S:
            return  # an answer of the window before, overtaken on its way
        if live and limit == self._limit and ends <= self._ends + SAME_WINDOW_S:
            # Answers overtake each other; within a window what is left only falls.
            remaining = min(remaining, self._remaining)
            ends = max(ends, self._ends)
        self._limit, self._remaining, self._ends = limit, remaining, ends
        self._reset_s = wall_s + lasts_s if reset_s is None else reset_s


def _told(headers: Mapping[str, str]) -> tuple[int, int, float | None] | None:
    """(limit, remaining, reset as Unix time or None) of an answer's headers; None without a budget."""
    limit = _number(headers.get("x-ratelimit-limit"))
    remaining = _number(headers.get("x-ratelimit-remaining"))
    reset = _number(headers.get("x-ratelimit-reset"))
    if limit is None or remaining is None or limit < 1:
        return None
    if reset is not None and reset > 1e11:
        reset /= 1000  # milliseconds
    return int(limit), int(max(0, remaining)), reset


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
