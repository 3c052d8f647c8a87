"""One HTTP exchange over `requests`. The only module of this room that imports it.

It works on the adapter, below `requests.Session`: no cookies, no netrc, no redirects, no retries, no header
that was not asked for. urllib3's pools underneath are thread-safe, so all threads share the connections.
What goes wrong is told as `Broken`, which holds words only: the library's own exceptions carry the request
with its key, and must not be in any chain.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import requests.adapters
import requests.utils
import urllib3.exceptions
from urllib3.connection import HTTPConnection

CONNECTIONS = 24          # as many as threads call
CHUNK_BYTES = 64 << 10
# A connection that a firewall forgot must not cost a whole timeout: unanswered data for so long ends it.
DEAD_PEER_MS = 8_000
KEEPALIVE_S = 20
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Broken(Exception):
    """No answer, or one that broke off.

    `lasting`: trying again cannot help. `unsent`: no connection came about, so the request was never seen.
    """

    def __init__(self, why: str, *, lasting: bool = False, unsent: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting
        self.unsent = unsent or lasting


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes out; `url` is absolute and sent as it is. The repr shows no header."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


class Reply:
    """Status and headers (by lower-case name) of an answer whose body is still on its way. Close it."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, decoded. Raises Broken where it breaks off."""
        pieces: Iterator[bytes] = self._response.iter_content(CHUNK_BYTES)
        while True:
            why = None
            try:
                piece = next(pieces, b"")
            except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                why = _broken(error)
            if why is not None:
                raise why
            if not piece:
                return
            yield piece

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else shut it."""
        self._response.close()


class Wire:
    """Connections to the API's host. Opens none before `send`. Thread-safe."""

    def __init__(self, origin: str, *, ca_file: str | None = None, proxy: str | None = None) -> None:
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0)
        self._verify: str | bool = ca_file or next(filter(None, map(os.environ.get, CA_VARIABLES)), True)
        self._proxies: dict[str, str] = (
            {"http": proxy, "https": proxy} if proxy else dict(requests.utils.get_environ_proxies(origin))
        )

    def send(self, call: Call, timeout_s: float) -> Reply:
        """The head of the answer; at most `timeout_s` without a byte, then and later. Raises Broken."""
        broken = None
        try:
            asked = requests.Request(call.method, call.url, headers=dict(call.headers), data=call.body)
            prepared = asked.prepare()
            prepared.url = call.url  # requests would unquote what is unreserved, and %2E%2E then climbs
            response = self._adapter.send(
                prepared, stream=True, timeout=timeout_s, verify=self._verify, proxies=self._proxies
            )
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            broken = _broken(error)
        if broken is not None:
            raise broken
        return Reply(response)

    def close(self) -> None:
        """Shut what is idle; what is under way ends by itself."""
        self._adapter.close()


class _Adapter(requests.adapters.HTTPAdapter):
    """With sockets that notice a dead peer."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        chosen = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_S),
            ("TCP_USER_TIMEOUT", DEAD_PEER_MS),
        ):
            if hasattr(socket, name):  # Linux has all of them
                chosen.append((socket.IPPROTO_TCP, getattr(socket, name), value))
        super().init_poolmanager(*arguments, socket_options=chosen, **options)


_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    requests.ConnectTimeout,
)


def _broken(error: BaseException) -> Broken:
    """What happened, in words that hold nothing of the request."""
    causes = list(_causes(error))
    unsent = any(isinstance(cause, _UNSENT) for cause in causes)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({cause.verify_message}); see ca_file"
            return Broken(why, lasting=True)
        if isinstance(cause, socket.gaierror):
            return Broken("its host name does not resolve", unsent=True)
        if isinstance(cause, ssl.SSLError):
            return Broken(f"TLS failed ({cause.reason or 'protocol error'})")
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            continue  # a time-out by its class alone: what was wrong is inside
        if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)):
            return Broken("nothing came in time", unsent=unsent)
        if isinstance(cause, (urllib3.exceptions.IncompleteRead, urllib3.exceptions.InvalidChunkLength)):
            return Broken("its answer broke off")
        if isinstance(cause, urllib3.exceptions.DecodeError):
            return Broken("its answer is not compressed as it says")
        if isinstance(cause, OSError) and isinstance(cause.errno, int):
            return Broken(os.strerror(cause.errno).lower(), unsent=unsent)
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return Broken("the proxy's URL cannot be used; correct proxy", lasting=True)
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return Broken("the file of trusted certificates cannot be read; correct ca_file", lasting=True)
    return Broken("the connection broke", unsent=unsent)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all inside it: the libraries wrap by argument, attribute and chain. Outermost first."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
