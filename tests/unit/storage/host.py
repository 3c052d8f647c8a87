"""A storage host in a thread of this process, which can be told how to treat each request.

It speaks as Google Cloud Storage does where the client can tell the difference: Range, If-Match, hashes of
the whole object on a part of it. What it was asked is kept in `seen`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import google_crc32c

CERTIFICATE = Path(__file__).with_name("tls.pem")  # for 127.0.0.1, until 2126; its key guards nothing
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_LINGER_0 = struct.pack("ii", 1, 0)


@dataclass
class Seen:
    """One request as it arrived."""

    target: str
    headers: list[tuple[str, str]]
    connection: int

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass
class Treatment:
    """How the next request is treated; the defaults are how every other one is.

    `cut` ends the body after so many bytes, in order or by a reset; `hold` stops there until the host ends;
    `drip` sends the body a few bytes at a time, `pause_s` apart. `edit` changes the head's
    fields, `then` is called when all is sent.
    """

    status: int | None = None
    body: bytes | None = None
    cut: int | None = None
    reset: bool = False
    hold: bool = False
    drip: int = 0
    pause_s: float = 0.05
    corrupt: int | None = None
    no_range: bool = False
    no_if_match: bool = False
    chunked: bool = False
    silent: bool = False
    edit: Callable[[dict[str, str]], None] | None = None
    then: Callable[[], object] | None = None


@dataclass
class Stored:
    """One object."""

    data: bytes
    generation: int = 1
    hashes: tuple[str, ...] = ("crc32c", "md5")
    etag: bool = True

    def head(self) -> dict[str, str]:
        digests = {
            "crc32c": google_crc32c.value(self.data).to_bytes(4, "big"),
            "md5": hashlib.md5(self.data, usedforsecurity=False).digest(),
        }
        head = {"Last-Modified": "Tue, 15 Nov 1994 12:45:26 GMT", "Accept-Ranges": "bytes"}
        if self.etag:
            head["ETag"] = self.etag_value
            head["x-goog-generation"] = str(self.generation)
        if self.hashes:
            head["x-goog-hash"] = ",".join(
                f"{name}={base64.b64encode(digests[name]).decode()}" for name in self.hashes
            )
        return head

    @property
    def etag_value(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}-{self.generation}"'


@dataclass
class Host:
    """The host. `objects` by path; `plans` are the treatments of the requests to come, by path."""

    tls: bool = False
    objects: dict[str, Stored] = field(default_factory=dict)
    plans: dict[str, deque[Treatment]] = field(default_factory=dict)
    always: Treatment = field(default_factory=Treatment)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    active: int = 0
    most_active: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asked = threading.Condition(self._lock)
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._context: ssl.SSLContext | None = None
        if self.tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATE)
        self._spawn(self._accept)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def put(self, path: str, data: bytes, *treatments: Treatment, **how: object) -> str:
        """Store an object, plan how its next requests are treated, and give its signed URL."""
        self.objects[path] = Stored(data, **how)  # type: ignore[arg-type]
        self.plans[path] = deque(treatments)
        return f"{self.origin}{path}?X-Goog-Signature=5ec2e7"

    def asked(self, path: str) -> list[Seen]:
        return [seen for seen in list(self.seen) if seen.path == path]

    def wait_asked(self, count: int, limit_s: float = 10.0) -> None:
        """Until so many requests have come in all."""
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.seen) >= count, limit_s), (
                f"{len(self.seen)} requests came"
            )

    def close(self) -> None:
        self._ended.set()
        # shutdown wakes an accept or recv of another thread, close alone does not.
        for each in [self._listener, *self._sockets]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="storage-host", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                number = self.connections
                self._sockets.add(client)
            self._spawn(self._serve, client, number)

    def _serve(self, client: socket.socket, number: int) -> None:
        plain = client
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                with self._lock:
                    self._sockets.discard(plain)
                    self._sockets.add(client)
            with client.makefile("rb") as reader:
                while self._exchange(client, reader, number):
                    pass
        except (OSError, ValueError):
            pass  # the client went away, or `close` closed what is read from
        finally:
            with self._lock:
                self._sockets.discard(client)
            client.close()

    def _exchange(self, client: socket.socket, reader: BinaryIO, number: int) -> bool:
        line = reader.readline()
        if not line:
            return False
        _, target, _ = line.decode("latin-1").split(" ", 2)
        headers = []
        while (line := reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        seen = Seen(re.sub(r"^http://[^/]*", "", target), headers, number)
        with self._asked:
            self.seen.append(seen)
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            plan = self.plans.get(seen.path)
            treatment = plan.popleft() if plan else self.always
            self._asked.notify_all()
        left = False

        def leave() -> None:
            nonlocal left
            with self._lock:
                self.active -= not left
                left = True

        try:
            return self._answer(client, reader, seen, treatment, leave)
        finally:
            leave()

    def _wait_for_the_end(self, reader: BinaryIO) -> None:
        try:
            reader.read(1)  # of the client, or of the host: both end the read
        except OSError:
            pass

    def _answer(
        self, client: socket.socket, reader: BinaryIO, seen: Seen, how: Treatment, leave: Callable[[], None]
    ) -> bool:
        if how.silent:
            self._wait_for_the_end(reader)
            return False
        status, head, body = self._judged(seen, how)
        if how.edit is not None:
            how.edit(head)
        if how.chunked:
            del head["Content-Length"]
            head["Transfer-Encoding"] = "chunked"
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in _pieces(body, 7000)) + b"0\r\n\r\n"
        if how.corrupt is not None:
            body = body[: how.corrupt] + bytes([body[how.corrupt] ^ 1]) + body[how.corrupt + 1 :]
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        client.sendall(f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1"))
        sent = body if how.cut is None else body[: how.cut]
        if how.drip:
            for piece in _pieces(sent, how.drip):
                client.sendall(piece)
                if self._ended.wait(how.pause_s):
                    return False
        else:
            if how.then is None and not how.hold:
                leave()  # before the client can know that it is over, and asks for the next
            client.sendall(sent)
        if how.then is not None:
            how.then()
        if how.hold:
            self._wait_for_the_end(reader)
        if how.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        return how.cut is None and not how.reset

    def _judged(self, seen: Seen, how: Treatment) -> tuple[int, dict[str, str], bytes]:
        if how.status is not None:
            body = how.body or b""
            return how.status, {"Content-Length": str(len(body))}, body
        stored = self.objects.get(seen.path)
        if stored is None:
            return 404, {"Content-Length": "0"}, b""
        wanted = seen.header("if-match")
        if wanted not in (None, stored.etag_value) and not how.no_if_match:
            return 412, {"Content-Length": "0"}, b""
        head, data = stored.head(), stored.data
        found = _RANGE.match(seen.header("range") or "")
        if found is None or how.no_range:
            return 200, {**head, "Content-Length": str(len(data))}, data
        first, last = int(found[1]), int(found[2] or len(data) - 1)
        if first >= len(data):
            return 416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"}, b""
        part = data[first : last + 1]
        head["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        return 206, {**head, "Content-Length": str(len(part))}, part


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]
