"""The status of mounts over time. Several pages share one look a second; without a page nobody looks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pictofs.mount.rates import rates_of

LOOK_S = 0.9  # a page asks every second, and clocks are not exact
SAMPLES = 900  # a quarter of an hour
GAP_S = 15.0  # without a look: the mean of such a time is no point of a curve

Look = Callable[[], dict[str, Any]]


@dataclass
class _Course:
    """One mount's."""

    looking: threading.Lock = field(default_factory=threading.Lock)
    document: dict[str, Any] = field(default_factory=dict)
    looked_s: float = float("-inf")
    samples: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class Figures:
    """Documents and samples by mountpoint. `clock` is monotonic, `wall` dates the samples."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._courses: dict[str, _Course] = {}
        self._adding = threading.Lock()

    def look(self, mountpoint: str, ask: Look) -> tuple[dict[str, Any], list[dict[str, float]]]:
        """The document of a mount, asked for with `ask` unless that was just done, and its samples."""
        with self._adding:
            course = self._courses.setdefault(mountpoint, _Course())
        with course.looking:
            now_s = self._clock()
            if now_s - course.looked_s >= LOOK_S:
                before, passed_s = course.document, now_s - course.looked_s
                course.document, course.looked_s = ask(), now_s
                if before and passed_s <= GAP_S:
                    course.samples.append(self._sample(before, course.document, passed_s))
            return course.document, list(course.samples)

    def _sample(self, before: Mapping[str, Any], now: Mapping[str, Any], passed_s: float) -> dict[str, float]:
        queue = now.get("queue") or {}
        waits = now.get("waits") or {}
        return {
            "at": round(self._wall(), 3),
            **{name: round(value, 3) for name, value in rates_of(before, now, passed_s).items()},
            **{name: queue.get(name, 0) for name in ("demand", "look_ahead", "fill")},
            "waiting": waits.get("now", 0),
        }
