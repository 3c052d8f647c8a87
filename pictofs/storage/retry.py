"""When an attempt has failed, when it is given up, and when the next one begins. Pure but for the draw.

    an attempt ends   reset, truncated, refused, no answer     again at once, then after full jitter
                      5xx, 408, 429                            again after Retry-After, else full jitter
                      below FLOOR_BYTES_S for STALL_S          again at once, twice for free
                      no byte for timeout_s                    again at once
    the transfer ends RETRIES failures in a row without a new byte, or ATTEMPTS at all,
                      or 2 x timeout_s without a new byte, or a Retry-After beyond timeout_s

A byte that is new (further than any attempt had come) begins the count again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

RETRIES = 5
# Bounds a host that gives a few bytes to each attempt. 8 MiB in ever broken pieces of 256 KiB still arrive.
ATTEMPTS = 40
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 5.0
# A stalled connection is cheaper to leave than to wait for: what arrived is kept.
FLOOR_BYTES_S = 1024
STALL_S = 5.0
STALL_RESTARTS = 2
# Of timeout_s without a new byte, over all attempts.
PATIENCE = 2.0


class Cause(enum.Enum):
    """Why an attempt brought no whole body."""

    CONNECTION = "connection"  # refused, reset, no name, TLS broken off, protocol error
    TRUNCATED = "truncated"  # ended in order, too early
    STALLED = "stalled"  # below the floor
    TIMEOUT = "timeout"  # no byte
    STATUS = "status"  # 408, 429, 5xx
    LASTING = "lasting"  # no trust in the certificate, unusable proxy: again is no use
    SINK = "sink"  # the disk


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt, in words that hold no secret."""

    cause: Cause
    text: str


class Budget:
    """The retries of one transfer."""

    __slots__ = ("_attempts", "_draw", "_failures", "_progress_s", "_stalls", "_timeout_s")

    def __init__(self, timeout_s: float, draw: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._draw = draw
        self._attempts = 0
        self._failures = 0
        self._stalls = 0
        self._progress_s: float | None = None

    @property
    def attempts(self) -> int:
        """Attempts begun so far."""
        return self._attempts

    def began(self, now_s: float) -> None:
        """An attempt begins. The time before the first one is the queue's and does not count."""
        self._attempts += 1
        if self._progress_s is None:
            self._progress_s = now_s

    def progressed(self, now_s: float) -> None:
        """A byte came that no attempt had brought before."""
        self._progress_s = now_s
        self._failures = 0

    def renew(self) -> None:
        """Begin again: a fresh URL, or a body thrown away for its checksum."""
        self._failures = 0
        self._progress_s = None

    def watch(self, now_s: float) -> Watch:
        """What to hold the attempt that begins now to."""
        since_s = now_s if self._progress_s is None else self._progress_s
        left_s = since_s + PATIENCE * self._timeout_s - now_s
        stall_s = min(STALL_S, self._timeout_s / 2) if self._stalls < STALL_RESTARTS else None
        return Watch(now_s, max(0.0, min(self._timeout_s, left_s)), stall_s)

    def wait_s(self, cause: Cause, now_s: float, retry_after_s: float | None = None) -> float | None:
        """Seconds to the next attempt after one that failed; None: it was the last."""
        if cause in (Cause.LASTING, Cause.SINK) or self._attempts >= ATTEMPTS:
            return None
        since_s = now_s if self._progress_s is None else self._progress_s
        left_s = since_s + PATIENCE * self._timeout_s - now_s
        if cause is Cause.STALLED:
            self._stalls += 1
            return 0.0 if left_s > 0 else None
        self._failures += 1
        if self._failures > RETRIES:
            return None
        if retry_after_s is not None:
            # Honoured or not tried at all; spread, since many transfers are told the same.
            wait_s = retry_after_s * (1 + self._draw() / 4)
            return wait_s if retry_after_s <= self._timeout_s else None
        if cause is Cause.STATUS or self._failures > 1:
            wait_s = self._draw() * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0**self._failures)
        else:
            wait_s = 0.0
        return wait_s if wait_s < left_s else None


class Watch:
    """Tells from the count of bytes when an attempt has gone silent, or too slow to wait for."""

    __slots__ = ("_byte_s", "_last", "_patience_s", "_since_s", "_stall_s", "_then")

    def __init__(self, now_s: float, patience_s: float, stall_s: float | None) -> None:
        self._patience_s = patience_s
        self._stall_s = stall_s
        self.forgive(now_s, 0)

    @property
    def silence(self) -> Cause:
        """What it is when not a byte came for `silence_s`."""
        return Cause.TIMEOUT if self._stall_s is None or self._stall_s > self._patience_s else Cause.STALLED

    @property
    def silence_s(self) -> float:
        """How long may pass without a byte at the least."""
        return self._patience_s if self._stall_s is None else min(self._stall_s, self._patience_s)

    def forgive(self, now_s: float, received_bytes: int) -> None:
        """Begin to count anew: it was we who did not read."""
        self._byte_s = self._since_s = now_s
        self._last = self._then = received_bytes

    def look(self, now_s: float, received_bytes: int) -> Cause | None:
        """TIMEOUT, STALLED, or None: go on. `received_bytes` of this attempt, heads included."""
        if received_bytes != self._last:
            self._last = received_bytes
            self._byte_s = now_s
        elif now_s - self._byte_s >= self.silence_s:
            return self.silence
        if self._stall_s is not None and now_s - self._since_s >= self._stall_s:
            if received_bytes - self._then < FLOOR_BYTES_S * self._stall_s:
                return Cause.STALLED
            self._since_s = now_s
            self._then = received_bytes
        return None
