"""The server of the page: HTTP/1.1 on 127.0.0.1, a thread for each connection, reading only.

The standard library's: it serves one person on this machine, a request a second and some pictures, and the
other server that pictofs knows comes with the emulator's extra.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pictofs.errors import PictofsError, UsageError
from pictofs.ui.answers import Answer, Answers, failed, refused
from pictofs.ui.guard import Guard, Verdict

_log = logging.getLogger(__name__)
HOST = "127.0.0.1"
CONNECTIONS = 64  # at once; a browser opens six
IDLE_LIMIT_S = 30.0
CHUNK_BYTES = 1 << 20
QUERY_FIELDS = 8
# `mirror/readers.py` knows the name: whoever shows thumbnails reads a little of everything, and nothing is
# fetched ahead for it.
READER = "pictofs-ui"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_NOT_OURS = "asked from elsewhere; open the address that `pictofs ui` has printed"
_NO_TOKEN = "this page is open to whoever knows its token; open the address that `pictofs ui` has printed"
# Not a redirect: after a click in another page, the browser would not send a SameSite=Strict cookie along.
_DOOR = b'<!doctype html><title>pictofs</title><meta http-equiv="refresh" content="0;url=/">'


class PageServer(ThreadingHTTPServer):
    """Listens when made; `serve_forever` serves. UsageError where the port cannot be had."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, port: int, answers: Answers) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"--port {port} cannot be listened on ({error.strerror}): choose another, or none"
            ) from None
        self.guard = Guard(self.server_address[1])
        self.answers = answers
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    @property
    def url(self) -> str:
        """The address that opens the page; it holds the token."""
        return f"http://{HOST}:{self.server_address[1]}/?token={self.guard.token}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """As the base does, for so many connections at once."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the base does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; of others their kind is told."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            _log.error("a request to the page ended in an unexpected %s", type(error).__name__)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_LIMIT_S
    server: PageServer
    server_version, sys_version = "pictofs", ""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with open("/proc/thread-self/comm", "w", encoding="ascii") as name:
                name.write(READER)
        except OSError:
            pass  # then it counts as a reader like any other

    def do_GET(self) -> None:
        """Judge, then answer."""
        where = urlsplit(self.path)
        try:
            query = dict(parse_qsl(where.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS))
        except ValueError:
            self._send(failed(400, "that is no query"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        match self.server.guard.judge(headers, query.get("token")):
            case Verdict.FOREIGN:
                self._send(failed(403, _NOT_OURS))
            case Verdict.STRANGER:
                self._send(failed(403, _NO_TOKEN))
            case Verdict.ADMIT:
                door = Answer(200, _DOOR, "text/html; charset=utf-8")
                self._send(door, {"Set-Cookie": self.server.guard.cookie()})
            case Verdict.SERVE if where.path == "/picture":
                self._picture(query)
            case Verdict.SERVE:
                self._send(self.server.answers.answer(where.path, query))

    def _picture(self, query: Mapping[str, str]) -> None:
        try:
            with self.server.answers.picture(query) as picture:
                chunk = os.pread(picture.descriptor, CHUNK_BYTES, 0)  # before the head: an error is told
                self._head(200, picture.kind, picture.size_bytes)
                at = 0
                while chunk:
                    self.wfile.write(chunk)
                    at += len(chunk)
                    chunk = os.pread(picture.descriptor, CHUNK_BYTES, at)
        except (PictofsError, OSError) as error:
            if self._began:
                self.close_connection = True  # it is shorter than its head says, so the browser sees it too
            else:
                self._send(refused(error))

    def _send(self, answer: Answer, more: Mapping[str, str] | None = None) -> None:
        self._head(answer.status, answer.kind, len(answer.body), more)
        self.wfile.write(answer.body)

    _began = False

    def _head(self, status: int, kind: str, size_bytes: int, more: Mapping[str, str] | None = None) -> None:
        self._began = True
        self.send_response(status)
        for name, value in {**_HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size_bytes))
        self.end_headers()

    def parse_request(self) -> bool:
        """Another request on this connection begins anew."""
        self._began = False
        return super().parse_request()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a request's line holds the token."""
