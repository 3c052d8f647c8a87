"""Signed URLs: a pool by object, filled by the batch, emptied by expiry.

One request signs the images of a whole dataset, or where that is more than the service signs at once, of one
status of it. What no batch reaches has no URL here; the caller then fetches it through the API, which costs
a request for each. A URL is used for nine tenths of its life, and a batch in use is asked for anew before
that, early enough for the answer to come in time.

A URL that the storage host refuses takes its whole batch with it. A batch of which some URL has worked, or
whose end had come by what it said itself, had merely expired, and is replaced at once; one of which none has
worked is replaced after a backoff. Where batches take as long as their URLs live, one may well be over before
it is here: then the next is asked for at once too, LATE_BATCHES times in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import msgspec
from cachetools import TLRUCache

from pictofs.api import Link, Links
from pictofs.catalog.model import DatasetRow, ImageRow

BATCH_LIMIT = 10_000
POOL_URLS = 200_000        # some 150 MB at worst; the least recently used go first
DEFAULT_LIFE_S = 300.0     # of a URL that says nothing of its expiry
SHORTEST_LIFE_S = 0.5
USED_SHARE = 0.9
MARGIN_S = 0.3             # a transfer may have to wait for its slot; of short lives no more than half
RENEWED_SHARE = 0.1        # of that, by which the next batch is asked for before the end
# A batch none of whose URLs works is asked for again after so long, doubling to LONGEST_SPACING_S.
REFUSAL_SPACING_S = 0.5
LONGEST_SPACING_S = 8.0
THINNED_SPACING_S = 10.0
LATE_BATCHES = 12


class Scope(NamedTuple):
    """What one request signs: a dataset's images, those of one status, or one export."""

    kind: str                  # "images" or "export"
    pk: int
    status: str | None = None


class Signed(msgspec.Struct, frozen=True):
    """A URL that is good now. A secret: the repr does not show it."""

    url: str
    scope: Scope
    batch: int                 # which batch of that scope brought it

    def __repr__(self) -> str:
        return f"Signed({self.scope}, batch {self.batch})"


@dataclass(slots=True)
class Batch:
    """What is known of the last batch of one scope."""

    number: int                # 0 once the storage host refused one of it
    asked_ns: int              # wall clock, as the catalog's times
    arrived_s: float
    until_s: float
    renew_s: float             # when the next one is to be asked for, while this one is in use
    whole: bool                # it held everything in its scope
    ends_s: float = 0.0        # when the first of its URLs ends, as it said itself
    failures: int = 0          # batches in a row, this one among them, of which no URL has worked
    late: int = 0              # and those that were over before one could
    worked: bool = False
    expired: bool = False      # the storage host refused it after `ends_s`
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


def usable_s(life: float) -> float:
    """For how long URLs are used that are good for `life` seconds."""
    return min(life * USED_SHARE, max(life / 2, life - MARGIN_S))


def identity(remote_id: str, directory_path: str | None, filename: str) -> Hashable:
    """What a link and an image of a dataset are matched by: the id, else directory (if told) and name."""
    if remote_id:
        return remote_id
    if directory_path is None:
        return None, filename
    return tuple(part for part in directory_path.split("/") if part), filename


def sound(items: Sequence[Link], whole: bool) -> dict[Hashable, Link]:
    """Identity → link, without those that could be another image's.

    A link with neither id nor directory names an image only where nothing else of the dataset can have that
    name: in a batch that is whole, and there once.
    """
    if all(link.id for link in items):
        return {link.id: link for link in items}
    found: dict[Hashable, Link] = {}
    doubtful: set[Hashable] = set()
    for link in items:
        key = identity(link.id or "", link.directory_path, link.filename)
        if not link.id and (key in found or (link.directory_path is None and not whole)):
            doubtful.add(key)
        found[key] = link
    return {key: link for key, link in found.items() if key not in doubtful}


@dataclass(frozen=True, slots=True)
class _Urls:
    """Those of one batch; `untils` where they end one after the other, else all of them at `until_s`."""

    number: int
    urls: dict[Hashable, str] = field(repr=False)
    until_s: float
    untils: dict[Hashable, float] | None

    def __len__(self) -> int:
        return max(1, len(self.urls))

    def good(self, key: Hashable, now_s: float) -> str | None:
        """One of them, while it is to be used."""
        if self.untils is not None and self.untils.get(key, now_s) <= now_s:
            return None
        return self.urls.get(key)


