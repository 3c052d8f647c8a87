"""The Developer API as one object: `Client`."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pictofs
from pictofs.api.address import Address
from pictofs.api.annotations import Annotations
from pictofs.api.datasets import Datasets
from pictofs.api.downloads import Downloads, Network
from pictofs.api.exports import Exports
from pictofs.api.governor import Budget, Governor
from pictofs.api.images import Images
from pictofs.api.organization import Organizations
from pictofs.api.projects import Projects
from pictofs.api.service import Service
from pictofs.api.transport import RETRIES, Request, Sender, Transport
from pictofs.api.wire import Call, Wire
from pictofs.config import DEFAULT_BASE_URL, KeySource
from pictofs.errors import UsageError

DEMAND = 0
KEY_VARIABLE = KeySource().variable
BASE_VARIABLE = "PICTOGRAPH_BASE_URL"


class Client:
    """The service at one address under one key, in whichever dialect it speaks. Safe for many threads.

    `key` is called for every request and its answer is kept nowhere; `api_key` is a key itself; without
    either it is PICTOGRAPH_API_KEY's, as `base_url` is PICTOGRAPH_BASE_URL's or the service's own.
    `downloads` carries out downloads; by default what the package's root composes. `dialect` is auto, a, b
    or c. A call ends after `timeout_s` without progress or `retries` further attempts, whichever comes
    first. `ca_file` and `proxy` default to the environment's. What is raised is of pictofs.errors alone: a
    ServiceError, a TransferError of a download, or UsageError for what cannot be asked. Nothing is asked or
    opened before the first call.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: Callable[[], str] | None = None,
        *,
        api_key: str | None = None,
        dialect: str = "auto",
        timeout_s: float = 20.0,
        retries: int = RETRIES,
        ca_file: str | None = None,
        proxy: str | None = None,
        downloads: Downloads | None = None,
        user_agent: str = f"pictofs/{pictofs.__version__}",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
        draw: Callable[[], float] = random.random,
        wire: Sender | None = None,
    ) -> None:
        address = Address.parse(base_url or os.environ.get(BASE_VARIABLE) or DEFAULT_BASE_URL)
        self._downloads = downloads
        self.network = Network(timeout_s, ca_file, proxy)
        self._address = address
        self._class = threading.local()
        self._governor = Governor(clock=clock, wall=wall)
        self._transport = Transport(
            address,
            _key(key, api_key),
            wire or Wire(address.origin, ca_file=ca_file, proxy=proxy),
            self._governor,
            background=self._in_background,
            user_agent=user_agent,
            timeout_s=timeout_s,
            retries=retries,
            clock=clock,
            wall=wall,
            sleep=sleep,
            draw=draw,
        )
        self._service = Service(self._transport, dialect=dialect, clock=clock)
        self.organization = Organizations(self._service)
        self.datasets = Datasets(self._service, lambda order: self._carrier().dataset(self, order))
        self.projects = Projects(self._service, self.datasets)
        self.images = Images(self._service, self.datasets)
        self.annotations = Annotations(self._service, address, self.images)
        self.exports = Exports(
            self._service,
            self.datasets,
            lambda order: self._carrier().export(self, order),
            sleep=self._transport.pause,
            clock=clock,
        )

    def __repr__(self) -> str:
        """Address and dialect; never the key."""
        known = self._service.known
        return f"Client({self.origin!r}, dialect={known.letter if known else 'auto'!r})"

    def __enter__(self) -> Client:
        """Itself; it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def origin(self) -> str:
        """scheme://host:port, the only place where the key goes."""
        return self._address.origin

    @property
    def dialect(self) -> str:
        """a, b or c; found out by one request if it is not known yet (ServiceError)."""
        return self._service.dialect.letter

    @property
    def budget(self) -> Budget | None:
        """What the service last said is left of the hour's requests; None before it said so."""
        return self._governor.budget

    @property
    def requests(self) -> int:
        """How many requests this client has sent, retries among them."""
        return self._transport.requests

    @contextlib.contextmanager
    def call_class(self, priority: int) -> Iterator[None]:
        """Calls of this thread within the block: 0 is demand, anything above is background.

        A background call raises RateLimited at once when only the reserve for demand is left.
        """
        before = getattr(self._class, "priority", DEMAND)
        self._class.priority = priority
        try:
            yield
        finally:
            self._class.priority = before

    def hand_out(self, request: Request) -> Call | None:
        """A request with its key for somebody else to send: `Transport.hand_out`."""
        return self._transport.hand_out(request)

    def handed_back(self, headers: Mapping[str, str] | None) -> None:
        """What was handed out has ended: `Transport.handed_back`."""
        self._transport.handed_back(headers)

    def close(self) -> None:
        """End every wait (Unreachable) and close the connections; calls after it raise Unreachable."""
        self._transport.close()

    def _carrier(self) -> Downloads:
        return self._downloads or pictofs.downloads()

    def _in_background(self) -> bool:
        return bool(getattr(self._class, "priority", DEMAND) > DEMAND)


def _key(key: Callable[[], str] | None, api_key: str | None) -> Callable[[], str]:
    """Where the key comes from; the environment is looked at for each request, as files are."""
    if key is not None and api_key is not None:
        raise UsageError("key and api_key are both given: keep one")
    if api_key is not None:
        return lambda: api_key
    return key or (lambda: os.environ.get(KEY_VARIABLE, ""))
