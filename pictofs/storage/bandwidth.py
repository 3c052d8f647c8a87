"""A ceiling on bytes a second over all transfers: a bucket that may be overdrawn by what has already come."""

from __future__ import annotations

import threading
from collections.abc import Callable

# How much may come at once after a pause: a quarter of a second's worth, so that a second is never far off.
BURST_S = 0.25


class Bucket:
    """Bytes to spend, refilled at `bytes_s`. Thread-safe."""

    def __init__(self, bytes_s: float, clock: Callable[[], float]) -> None:
        self._bytes_s = bytes_s
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below; a leaf, never held across a call
        self._left = bytes_s * BURST_S
        self._filled_s = clock()

    def spend(self, size_bytes: int) -> None:
        """So many bytes have come."""
        with self._lock:
            self._left -= size_bytes

    def debt_s(self) -> float:
        """Seconds until something may come again; 0: it may."""
        now_s = self._clock()
        with self._lock:
            self._left += (now_s - self._filled_s) * self._bytes_s
            self._left = min(self._left, self._bytes_s * BURST_S)
            self._filled_s = now_s
            return max(0.0, -self._left / self._bytes_s)
