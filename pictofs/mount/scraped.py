"""`metrics=HOST:PORT`, as a program: answers Prometheus with what `.pictofs/status.json` says.

A process of its own, so that the serving loop pays for one small file at each scrape and for nothing else: no
HTTP, no rendering, no socket. It ends with the serving process that started it. One scrape looks at a time;
of a mount that does not answer they are told 503.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pictofs.errors import UsageError
from pictofs.mount import background, report
from pictofs.vfs.metrics import metrics

_log = logging.getLogger(__name__)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RETRY_S = 1.0            # until a predecessor has let go of the port
REQUEST_LIMIT_S = 10.0   # of a client that says nothing


def split(address: str) -> tuple[str, int]:
    """HOST:PORT as two; an IPv6 host may stand in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def listen(address: str) -> socket.socket:
    """A listening socket; OSError where that cannot be."""
    host, port = split(address)
    family, kind, protocol, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(16)
    except BaseException:
        made.close()
        raise
    return made


def check(address: str) -> None:
    """UsageError when nobody may listen there, or somebody does."""
    try:
        listen(address).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(
            f"metrics={address} cannot be listened on ({why}): choose another HOST:PORT"
        ) from None


class Scraped(ThreadingHTTPServer):
    """Serves `GET /metrics` of the mount at `mountpoint` on a socket that listens."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, mountpoint: str) -> None:
        super().__init__(("", 0), _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.mountpoint = mountpoint
        self.looking = threading.Lock()


class _Answer(BaseHTTPRequestHandler):
    timeout = REQUEST_LIMIT_S
    server: Scraped

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._send(404, b"metrics are at /metrics\n")
            return
        status = self._look()
        if status is None:
            self._send(503, f"{self.server.mountpoint} does not answer\n".encode())
        else:
            self._send(200, metrics(status))

    def _look(self) -> dict[str, Any] | None:
        if not self.server.looking.acquire(timeout=report.ANSWER_LIMIT_S):
            return None
        try:
            return report.told(self.server.mountpoint)
        finally:
            self.server.looking.release()

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        _log.debug(format, *arguments)


def main(arguments: list[str]) -> int:
    """MOUNTPOINT HOST:PORT, and the process to end with."""
    mountpoint, address, parent = arguments
    background.end_with_parent()
    if os.getppid() != int(parent):
        return 0     # it ended before that was said
    said = False
    while True:
        try:
            listening = listen(address)
        except OSError as error:
            if not said:
                print(f"metrics={address}: {error.strerror}; tried again until it is free", file=sys.stderr)
            said = True
            time.sleep(RETRY_S)
            continue
        with Scraped(listening, mountpoint) as server:
            server.serve_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
