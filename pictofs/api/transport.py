"""One request to the Developer API, from its first attempt to its answer or its exception.

    attempt ── no answer, torn body, no JSON, 408, 5xx ──▶ again after full jitter: uniform(0, base · 2ⁿ)
       │    └─ 429, or a Retry-After ──▶ again after so long, never sooner
       └─ 200 … or any other refusal ──▶ the end

Two bounds end it: `retries` further attempts, and `timeout_s` without progress (a byte of a body). A wait
that would pass the second is not begun: the call ends at once, in RateLimited where the service asked for it.
Nothing that holds the key is ever in an exception's chain: exceptions are made and raised apart.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, TypeVar

from pictofs.api.address import Address, origin_of
from pictofs.api.documents import NotJson
from pictofs.api.governor import Governor
from pictofs.api.refusals import again, misshapen, refusal
from pictofs.api.times import http_date_s, retry_after_s
from pictofs.api.wire import Broken, Call, Reply
from pictofs.errors import (
    KeyRefused,
    PictofsError,
    RateLimited,
    ServerFault,
    ServiceError,
    Unreachable,
    UsageError,
)

RETRIES = 4
BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 8.0
HOLD_JITTER_S = 0.5          # many clients are told the same Retry-After: they come back spread over so long
REDIRECTS = 5
ERROR_BODY_BYTES = 64 << 10
BODY_LIMIT_BYTES = 1 << 30
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_KEEP_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
T = TypeVar("T")
log = logging.getLogger("pictofs.api")


class Sender(Protocol):
    """What Wire does; tests put scripts here."""

    def send(self, call: Call, timeout_s: float) -> Reply:
        """The head of the answer; raises Broken."""

    def close(self) -> None:
        """End the connections."""


@dataclass(frozen=True, slots=True)
class Request:
    """An endpoint with what goes along. `path` is encoded and below the base; `query` is not encoded yet.

    `repeatable`: a write may be sent again when it is unknown whether it was done. `gone_is_done`: a 404 on
    such a repetition is a success. `enough_bytes`: of a plain 200 with a length, so many bytes suffice.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    repeatable: bool = True
    gone_is_done: bool = False
    enough_bytes: int | None = None

    @property
    def what(self) -> str:
        """What messages call it."""
        return f"{self.method} {self.path.partition('?')[0]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success. `server_ahead_s`: how far the service's clock is ahead of ours, 0 where it does not say."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    attempts: int
    server_ahead_s: float


@dataclass(frozen=True, slots=True)
class Setback:
    """An attempt that failed: what to raise when it was the last, and how a next one is to come about."""

    error: ServiceError
    retry: bool
    wait_s: float | None = None   # asked for by the service


class Patience:
    """How much of `timeout_s` without progress is left."""

    def __init__(self, timeout_s: float, clock: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._since = clock()

    def progress(self) -> None:
        """Something has arrived."""
        self._since = self._clock()

    @property
    def left_s(self) -> float:
        """Seconds until it is over."""
        return self._since + self._timeout_s - self._clock()


def backoff_s(attempt: int, draw: Callable[[], float]) -> float:
    """The wait after the n-th failed attempt (from 0); `draw` gives [0, 1)."""
    return draw() * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 30))


def plan_wait(
    setback: Setback, attempt: int, *, retries: int, left_s: float, draw: Callable[[], float]
) -> float | ServiceError:
    """Seconds to the next attempt, or what ends the call. Pure but for the draw."""
    if not setback.retry:
        return setback.error
    wait_s = setback.wait_s
    if wait_s is None:
        wait_s = backoff_s(attempt, draw)
        return wait_s if attempt < retries and wait_s < left_s else setback.error
    if wait_s >= left_s:
        # Honoured by not asking: the operation ends in EAGAIN, whichever status carried the Retry-After.
        return _come_back(setback.error, wait_s)
    if attempt >= retries:
        return setback.error
    return min(wait_s + draw() * HOLD_JITTER_S, max(wait_s, left_s - 0.001))


def _come_back(error: ServiceError, wait_s: float) -> ServiceError:
    if isinstance(error, RateLimited):
        return error
    return RateLimited(
        f"the API asks for patience: {again(wait_s)}",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after_s=wait_s,
    )


