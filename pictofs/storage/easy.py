"""One libcurl handle, used for one attempt after another.

Most bodies are gathered by `list.append` alone, heads always: libcurl calls back four times for 60 KB and a
dozen times for a head, and each call that runs Python costs more than the bytes it brings (measured on the
same server: 0.11 ms CPU a GET so, 0.15 with a function that copies into a buffer made in advance). They are
looked at when the attempt is over. A body that goes to a file, or that is slowed down, is taken as it comes.

Options are set when they change: URL and Range are all that most requests set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import pycurl

from pictofs import __version__
from pictofs.errors import PictofsError, TransferError
from pictofs.storage.answer import Answer, read_lines
from pictofs.storage.bandwidth import Bucket
from pictofs.storage.carrier import Transfer
from pictofs.storage.course import Again, Ask, Course
from pictofs.storage.retry import Cause, Failure, Watch
from pictofs.storage.transfer import Got

USER_AGENT = f"pictofs/{__version__}"
ERROR_BODY_BYTES = 4096
KEEPALIVE_S = 20
# What one recv may bring. Of 16, 64, 256 KiB and 1 MiB the second was the cheapest for 60 KB and for 8 MiB.
BUFFER_BYTES = 64 << 10
_ENOUGH = -1  # what a write callback returns to end the transfer
# pycurl of 7.45 may know only the older one, which warns in newer ones.
_SIZE_DOWNLOAD = getattr(pycurl, "SIZE_DOWNLOAD_T", pycurl.SIZE_DOWNLOAD)
# Trying again is no use: no trust, files that cannot be read, options that this libcurl does not have.
_LASTING = {
    pycurl.E_PEER_FAILED_VERIFICATION: "its TLS certificate is not trusted; see ca_file",
    pycurl.E_SSL_CACERT_BADFILE: "the file of trusted certificates cannot be read; correct ca_file",
    pycurl.E_SSL_CERTPROBLEM: "TLS cannot be set up",
    pycurl.E_SSL_CIPHER: "no TLS cipher in common",
    pycurl.E_UNSUPPORTED_PROTOCOL: "the URL or the proxy has a scheme that cannot be used",
    pycurl.E_URL_MALFORMAT: "the URL or the proxy's is malformed",
    pycurl.E_FILESIZE_EXCEEDED: "the host sends more than may be held in memory",
}
_BROKEN = {
    pycurl.E_COULDNT_RESOLVE_HOST: "its host name does not resolve",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's host name does not resolve",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_SSL_CONNECT_ERROR: "the TLS handshake failed",
    pycurl.E_GOT_NOTHING: "the host closed the connection without an answer",
    pycurl.E_RECV_ERROR: "the connection was reset",
    pycurl.E_SEND_ERROR: "the connection was closed",
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
}


class Easy:
    """A handle and the attempt that runs on it, if any. For the transfer thread alone."""

    def __init__(self, ca: str, bucket: Bucket | None, on_pause: Callable[[Easy], None]) -> None:
        self.transfer: Transfer | None = None
        self.course: Course | None = None
        self.watch: Watch | None = None
        self.host = ""  # the origin that it asks
        self.paused = False
        self.on_pause = on_pause
        self._bucket = bucket
        self._head: list[bytes] = []
        self._chunks: list[bytes] = []
        self._refusal = b""
        self._answer: Answer | None = None
        self._wanted: bool | None = None
        self._counted = 0
        self._span: str | None = None
        self._if_match: str | None = None
        self._own: Mapping[str, str] | None = None
        self._proxy = ""
        self._fresh = self._streaming = self._share = False
        self._limit = 0
        self.curl: Any = pycurl.Curl()
        set_option = self.curl.setopt
        set_option(pycurl.NOSIGNAL, 1)
        set_option(pycurl.USERAGENT, USER_AGENT)
        set_option(pycurl.HEADERFUNCTION, self._head.append)
        set_option(pycurl.WRITEFUNCTION, self._chunks.append)
        set_option(pycurl.FOLLOWLOCATION, 0)
        set_option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        set_option(pycurl.PATH_AS_IS, 1)  # a signature covers the path as it is written
        set_option(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        set_option(pycurl.BUFFERSIZE, BUFFER_BYTES)
        set_option(pycurl.TCP_KEEPALIVE, 1)
        set_option(pycurl.TCP_KEEPIDLE, KEEPALIVE_S)
        set_option(pycurl.TCP_KEEPINTVL, KEEPALIVE_S)
        # Both set, or libcurl reads the environment by rules of its own.
        set_option(pycurl.PROXY, "")
        set_option(pycurl.NOPROXY, "")
        folder = os.path.isdir(ca)
        set_option(pycurl.CAPATH if folder else pycurl.CAINFO, ca)
        set_option(pycurl.PROXY_CAPATH if folder else pycurl.PROXY_CAINFO, ca)

    def prepare(self, transfer: Transfer, ask: Ask, host: str, proxy: str, share: bool) -> None:
        """Set up the attempt; `curl` is then ready to be added to the multi handle.

        `share`: rather wait for a connection that is being made and take a stream of it than make one more.
        Only for a host that is known to speak HTTP/2: with any other, libcurl lets all wait for the first.
        Raises TransferError for what libcurl does not take.
        """
        curl, get, course = self.curl, transfer.get, transfer.course
        self.transfer = transfer
        self.course = course
        self.host = host
        self.watch = course.watch()
        self._wanted = None
        self._counted = 0
        curl.setopt(pycurl.URL, ask.url)
        if ask.span != self._span:
            self._span = ask.span
            if ask.span is None:
                curl.unsetopt(pycurl.RANGE)
            else:
                curl.setopt(pycurl.RANGE, ask.span)
        if ask.if_match != self._if_match or get.headers != self._own:
            own = [f"{name}: {value}" for name, value in (get.headers or {}).items()]
            if ask.if_match is not None:
                own.append(f"If-Match: {ask.if_match}")
            curl.unsetopt(pycurl.HTTPHEADER)  # an empty list would leave the old one in force
            self._if_match = self._own = None
            if own:
                _set(curl, pycurl.HTTPHEADER, own, "a header cannot be sent")
            self._if_match, self._own = ask.if_match, get.headers
        if proxy != self._proxy:
            _set(curl, pycurl.PROXY, proxy, "the proxy's URL cannot be used; correct proxy")
            self._proxy = proxy
        if ask.fresh != self._fresh:
            self._fresh = ask.fresh
            curl.setopt(pycurl.FRESH_CONNECT, int(ask.fresh))
        if share != self._share:
            self._share = share
            curl.setopt(pycurl.PIPEWAIT, int(share))
        streaming = course.streams or self._bucket is not None
        if streaming != self._streaming:
            self._streaming = streaming
            curl.setopt(pycurl.WRITEFUNCTION, self._on_body if streaming else self._chunks.append)
        limit = 0 if course.streams else get.limit_bytes
        if limit != self._limit:
            self._limit = limit
            curl.setopt(pycurl.MAXFILESIZE_LARGE, limit)

    @property
    def spoke_http2(self) -> bool:
        """Whether the attempt's answer came over HTTP/2."""
        return bool(self.curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0)

    def finish(self, code: int, text: str) -> Got | PictofsError | Again:
        """libcurl is done with it, by its own word: `code` and its message, 0 for success."""
        if code == 0:
            return self._end(None)
        if code in _LASTING:
            return self._end(Failure(Cause.LASTING, _with(text, _LASTING[code])))
        if code == pycurl.E_PARTIAL_FILE:
            return self._end(Failure(Cause.TRUNCATED, "the body ended too early"))
        text = _BROKEN.get(code, f"the connection broke (libcurl's {code})")
        return self._end(Failure(Cause.CONNECTION, f"{text}, through the proxy" if self._proxy else text))

    def give_up(self, cause: Cause) -> Got | PictofsError | Again:
        """We are done with it: no byte came, or too few. The handle was removed from the multi handle."""
        text = "nothing came in time" if cause is Cause.TIMEOUT else "it came too slowly"
        return self._end(Failure(cause, text))

    def received_bytes(self) -> int:
        """Bytes of the body that this attempt has brought."""
        return int(self.curl.getinfo(_SIZE_DOWNLOAD))

    def counted_bytes(self) -> int:
        """Body bytes that came since the last call."""
        received = self.received_bytes()
        fresh, self._counted = received - self._counted, received
        return fresh

    def body_bytes(self) -> int:
        """Bytes of the body so far, earlier attempts included; of a gathered one as of `counted_bytes`."""
        assert self.course is not None
        return self.course.received_bytes + (0 if self._streaming else self._counted)

    def silent_bytes(self) -> int:
        """What the watch compares: every line of a head is a sign of life too."""
        return self._counted + len(self._head)

    def release(self) -> None:
        """Forget the attempt, not the handle's options."""
        self.transfer = self.course = self.watch = self._answer = None
        self.paused = False
        self._refusal = b""
        self._head.clear()
        self._chunks.clear()

    def close(self) -> None:
        """Close the handle."""
        self.release()
        self.curl.close()

    def _end(self, failure: Failure | None) -> Got | PictofsError | Again:
        course = self.course
        assert course is not None
        if self._wanted is None:
            self._begin()
        if self._chunks and self._answer is not None:
            body = b"".join(self._chunks)
            if self._wanted:
                course.take(body)
            else:
                self._refusal = body[:ERROR_BODY_BYTES]
        curl = self.curl
        waited_s = curl.getinfo(pycurl.STARTTRANSFER_TIME) - curl.getinfo(pycurl.PRETRANSFER_TIME)
        return course.end(failure, self._refusal, max(0.0, waited_s))

    def _begin(self) -> bool:
        course = self.course
        assert course is not None
        self._answer = read_lines(self._head)
        self._wanted = self._answer is not None and course.begin(self._answer)
        return self._wanted

    def _on_body(self, data: bytes) -> int | None:
        bucket = self._bucket
        if bucket is not None:
            if bucket.debt_s() > 0:
                self.paused = True
                self.on_pause(self)
                return int(pycurl.WRITEFUNC_PAUSE)  # libcurl keeps the data and brings it again
            bucket.spend(len(data))
        if self._wanted is None:
            self._begin()
        course, answer = self.course, self._answer
        assert course is not None
        if self._wanted:
            return None if course.take(data) else _ENOUGH
        if answer is not None and answer.status in (200, 206):
            return _ENOUGH  # a body that nobody wants may be long
        self._refusal = (self._refusal + data)[:ERROR_BODY_BYTES]
        return None


def _set(curl: Any, option: int, value: object, trouble: str) -> None:
    try:
        curl.setopt(option, value)
    except (pycurl.error, UnicodeError):
        raise TransferError(trouble) from None  # theirs holds the value


def _with(text: str, ours: str) -> str:
    # OpenSSL's reason helps; a text that could hold a URL does not.
    return f"{ours} ({text})" if text.startswith("SSL") and "?" not in text else ours
