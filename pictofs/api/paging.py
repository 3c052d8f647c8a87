"""Walking a list that is told in pages and may change meanwhile: no row lost, none twice. `Walk` is pure.

An offset counts rows, so rows that leave before it pull unseen ones to its left: a plain walk would lose
them. Rows that arrive before it push seen ones to its right: it would tell them twice.

  * Rows are known by their ids; what was told is not told again.
  * A page begins with the last row of the one before. When that row is not there, rows have left: the page is
    put away and the walk steps back until it meets a row that it knows. Where the list is newest first and
    says its total, no row can be lost unless the total fell, so that row need not be asked for twice.
  * The offset moves by what arrived, never by what was asked for: a server may cap its pages.
  * The end is `has_more` false; without that word a page without new rows, or the total reached. A page that
    is merely short is no end.
  * A walk that was disturbed and knows fewer rows than the total goes over the list again for what is new.

Pages of a list that is newest first may be fetched side by side, before it is known that they are next. A row
that leaves and another that comes between two such pages, so that the total stays, can hide a third one:
that is for whoever has nothing yet and looks again when the list says that it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from pictofs.errors import ServerFault

T = TypeVar("T")
PASSES = 3
# A server that ignores the offset sends the same page for ever, and so, once, does a list in front of which a
# page's worth of rows arrived. So often in a row it is the server, and the page is the whole list.
REPEATS = 4
# Pages without anything new that a walk bears: four times the others (two more passes, steps back) and some.
VAIN_SHARE, VAIN_PAGES = 4, 64
_Key = int | str


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A page that was read: rows, the list's total and whether there are more, None where it is not said."""

    rows: list[T]
    total: int | None = None
    has_more: bool | None = None


class Walk(Generic[T]):
    """Where a listing stands: what to ask next, and which of the rows that came are new.

    It moves only when a page is taken, so a caller may ask again after a failure.
    """

    def __init__(
        self,
        identity: Callable[[T], str],
        *,
        page_size: int,
        newest_first: bool = False,
        expected: int | None = None,
    ) -> None:
        self._identity = identity
        self._page_size = page_size
        self._newest_first = newest_first
        self._expected = expected
        self._seen: set[_Key] = set()
        self._told = 0
        self._at = 0
        self._anchored = False          # the next page must hold a row that is known
        self._total: int | None = None
        self._last: list[_Key | None] = []
        self._disturbed = False
        self._passes = 1
        self._steps_back = 0            # in a row
        self._useful = self._vain = 0   # pages
        self._repeats = 0
        self._over = False

    def ask(self) -> tuple[int, int] | None:
        """(offset, limit) of the next page; None at the end."""
        return None if self._over else (self._at, self._page_size)

    def forecast(self, pages: int) -> list[tuple[int, int]]:
        """What will be asked after this, `pages` at most, if the list holds still; [] if unknown.

        Before a page has told the total, `expected` is as good.
        """
        step, total = self._page_size, self._expected if self._total is None and not self._at else self._total
        if self._over or total is None or not self._newest_first or self._disturbed or self._at % step:
            return []
        return [(at, step) for at in range(self._at + step, total, step)[:pages]]

    def take(self, page: Rows[T]) -> list[T]:
        """The rows of the page asked for that were not told before. ServerFault for a list without end."""
        keys = [_key(self._identity(row)) for row in page.rows]
        fell = max(0, self._total - page.total) if self._total is not None and page.total is not None else 0
        self._disturbed |= self._total is not None and page.total != self._total
        self._total = page.total
        if self._anchored and not any(key in self._seen for key in keys if key is not None):
            self._step_back(max(len(keys), fell, 1))
            return []
        if fell and self._at and not self._anchored:
            self._step_back(fell)
            return []
        fresh = self._new(page.rows, keys)
        self._steps_back = 0
        self._count(len(fresh))
        self._advance(page, keys, len(fresh))
        self._last = keys
        return fresh

    def _new(self, rows: list[T], keys: list[_Key | None]) -> list[T]:
        fresh = []
        for row, key in zip(rows, keys, strict=True):
            if key is None:
                fresh.append(row)       # without an id nothing tells a twin from a repetition
            elif key not in self._seen:
                self._seen.add(key)
                fresh.append(row)
        self._told += len(fresh)
        self._disturbed |= len(rows) - len(fresh) > self._anchored
        return fresh

    def _advance(self, page: Rows[T], keys: list[_Key | None], fresh: int) -> None:
        end = self._at + len(keys)
        self._repeats = self._repeats + 1 if keys and not fresh and keys == self._last else 0
        stuck = self._repeats >= REPEATS
        if page.has_more and (not keys or stuck):
            raise ServerFault("a listing says that it goes on, but brings nothing new")
        if page.has_more is None:
            only_anchor = self._anchored and len(keys) == 1
            over = not keys or only_anchor or end == page.total or stuck
        else:
            over = not page.has_more
        if self._passes > 1 and page.total is not None and self._told >= page.total:
            over = True     # what had arrived meanwhile is found
        if over:
            self._finish(page.total)
            return
        quiet = self._newest_first and page.total is not None
        overlap = not quiet and len(keys) > 1 and None not in keys
        self._at, self._anchored = end - overlap, overlap

    def _finish(self, total: int | None) -> None:
        missing = total is not None and self._told < total
        if missing and self._disturbed and self._passes < PASSES:
            self._passes += 1
            self._at, self._anchored, self._disturbed, self._last = 0, False, False, []
            return
        self._over = True

    def _step_back(self, rows: int) -> None:
        self._count(0)
        self._disturbed = True
        self._at = max(0, self._at - (rows << self._steps_back))
        self._anchored = self._at > 0
        self._steps_back += 1
        self._last = []

    def _count(self, fresh: int) -> None:
        # A list that changes faster than it is read is not walked for ever.
        if fresh:
            self._useful += 1
            return
        self._vain += 1
        if self._vain > VAIN_SHARE * self._useful + VAIN_PAGES:
            raise ServerFault("a listing does not hold still: try again later")