class Transport:
    """Sends requests under one key to one address. Thread-safe; opens nothing before the first request.

    `key` is called for every request, so a key may change while this lives.
    """

    def __init__(
        self,
        address: Address,
        key: Callable[[], str],
        wire: Sender,
        governor: Governor,
        *,
        background: Callable[[], bool],
        user_agent: str,
        timeout_s: float,
        retries: int = RETRIES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._address = address
        self._key = key
        self._wire = wire
        self._governor = governor
        self._background = background
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._retries = retries
        self._clock = clock
        self._wall = wall
        self._closed = threading.Event()
        self._sleep = sleep or self._wait
        self._draw = draw
        self._count_lock = threading.Lock()
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many requests have gone out, retries and redirects among them."""
        return self._requests

    def close(self) -> None:
        """End the waits (they raise Unreachable) and the connections."""
        self._closed.set()
        self._wire.close()

    def fetch(self, request: Request, read: Callable[[Answer], T]) -> T:
        """What `read` makes of the answer. Raises a ServiceError; a NotJson from `read` is tried again."""
        if self._closed.is_set():
            raise Unreachable("the client was closed")
        patience = Patience(self._timeout_s, self._clock)
        attempt = 0
        while True:
            self._enter(patience)
            outcome = self._attempt(request, patience, attempt)
            if isinstance(outcome, Answer):
                try:
                    return read(outcome)
                except NotJson as error:
                    outcome = Setback(misshapen(request.what, str(error)), request.repeatable)
            wait_s = plan_wait(
                outcome, attempt, retries=self._retries, left_s=patience.left_s, draw=self._draw
            )
            if isinstance(wait_s, ServiceError):
                raise wait_s
            log.debug("%s: %s; again in %.2f s", request.what, outcome.error, wait_s)
            self.pause(wait_s)
            attempt += 1

    def hand_out(self, request: Request) -> Call | None:
        """A background request for somebody else to send, once; `handed_back` must follow.

        None when it has to wait: then ask in the ordinary way. Raises RateLimited for what only the reserve
        could pay, and Unreachable once closed.
        """
        if self._closed.is_set():
            raise Unreachable("the client was closed")
        headers = self._headers(request)
        if self._governor.admit(background=True):
            return None
        with self._count_lock:
            self._requests += 1
        return Call(request.method, self._address.url(request.path, request.query), headers)

    def handed_back(self, headers: Mapping[str, str] | None) -> None:
        """What was handed out has ended; `headers` of its answer, by lower-case name, if there was one."""
        self._governor.done(headers, http_date_s(headers.get("date")) if headers else None)

    def _enter(self, patience: Patience) -> None:
        """Wait until the governor lets this request go. Raises RateLimited where that would take too long."""
        background = self._background()
        while wait_s := self._governor.admit(background=background):
            if wait_s >= patience.left_s:
                raise RateLimited(f"the API's budget is spent: {again(wait_s)}", retry_after_s=wait_s)
            self.pause(wait_s)

    def _attempt(self, request: Request, patience: Patience, attempt: int) -> Answer | Setback:
        """One exchange and the redirects it leads to, admitted by the governor."""
        headers: Mapping[str, str] | None = None
        server_now_s: float | None = None
        reply: Reply | None = None
        try:
            url = self._address.url(request.path, request.query)
            call = Call(request.method, url, self._headers(request), request.body)
            for _ in range(REDIRECTS + 1):
                reply = self._send(call, patience)
                headers = reply.headers
                server_now_s = http_date_s(headers.get("date"))
                if reply.status not in _REDIRECTS:
                    repeated = request.gone_is_done and attempt > 0
                    if _succeeded(reply.status) or (repeated and reply.status == HTTPStatus.NOT_FOUND):
                        return self._read(request, reply, patience, attempt, server_now_s)
                    return self._refused(request, reply, patience, call.headers["X-API-Key"])
                onward = self._redirect(request, call, reply)
                if isinstance(onward, Setback):
                    return onward
                reply.close()
                call = onward
            return Setback(ServerFault(f"{request.what} is redirected round in circles"), False)
        except Broken as broken:
            # An answer that breaks off is no more certain than none: a write may have been done.
            retry = not broken.lasting and (broken.unsent or request.repeatable)
            return Setback(Unreachable(f"no answer from {self._address.origin}: {broken}"), retry)
        finally:
            if reply is not None:
                reply.close()
            self._governor.done(headers, server_now_s)

    def _send(self, call: Call, patience: Patience) -> Reply:
        with self._count_lock:
            self._requests += 1
        return self._wire.send(call, max(0.05, patience.left_s))

    def _read(
        self, request: Request, reply: Reply, patience: Patience, attempt: int, server_now_s: float | None
    ) -> Answer | Setback:
        """The whole body of a success."""
        enough = BODY_LIMIT_BYTES + 1
        told = "content-length" in reply.headers and "content-encoding" not in reply.headers
        if reply.status == HTTPStatus.OK and request.enough_bytes is not None and told:
            enough = request.enough_bytes
        body = _gather(reply, patience, enough)
        if len(body) > BODY_LIMIT_BYTES:
            return Setback(misshapen(request.what, f"it is over {BODY_LIMIT_BYTES >> 20} MiB"), False)
        ahead_s = 0.0 if server_now_s is None else server_now_s - self._wall()
        return Answer(reply.status, reply.headers, body, attempt + 1, ahead_s)

    def _refused(self, request: Request, reply: Reply, patience: Patience, key: str) -> Setback:
        try:
            body = _gather(reply, patience, ERROR_BODY_BYTES)
        except Broken:
            body = b""  # the status says enough
        wait_s = retry_after_s(reply.headers.get("retry-after"), self._wall())
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait_s = self._governor.until_reset_s() if wait_s is None else wait_s
            if wait_s:
                self._governor.hold(wait_s)
        error = refusal(reply.status, reply.headers, body, what=request.what, key=key, retry_after_s=wait_s)
        # 429 and 503 say that nothing was done; after the others a write may have been.
        harmless = reply.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        return Setback(error, reply.status in _AGAIN and (harmless or request.repeatable), wait_s)

    def _redirect(self, request: Request, call: Call, reply: Reply) -> Call | Setback:
        """The same call at the redirect's target, where that is ours and the method stays what it is."""
        location = reply.headers.get("location", "")
        target = self._address.redirected(call.url, location) if location else None
        if target is None:
            origin = origin_of(location) or "another host"
            why = f"{request.what} is redirected to {origin}, where the key must not go: correct base_url"
            return Setback(ServerFault(why, status=reply.status), False)
        if request.method != "GET" and reply.status not in _KEEP_METHOD:
            why = f"{request.what} is redirected: correct base_url"
            return Setback(ServerFault(why, status=reply.status), False)
        return Call(call.method, target, call.headers, call.body)

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "X-API-Key": self._secret(),
            "User-Agent": self._user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        headers.update(request.headers or {})
        return headers

    def _secret(self) -> str:
        """The key, checked: a header library that refuses it would put it into its exception."""
        failed = ""
        try:
            key = self._key().strip()
        except PictofsError:
            raise
        except OSError as error:
            key, failed = "", error.strerror or "unreadable"
        if failed:
            raise UsageError(f"the API key cannot be read: {failed}; see api_key_file and api_key_command")
        if not key:
            raise KeyRefused("there is no API key: set api_key_file, api_key_command or PICTOGRAPH_API_KEY")
        if not all("!" <= character <= "~" for character in key):
            raise KeyRefused("the API key holds characters that no key has: look into api_key_file")
        return key

    def pause(self, wait_s: float) -> None:
        """Wait; `close` ends it. Raises Unreachable once closed."""
        self._sleep(wait_s)
        if self._closed.is_set():
            raise Unreachable("the client was closed")

    def _wait(self, wait_s: float) -> None:
        self._closed.wait(wait_s)


def _succeeded(status: int) -> bool:
    # 416 answers a question about a range: its Content-Range says how long the whole is.
    return 200 <= status < 300 or status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


def _gather(reply: Reply, patience: Patience, enough_bytes: int) -> bytes:
    """The body, or its first bytes that are `enough_bytes` or a little more."""
    parts: list[bytes] = []
    size_bytes = 0
    for piece in reply.chunks():
        patience.progress()
        parts.append(piece)
        size_bytes += len(piece)
        if size_bytes >= enough_bytes:
            break
    return b"".join(parts)
