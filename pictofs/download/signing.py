"""Signed URLs of a dataset's images: asked for by the batch, used while they are good.

One request signs up to 10,000 images, of all or of one status (in dialect A all there are). What no batch
reaches has no URL. A URL that the storage host refuses before its time makes its batch be asked for anew, but
not for ever: a host that refuses every URL would otherwise cost a request for each image.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pictofs import names
from pictofs.api import Image, Link, Links
from pictofs.errors import PictofsError

USED_SHARE = 0.9  # of a URL's life: the signer's clock need not be ours
DEFAULT_LIFE_S = 300.0  # of a URL that says nothing of its expiry
RENEWALS_IN_VAIN = 3
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A URL that is good now. A secret: the repr does not show it."""

    url: str = field(repr=False)
    scope: str | None
    batch: int


@dataclass(slots=True)
class _Batch:
    number: int
    urls: dict[_Key, str] = field(repr=False)
    until_s: float
    capped: bool


class Signing:
    """The URLs of one dataset. For one thread.

    `sign` asks for a batch: of one status, or with None of all. With `status` only batches of that status are
    asked for. `images` are all that the listing named: a link that tells neither id nor directory is an
    image's only where no other image has its name.
    """

    def __init__(
        self,
        sign: Callable[[str | None], Links],
        images: Iterable[Image],
        *,
        status: str | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._sign = sign
        self._status = status
        self._wall_s = wall_s
        self._of_name = Counter(image.filename for image in images)
        self._batches: dict[str | None, _Batch] = {}
        self._failed: dict[str | None, PictofsError] = {}
        self._number = self._in_vain = 0

    def url(self, image: Image) -> Signed | None:
        """A URL that is good now; None where no batch names the image.

        Raises ServiceError where the batch cannot be had, and again at once for every image of it.
        """
        for scope in (self._status, image.status or None):
            batch = self._batch(scope)
            for key in self._keys(image):
                url = batch.urls.get(key)
                if url:
                    return Signed(url, scope, batch.number)
            if not batch.capped or scope is not None:
                return None
        return None

    def refused(self, signed: Signed) -> bool:
        """The storage host does not take it; whether asking for another is worth it."""
        batch = self._batches[signed.scope]
        if batch.number == signed.batch:
            if self._in_vain >= RENEWALS_IN_VAIN:
                return False
            if self._wall_s() < batch.until_s:
                self._in_vain += 1
            batch.until_s = 0.0
        return True

    def arrived(self) -> None:
        """The storage host has taken a URL."""
        self._in_vain = 0

    def _batch(self, scope: str | None) -> _Batch:
        batch, now_s = self._batches.get(scope), self._wall_s()
        if batch is not None and now_s < batch.until_s:
            return batch
        if scope in self._failed:
            raise self._failed[scope].with_traceback(None)
        try:
            links = self._sign(scope)
        except PictofsError as error:
            self._failed[scope] = error
            raise
        self._number += 1
        life_s = DEFAULT_LIFE_S if links.expires_s is None else max(1.0, links.expires_s - now_s)
        urls = self._sound(links.items)
        batch = self._batches[scope] = _Batch(self._number, urls, now_s + life_s * USED_SHARE, links.capped)
        return batch

    def _sound(self, links: Iterable[Link]) -> dict[_Key, str]:
        """Without those that could be another image's."""
        found: dict[_Key, str] = {}
        doubtful: set[_Key] = set()
        for link in links:
            if link.id:
                found[link.id,] = link.url
                continue
            key: _Key = (None, link.filename)
            if link.directory_path is not None:
                key = (names.directories(link.directory_path), link.filename)
            elif self._of_name[link.filename] > 1:
                continue
            if key in found:
                doubtful.add(key)
            found[key] = link.url
        return {key: url for key, url in found.items() if key not in doubtful}

    @staticmethod
    def _keys(image: Image) -> tuple[_Key, ...]:
        where = names.directories(image.directory_path)
        return (image.id,), (where, image.filename), (None, image.filename)
