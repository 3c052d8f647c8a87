"""Annotation bodies by the hundred a second: requests to the API whose way and whose writing are a batch's.

    body ──▶ Client.hand_out (key, budget) ──▶ Freight: request, document, its hash, its file ──▶ Brought

A request through `requests` costs 1.2 to 2 ms of the interpreter lock, this 0.1. Only the plain case is dealt
with, a 200 with a document: whatever else comes is None, and asked again in the ordinary way, which retries,
waits and tells what is wrong. While answers are not plain nothing more is sent this way for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import google_crc32c

from pictofs.api import Dataset, Image
from pictofs.errors import PictofsError
from pictofs.mirror.access import Membership
from pictofs.mirror.carriage import Freight
from pictofs.mirror.versions import version_of
from pictofs.storage import Get, Got
from pictofs.store import Written

PAUSE_S = 1.0   # after an answer that is not plain


@dataclass(frozen=True, slots=True)
class Brought:
    """A document, mostly in its file; `version` is its hash."""

    body: bytes | Written
    version: str
    crc32c: int


@dataclass(frozen=True, slots=True)
class _Errand:
    """A request under way."""

    member: Membership
    future: asyncio.Future[Brought | None]
    path: str
    moved: Callable[[], None]


def brought(body: bytes) -> Brought:
    """The same of a document that is in memory."""
    return Brought(body, version_of(body), google_crc32c.value(body))


class Errands:
    """Sends for bodies. Lives in one event loop; `folder` is where they lie until the store has them."""

    def __init__(
        self, freight: Freight, folder: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._freight = freight
        self._stem = os.path.join(folder, os.urandom(4).hex())
        self._clock = clock
        self._number = 0
        self._underway: dict[int, _Errand] = {}
        self._gathered: list[tuple[Membership, int, Get]] = []
        self._again_s = float("-inf")

    async def body(
        self, member: Membership, dataset: Dataset, image: Image, moved: Callable[[], None]
    ) -> Brought | None:
        """The document of an image's annotation, for whoever will wait for it. RateLimited, Unreachable.

        `moved` is called now and then while more of it comes.
        """
        client = member.access.client
        if self._clock() < self._again_s:
            return None
        call = client.hand_out(client.annotations.request(dataset, image))
        if call is None:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Brought | None] = loop.create_future()
        self._number += 1
        path = f"{self._stem}.{self._number:x}"
        self._underway[self._number] = _Errand(member, future, path, moved)
        if not self._gathered:
            loop.call_soon(self._send)
        get = Get(call.url, headers=call.headers, sink=path)
        self._gathered.append((member, self._number, get))
        return await future  # given up, the request comes to its end all the same: it is counted

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        for member in {id(member): member for member, _, _ in gathered}.values():
            gets = [(number, get) for whose, number, get in gathered if whose is member]
            self._freight.send(member.policy, gets, self._arrived, self._moved)

    def _moved(self, number: int, size_bytes: int) -> None:
        self._underway[number].moved()

    def _arrived(self, outcomes: Sequence[tuple[int, Got | PictofsError]]) -> None:
        for number, outcome in outcomes:
            errand = self._underway.pop(number)
            if isinstance(outcome, Got):
                errand.member.access.client.handed_back(outcome.told)
                if errand.future.cancelled():
                    _discard(errand.path)
                    continue
                body = Written(errand.path, outcome.body_bytes)
                errand.future.set_result(Brought(body, outcome.etag, outcome.crc32c))
            else:
                errand.member.access.client.handed_back(None)
                self._again_s = self._clock() + PAUSE_S
                if not errand.future.cancelled():
                    errand.future.set_result(None)


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
