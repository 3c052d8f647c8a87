"""What a GET from the storage host costs: CPU of the transfer thread, files a second, over both clients.

    python -m tests.benchmarks.storage_client [--count 1500] [--latency-ms 30] [--json]

A child process serves prepared answers with the head of a real storage host, so that its own cost hardly
shows; `--url` takes a host that is already there instead (`URL/<bytes>/<anything>` must answer with so many
bytes), for HTTP/2 say. Every figure is of the second of two runs over the same connections. The thread's CPU
is read by `done`, which runs in it: the first transfer's is the beginning, the last one's the end.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import google_crc32c

from pictofs.errors import PictofsError
from pictofs.storage import Carrier, Get, Got, curl, plain

CERTIFICATE = Path(__file__).parents[1] / "unit" / "storage" / "tls.pem"
CLIENTS: dict[str, Callable[..., Carrier]] = {"libcurl": curl.Transfers, "requests": plain.Transfers}
SIGNATURE = (
    "?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=reader%40project.iam.invalid%2F20260101%2Fauto%2Fstorage"
    "%2Fgoog4_request&X-Goog-Date=20260101T000000Z&X-Goog-Expires=3600&X-Goog-SignedHeaders=host&X-Goog-Signature="
) + "5e" * 256
LIMIT_S = 60.0


@dataclass(frozen=True)
class Case:
    """One row: what is fetched, and how."""

    client: str
    scheme: str
    connections: int
    latency_ms: int
    size_bytes: int
    count: int


@dataclass(frozen=True)
class Figure:
    """What came of it."""

    case: Case
    files_s: float
    mbytes_s: float
    thread_ms: float  # CPU of the thread that calls `done`, a file
    process_ms: float  # CPU of the whole process, submitting included, a file


def measure(case: Case, base: str) -> Figure:
    """Fetch twice, and measure the second time."""
    client = CLIENTS[case.client](connections=case.connections, ca_file=str(CERTIFICATE))
    gets = [
        Get(f"{base}/{case.size_bytes}/{i:08d}.jpg{SIGNATURE}", 0, (8 << 20) - 1) for i in range(case.count)
    ]
    client.start()
    try:
        _fetch(client, gets)
        began_s, process_s = time.perf_counter(), time.process_time()
        thread_s = _fetch(client, gets)
        took_s, process_s = time.perf_counter() - began_s, time.process_time() - process_s
    finally:
        client.stop()
    return Figure(
        case,
        case.count / took_s,
        case.count * case.size_bytes / took_s / 1e6,
        thread_s / case.count * 1e3,
        process_s / case.count * 1e3,
    )


def _fetch(client: Carrier, gets: list[Get]) -> float:
    """Fetch all; CPU seconds of the thread that tells."""
    ended = threading.Event()
    clock: list[float] = []
    failures: list[PictofsError] = []
    left = len(gets)

    def done(outcome: Got | PictofsError) -> None:
        nonlocal left
        left -= 1
        if isinstance(outcome, PictofsError):
            failures.append(outcome)
        if not clock or not left:
            clock.append(time.thread_time())
        if not left:
            ended.set()

    for get in gets:
        client.submit(get, done)
    if not ended.wait(LIMIT_S):
        raise SystemExit(f"{left} of {len(gets)} transfers did not end within {LIMIT_S:g} s")
    if failures:
        raise SystemExit(f"{len(failures)} transfers failed: {failures[0]}")
    return clock[-1] - clock[0]


class Served(asyncio.Protocol):
    """Answers `GET /<bytes>/…` with so many bytes and a storage host's head, after the latency."""

    answers: ClassVar[dict[tuple[int, bool], bytes]] = {}

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while b"\r\n\r\n" in self._asked:
            head, _, self._asked = self._asked.partition(b"\r\n\r\n")
            found = re.match(rb"GET /(\d+)/", head)
            answer = self.answer(int(found[1]) if found else 0, b"\nRange:" in head)
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def answer(self, size_bytes: int, ranged: bool) -> bytes:
        key = (size_bytes, ranged)
        if key not in self.answers:
            body = bytes(range(256)) * (size_bytes // 256) + bytes(size_bytes % 256)
            crc32c = base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
            span = f"Content-Range: bytes 0-{size_bytes - 1}/{size_bytes}\r\n" if ranged else ""
            self.answers[key] = (
                f"HTTP/1.1 {'206 Partial Content' if ranged else '200 OK'}\r\n"
                f"X-GUploader-UploadID: ABPtcPr1\r\nExpires: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                f"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                f"Cache-Control: private, max-age=0\r\nLast-Modified: Wed, 31 Dec 2025 00:00:00 GMT\r\n"
                f'ETag: "0123456789abcdef0123456789abcdef"\r\nx-goog-generation: 1767225600000000\r\n'
                f"x-goog-metageneration: 1\r\nx-goog-stored-content-encoding: identity\r\n"
                f"x-goog-stored-content-length: {size_bytes}\r\nx-goog-hash: crc32c={crc32c}\r\n"
                f"x-goog-storage-class: STANDARD\r\nAccept-Ranges: bytes\r\nContent-Type: image/jpeg\r\n"
                f"{span}Content-Length: {size_bytes}\r\nServer: UploadServer\r\n\r\n"
            ).encode() + body
        return self.answers[key]


async def serve(latency_s: float, tls: bool) -> None:
    """Serve until standard input ends; the first line of output is the port."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Served(latency_s), "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def against_a_child(case: Case) -> Figure:
    """Measure with a server of our own."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            __spec__.name,
            "--serve",
            f"--latency-ms={case.latency_ms}",
            f"--scheme={case.scheme}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        return measure(case, f"{case.scheme}://127.0.0.1:{port}")
    finally:
        child.communicate(b"", timeout=10)


def cases(count: int, latency_ms: int) -> list[Case]:
    """The table's rows."""
    return [
        Case("libcurl", "http", 16, 0, 60_000, count),
        Case("libcurl", "http", 64, latency_ms, 60_000, count),
        Case("libcurl", "https", 64, latency_ms, 60_000, count),
        Case("libcurl", "http", 8, 0, 8 << 20, 40),
        Case("requests", "http", 16, 0, 60_000, count // 4),
        Case("requests", "http", 64, latency_ms, 60_000, count // 4),
        Case("requests", "https", 64, latency_ms, 60_000, count // 4),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--latency-ms", type=int, default=30)
    parser.add_argument(
        "--url", help="a host that is already there; its certificate is the environment's affair"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scheme", default="http", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve(chosen.latency_ms / 1000, chosen.scheme == "https"))
        return
    if chosen.url:
        scheme = chosen.url.partition(":")[0]
        rows = [Case("libcurl", scheme, n, 0, 60_000, chosen.count) for n in (1, 16, 64)]
        figures = [measure(case, chosen.url) for case in rows]
    else:
        figures = [against_a_child(case) for case in cases(chosen.count, chosen.latency_ms)]
    if chosen.json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    print("client    scheme   conns  latency     bytes  files/s    MB/s    thread   process")
    for figure in figures:
        case = figure.case
        print(
            f"{case.client:10}{case.scheme:8}{case.connections:>6}{case.latency_ms:>6} ms"
            f"{case.size_bytes:>10}{figure.files_s:>9.0f}{figure.mbytes_s:>8.0f}"
            f"{figure.thread_ms:>7.3f} ms{figure.process_ms:>7.3f} ms"
        )


if __name__ == "__main__":
    main()