class Pager(Generic[T]):
    """Every row of a list, at most `max_total`. Iterating starts anew each time, as do `all` and `first`."""

    def __init__(self, start: Callable[[], Iterator[list[T]]], *, max_total: int | None = None) -> None:
        self._start = start
        self._max_total = max_total

    def __iter__(self) -> Iterator[T]:
        """Rows in the service's order."""
        rows = (row for page in self._start() for row in page)
        return rows if self._max_total is None else islice(rows, self._max_total)

    def all(self) -> list[T]:
        """All of them."""
        return list(self)

    def first(self) -> T | None:
        """The first, or None of an empty list."""
        return next(iter(self), None)


class Pages(Generic[T]):
    """The pages of a walk, those without new rows left out.

    An iterator, not a generator: after a failure (RateLimited, say) `next` goes on where it stood, so a
    listing longer than the hour's budget is finished in the next hour.
    """

    def __init__(self, fetch: Callable[[int, int], Rows[T]], walk: Walk[T]) -> None:
        self._fetch = fetch
        self._walk = walk
        self._early: dict[tuple[int, int], Rows[T]] = {}

    @property
    def asked(self) -> tuple[int, int] | None:
        """(offset, limit) of the page that `next` takes."""
        return self._walk.ask()

    def forecast(self, pages: int) -> list[tuple[int, int]]:
        """What `next` will take after that, `pages` at most; empty where no total is known."""
        return self._walk.forecast(pages)

    def fetch_early(self, asked: tuple[int, int]) -> None:
        """Fetches a page of the forecast for `next` to find, in another thread if need be."""
        self._early[asked] = self._fetch(*asked)

    def __iter__(self) -> Iterator[list[T]]:
        """Itself."""
        return self

    def __next__(self) -> list[T]:
        """The new rows of the next page that has some."""
        while asked := self._walk.ask():
            early = self._early.pop(asked, None)
            fresh = self._walk.take(self._fetch(*asked) if early is None else early)
            if fresh:
                return fresh
        raise StopIteration


def _key(identity: str) -> _Key | None:
    """An id in less memory: a uuid as a number (44 bytes for 85); ten million rows are remembered."""
    if len(identity) == 36 and identity[8] == identity[13] == identity[18] == identity[23] == "-":
        try:
            return int(identity.replace("-", ""), 16)
        except ValueError:
            return identity
    return identity or None
