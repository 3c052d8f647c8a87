"""Signed URLs: a pool by object, filled by the batch, emptied by expiry.

One request signs the images of a whole dataset, or where that is more than the service signs at once, of one
status of it. What no batch reaches has no URL here; the caller then fetches it through the API, which costs
a request for each. A URL is used for nine tenths of its life, and a batch in use is asked for anew before
that, early enough for the answer to come in time.

A URL that the storage host refuses takes its whole batch with it. A batch of which some URL has worked had
merely expired, and is replaced at once; one of which none has worked is replaced after a backoff.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cachetools import TLRUCache

from pictofs.api import Link, Links
from pictofs.catalog.model import DatasetRow, ImageRow

BATCH_LIMIT = 10_000
POOL_URLS = 200_000        # some 150 MB at worst; the least recently used go first
DEFAULT_LIFE_S = 300.0     # of a URL that says nothing of its expiry
SHORTEST_LIFE_S = 0.5
USED_SHARE = 0.9
RENEWED_SHARE = 0.1        # of that, by which the next batch is asked for before the end
# A batch none of whose URLs works is asked for again after so long, doubling to LONGEST_SPACING_S.
REFUSAL_SPACING_S = 0.5
LONGEST_SPACING_S = 8.0
THINNED_SPACING_S = 10.0


class Scope(NamedTuple):
    """What one request signs: a dataset's images, those of one status, or one export."""

    kind: str                  # "images" or "export"
    pk: int
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A URL that is good now. A secret: the repr does not show it."""

    url: str = field(repr=False)
    scope: Scope
    batch: int                 # which batch of that scope brought it


@dataclass(slots=True)
class Batch:
    """What is known of the last batch of one scope."""

    number: int                # 0 once the storage host refused one of it
    asked_ns: int              # wall clock, as the catalog's times
    arrived_s: float
    until_s: float
    renew_s: float             # when the next one is to be asked for, while this one is in use
    whole: bool                # it held everything in its scope
    failures: int = 0          # batches in a row, this one among them, of which no URL has worked
    worked: bool = False
    thinned: bool = False      # the pool was too small to keep all of it


class Wanted(NamedTuple):
    """A batch that is worth asking for, in `wait_s` seconds."""

    scope: Scope
    wait_s: float


def life_s(expires_s: float | None, now_s: float) -> float:
    """Seconds that a URL just received is good for, both in Unix time by our own clock.

    One that seems expired on arrival is used for a moment all the same: the storage host is the judge.
    """
    return DEFAULT_LIFE_S if expires_s is None else max(SHORTEST_LIFE_S, expires_s - now_s)


def identity(dataset: int, remote_id: str, directory_path: str | None, filename: str) -> Hashable:
    """What a link and an image are matched by: the id, else directory (if it is told) and name."""
    if remote_id:
        return dataset, remote_id
    if directory_path is None:
        return dataset, None, filename
    return dataset, tuple(part for part in directory_path.split("/") if part), filename


def sound(dataset: int, items: Iterable[Link], whole: bool) -> dict[Hashable, Link]:
    """Identity → link, without those that could be another image's.

    A link with neither id nor directory names an image only where nothing else of the dataset can have that
    name: in a batch that is whole, and there once.
    """
    found: dict[Hashable, Link] = {}
    doubtful: set[Hashable] = set()
    for link in items:
        key = identity(dataset, link.id or "", link.directory_path, link.filename)
        if not link.id and (key in found or (link.directory_path is None and not whole)):
            doubtful.add(key)
        found[key] = link
    return {key: link for key, link in found.items() if key not in doubtful}


class _Urls(TLRUCache[Hashable, tuple[Signed, float]]):
    """Tells which batch lost a URL that was still good."""

    def __init__(self, capacity: int, clock: Callable[[], float], lost: Callable[[Scope], None]) -> None:
        super().__init__(capacity, lambda key, value, now: value[1], timer=clock)
        self._lost = lost

    def popitem(self) -> tuple[Hashable, tuple[Signed, float]]:
        item = super().popitem()
        self._lost(item[1][0].scope)
        return item


class LinkPool:
    """The URLs of one organization. Lives in one event loop; asks for nothing itself."""

    def __init__(
        self,
        *,
        capacity: int = POOL_URLS,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_s = wall_s
        self._urls = _Urls(capacity, clock, self._thin)
        self._batches: dict[Scope, Batch] = {}
        self._number = 0

    def url(self, image: ImageRow, directory_path: Callable[[ImageRow], str]) -> Signed | None:
        """The URL of an image, if one is good now; its directory is asked for only where ids do not do."""
        held = self._urls.get((image.dataset, image.remote_id)) if image.remote_id else None
        if held is not None and self._current(held[0]):
            return held[0]
        for path in (directory_path(image), None):
            held = self._urls.get(identity(image.dataset, "", path, image.remote_name))
            if held is not None and self._current(held[0]):
                return held[0]
        return None

    def due(self, signed: Signed) -> bool:
        """True when the batch behind a URL in use is to be asked for anew, ahead of its end."""
        batch = self._batches.get(signed.scope)
        return batch is not None and self._clock() >= batch.renew_s

    def wanted(self, dataset: DatasetRow, image: ImageRow, cap: int | None) -> Wanted | None:
        """The batch to ask for next; None where the last ones show that none holds the image.

        `cap` is what one batch holds at most; None where the dialect knows no cap, and then no status either.
        """
        everything, of_status = Scope("images", dataset.pk), Scope("images", dataset.pk, image.status)
        if cap is None or dataset.image_count <= cap or not image.status:
            found = self._wanted(everything, dataset)
            if found or cap is None or not image.status or self._batches[everything].whole:
                return found
        return self._wanted(of_status, dataset)

    def fill(
        self, scope: Scope, links: Links, asked_ns: int, *, whole: bool, took_s: float = 0.0
    ) -> None:
        """Takes in a batch that was asked for at `asked_ns` and came after `took_s`.

        `whole`: the scope holds no more than it.
        """
        wall_s = self._wall_s()
        batch = self._begin(scope, asked_ns, life_s(links.expires_s, wall_s), took_s, whole)
        for key, link in sound(scope.pk, links.items, whole and scope.status is None).items():
            # A big batch is signed over a while, and its first URLs end before its last.
            until_s = batch.until_s
            if link.expires_s is not None and link.expires_s != links.expires_s:
                until_s = batch.arrived_s + life_s(link.expires_s, wall_s) * USED_SHARE
            self._urls[key] = (Signed(link.url, scope, batch.number), until_s)

    def single(self, scope: Scope) -> Signed | None:
        """The URL that `keep` took in, if it is good now."""
        held = self._urls.get(scope)
        return held[0] if held is not None and self._current(held[0]) else None

    def keep(self, scope: Scope, link: Link, expires_s: float | None) -> Signed:
        """Takes in a single URL (an export's), as a batch of its own."""
        batch = self._begin(scope, 0, life_s(expires_s, self._wall_s()), 0.0, True)
        signed = Signed(link.url, scope, batch.number)
        self._urls[scope] = (signed, batch.until_s)
        return signed

    def state(self) -> tuple[int, float | None]:
        """How many URLs are held, and in how many seconds the first batch of them ends; None without any."""
        now_s = self._clock()
        left_s = [batch.until_s - now_s for batch in self._batches.values() if batch.number]
        return len(self._urls), min((left for left in left_s if left > 0), default=None)

    def worked(self, signed: Signed) -> None:
        """The storage host has taken it."""
        batch = self._batches.get(signed.scope)
        if batch is not None and batch.number == signed.batch:
            batch.worked = True
            batch.failures = 0

    def refused(self, signed: Signed) -> None:
        """The storage host does not take it: nothing of its batch is used any more."""
        if self._current(signed):
            batch = self._batches[signed.scope]
            batch.number = 0
            batch.failures += not batch.worked

    def _begin(
        self, scope: Scope, asked_ns: int, life: float, took_s: float, whole: bool
    ) -> Batch:
        before = self._batches.get(scope)
        self._number += 1
        now_s, usable_s = self._clock(), life * USED_SHARE
        ahead_s = max(usable_s * RENEWED_SHARE, 1.5 * took_s)
        batch = self._batches[scope] = Batch(
            self._number, asked_ns, now_s, now_s + usable_s, now_s + max(0.0, usable_s - ahead_s), whole
        )
        batch.failures = before.failures if before else 0
        return batch

    def _current(self, signed: Signed) -> bool:
        """False once the batch that brought it was refused or replaced."""
        batch = self._batches.get(signed.scope)
        return batch is not None and batch.number == signed.batch

    def _wanted(self, scope: Scope, dataset: DatasetRow) -> Wanted | None:
        """None while a batch that is good and younger than the listing has shown that it does not help."""
        batch = self._batches.get(scope)
        if batch is None:
            return Wanted(scope, 0.0)
        now_s = self._clock()
        if batch.number == 0 and batch.failures:
            spacing_s = min(LONGEST_SPACING_S, REFUSAL_SPACING_S * 2.0 ** min(batch.failures - 1, 16))
            return Wanted(scope, max(0.0, batch.arrived_s + spacing_s - now_s))
        if batch.number == 0 or now_s >= batch.until_s or batch.asked_ns < dataset.listed_ns:
            return Wanted(scope, 0.0)
        if batch.thinned and now_s - batch.arrived_s >= THINNED_SPACING_S:
            return Wanted(scope, 0.0)
        return None

    def _thin(self, scope: Scope) -> None:
        if scope in self._batches:
            self._batches[scope].thinned = True
