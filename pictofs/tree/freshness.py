"""How long what the catalog says may be believed, and whether the service must be asked first.

A fact is fresh for `ttl` after the service was last seen to confirm it (wall-clock time, from the catalog).
Where a Look was answered and the fact is no younger (the service is away), the answer itself counts for
`ttl`: nothing is asked twice within it. The kernel is told the time that is left, not `ttl` anew, so that the
two add up to one `ttl`.

While a listing is on its way (`moving`: a page of it has arrived) names already seen resolve. While one is
late (it was waited for in vain and goes on) what is known is served without waiting again.
"""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

from pictofs.link.messages import Look
from pictofs.tree.need import Asked, Need

# How long an answer may be kept that the end of a running listing will overtake.
PROVISIONAL_S = 1.0
# How many looks are remembered; a walk over more unfetched annotations than this within ttl asks again.
REMEMBERED = 1 << 17
# A time this far in the future is a clock that was set back, not a fact from the future.
SKEW_NS = 2_000_000_000


class Freshness:
    """`ttl_s` of the mount, `wall_ns` the catalog's clock, `clock` a monotonic one in seconds."""

    def __init__(self, ttl_s: float, wall_ns: Callable[[], int], clock: Callable[[], float]) -> None:
        self.ttl_s = ttl_s
        self.wall_ns = wall_ns
        self.clock = clock
        self._answered: TTLCache[int, float] = TTLCache(REMEMBERED, ttl_s, timer=clock)
        self._moving: set[int] = set()
        self._late: set[int] = set()

    def left_s(self, seen_ns: int, look: int) -> float:
        """Seconds for which what the service confirmed at `seen_ns` may be believed; 0: look first."""
        left_s = self.ttl_s - self.age_s(seen_ns)
        if left_s <= 0.0:
            answered_s = self._answered.get(look)
            if answered_s is not None:
                left_s = self.ttl_s - (self.clock() - answered_s)
        return max(0.0, left_s)

    def age_s(self, seen_ns: int) -> float:
        """Seconds since `seen_ns`; endless for never (0) and for the future."""
        age_ns = self.wall_ns() - seen_ns
        return age_ns / 1e9 if seen_ns and age_ns >= -SKEW_NS else float("inf")

    def until_old_s(self, made_ns: int, ages: int, left_s: float) -> float:
        """`left_s`, or less where what was made at `made_ns` becomes `ages` ttl old before that.

        What is that old already and was told to be served all the same keeps `left_s`.
        """
        rest_s = ages * self.ttl_s - self.age_s(made_ns)
        return min(left_s, rest_s) if rest_s > 0.0 else left_s

    def require(
        self, look: int, seen_ns: int, asked: Asked, *, known: bool, found: bool = False
    ) -> float:
        """Raises Need unless fresh or told so already; returns the seconds that the answer is good for.

        `known`: there is an older answer to fall back on. `found`: the name at hand is in the catalog, which
        is all that a lookup needs of a listing that is on its way.
        """
        left_s = self.left_s(seen_ns, look)
        if left_s > 0.0 or asked.looked(look):
            return left_s
        if (found and look in self._moving) or (known and look in self._late):
            return min(PROVISIONAL_S, self.ttl_s)
        raise Need(Look(0, look), known=known)

    def first(self, look: int, *, found: bool) -> float:
        """Raises Need for a listing that was never whole, unless a name already seen is all that is asked."""
        if found and look in self._moving:
            return min(PROVISIONAL_S, self.ttl_s)
        raise Need(Look(0, look))

    def answered(self, look: int) -> None:
        """A Look at `look` was answered Done."""
        self._answered[look] = self.clock()
        self.ended(look)

    def moved(self, look: int) -> None:
        """A page of the listing behind `look` has arrived."""
        self._moving.add(look)

    def late(self, look: int) -> None:
        """`look` was waited for as long as one waits; it goes on."""
        self._late.add(look)

    def ended(self, look: int) -> None:
        """`look` is no longer under way."""
        self._moving.discard(look)
        self._late.discard(look)

    def forget(self) -> None:
        """What was answered while the service was away counts no more: it is back."""
        self._answered.clear()
