"""How many transfers to have under way: more while that brings more, fewer when the host suffers. Pure.

Over each period the pace compares what arrived with what the period before brought:

    errors, refusals (429, 5xx)         a third fewer
    saturated                           half as many again, up to the ceiling, to see; kept while that brought
                                        more, else taken back and left alone for STEADY_PERIODS
    first bytes LATER × as late as
    they ever were, and no more came    an eighth fewer

A period without enough transfers, or in which nothing waited for a slot, says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_JOBS = 48
FEWEST_JOBS = 4
PERIOD_S = 0.25
GREW = 1.04
LATER = 3.0
STEADY_PERIODS = 16
FEWEST_ENDED = 8


@dataclass(slots=True)
class _Period:
    began_s: float
    ended: int = 0
    size_bytes: int = 0
    troubles: int = 0
    first_byte_s: float = 0.0


class Pace:
    """The number of transfers, adapted as they end. `ceiling` is the option jobs, at most 64."""

    def __init__(self, ceiling: int, now_s: float = 0.0) -> None:
        self.ceiling = max(1, ceiling)
        self.jobs = min(FIRST_JOBS, self.ceiling)
        self._period = _Period(now_s)
        self._speed = 0.0        # bytes a second of the last period that counted
        self._soonest_s = float("inf")
        self._before = 0         # the number before a step up that is on trial
        self._steady = 0         # periods until the next trial

    def ended(
        self, now_s: float, size_bytes: int, first_byte_s: float, *, troubled: bool, saturated: bool
    ) -> bool:
        """A transfer has ended; `troubled`: it failed or needed more than one attempt, `saturated`: others
        wait for its slot. True when `jobs` is another now.
        """
        period = self._period
        period.ended += 1
        period.size_bytes += size_bytes
        period.troubles += troubled
        period.first_byte_s += first_byte_s
        if now_s - period.began_s < PERIOD_S or period.ended < FEWEST_ENDED:
            return False
        before = self.jobs
        self._judge(period, now_s - period.began_s, saturated)
        self._period = _Period(now_s)
        return self.jobs != before

    def _judge(self, period: _Period, lasted_s: float, saturated: bool) -> None:
        speed = period.size_bytes / lasted_s
        first_byte_s = period.first_byte_s / period.ended
        if first_byte_s > 0:
            self._soonest_s = min(self._soonest_s, first_byte_s)
        if period.troubles * 10 > period.ended:
            self.jobs = max(min(FEWEST_JOBS, self.ceiling), self.jobs * 2 // 3)
            self._before = 0
            self._steady = STEADY_PERIODS
        elif not saturated:
            return
        elif self._before and speed <= GREW * self._speed:
            self.jobs, self._before = self._before, 0
            self._steady = STEADY_PERIODS
            return  # the speed to compare with is that of before
        elif self._before or not self._steady:
            self._before = self.jobs
            self.jobs = min(self.ceiling, self.jobs + max(1, self.jobs // 2))
            if self.jobs == self._before:
                self._before = 0
        else:
            self._steady -= 1
            if first_byte_s > LATER * self._soonest_s and speed <= GREW * self._speed:
                self.jobs = max(min(FEWEST_JOBS, self.ceiling), self.jobs - max(1, self.jobs // 8))
        self._speed = speed