class _Held(TLRUCache[Scope, _Urls]):
    """The last batch of each scope; tells which lost its URLs while they were good, all of them at once."""

    def __init__(self, capacity: int, clock: Callable[[], float], lost: Callable[[Scope], None]) -> None:
        super().__init__(capacity, lambda key, value, now: value.until_s, timer=clock, getsizeof=len)
        self._lost = lost

    def popitem(self) -> tuple[Scope, _Urls]:
        item = super().popitem()
        self._lost(item[0])
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
        self._capacity = capacity
        self._held = _Held(capacity, clock, self._thin)
        self._batches: dict[Scope, Batch] = {}
        self._number = 0

    def url(self, image: ImageRow, directory_path: Callable[[ImageRow], str]) -> Signed | None:
        """The URL of an image, if one is good now; its directory is asked for only where ids do not do."""
        return next(self.urls((image,), directory_path))

    def urls(
        self, images: Iterable[ImageRow], directory_path: Callable[[ImageRow], str]
    ) -> Iterator[Signed | None]:
        """The same of each, to be used up at once: what is held is looked up once."""
        looked: dict[Scope, _Urls | None] = {}
        now_s = self._clock()
        for image in images:
            signed = None
            for scope in (Scope("images", image.dataset), Scope("images", image.dataset, image.status)):
                held = looked[scope] if scope in looked else looked.setdefault(scope, self._current(scope))
                if held is None:
                    continue
                url = held.good(image.remote_id, now_s) if image.remote_id else None
                for path in () if url else (directory_path(image), None):
                    url = url or held.good(identity("", path, image.remote_name), now_s)
                if url:
                    signed = Signed(url, scope, held.number)
                    break
            yield signed

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
        batch = self._begin(scope, asked_ns, links.expires_s, took_s, whole)
        found = sound(links.items, whole and scope.status is None)
        untils: dict[Hashable, float] | None = None
        until_s = batch.until_s
        if any(link.expires_s not in (None, links.expires_s) for link in links.items):
            # A big batch is signed over a while, and its first URLs end before its last.
            untils = {
                key: batch.arrived_s + usable_s(life_s(link.expires_s or links.expires_s, wall_s))
                for key, link in found.items()
            }
            until_s = max(untils.values(), default=until_s)
        urls = {key: link.url for key, link in islice(found.items(), self._capacity)}
        batch.thinned = len(urls) < len(found)
        self._held[scope] = _Urls(batch.number, urls, until_s, untils)

    def single(self, scope: Scope) -> Signed | None:
        """The URL that `keep` took in, if it is good now."""
        held = self._current(scope)
        return Signed(held.urls[None], scope, held.number) if held is not None else None

    def keep(self, scope: Scope, link: Link, expires_s: float | None) -> Signed:
        """Takes in a single URL (an export's), as a batch of its own."""
        batch = self._begin(scope, 0, expires_s, 0.0, True)
        self._held[scope] = _Urls(batch.number, {None: link.url}, batch.until_s, None)
        return Signed(link.url, scope, batch.number)

    def alive(self, scope: Scope) -> bool:
        """Whether the last batch says that its URLs are good now."""
        batch = self._batches.get(scope)
        return batch is not None and self._clock() < batch.ends_s

    def left_s(self, signed: Signed) -> float:
        """In how many seconds a URL is used no more."""
        batch = self._batches.get(signed.scope)
        return max(0.0, batch.until_s - self._clock()) if batch is not None else 0.0

    def state(self) -> tuple[int, float | None]:
        """How many URLs are held, and in how many seconds the first batch of them ends; None without any."""
        now_s = self._clock()
        left_s = [batch.until_s - now_s for batch in self._batches.values() if batch.number]
        return int(self._held.currsize), min((left for left in left_s if left > 0), default=None)

    def worked(self, signed: Signed) -> None:
        """The storage host has taken it."""
        batch = self._batches.get(signed.scope)
        if batch is not None and batch.number == signed.batch:
            batch.worked = True
            batch.failures = batch.late = 0

    def refused(self, signed: Signed) -> bool:
        """The storage host does not take it: nothing of its batch is used any more.

        True when that is no wonder: the batch was over, by what it said itself, or has been replaced.
        """
        batch = self._batches[signed.scope]
        if batch.number != signed.batch:
            return batch.expired or batch.number != 0
        batch.number = 0
        batch.expired = self._clock() >= batch.ends_s
        if batch.expired and batch.late < LATE_BATCHES:
            batch.late += not batch.worked
        else:
            batch.failures += not batch.worked
        return batch.expired

    def _begin(
        self, scope: Scope, asked_ns: int, expires_s: float | None, took_s: float, whole: bool
    ) -> Batch:
        before = self._batches.get(scope)
        self._number += 1
        now_s, wall_s = self._clock(), self._wall_s()
        life = life_s(expires_s, wall_s)
        used_s = usable_s(life)
        ahead_s = max(used_s * RENEWED_SHARE, 1.5 * took_s)
        batch = self._batches[scope] = Batch(
            self._number, asked_ns, now_s, now_s + used_s, now_s + max(0.0, used_s - ahead_s), whole
        )
        batch.ends_s = now_s + (life if expires_s is None else expires_s - wall_s)
        if before is not None:
            batch.failures, batch.late = before.failures, before.late
        return batch

    def _current(self, scope: Scope) -> _Urls | None:
        """None once the batch that brought them was refused."""
        held = self._held.get(scope)
        batch = self._batches.get(scope)
        return held if held is not None and batch is not None and batch.number == held.number else None

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
