"""The storage host over the wire."""

from __future__ import annotations

import base64
import hashlib
import http.client
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit
from xml.etree import ElementTree

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.emulator.launch import start
from pictofs.emulator.settings import EmulatorSettings
from pictofs.emulator.storage_answers import http_date
from tests.emulator.client import Answer, Api, ask

BIG_BYTES = 3_000_000


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "Big" / "images").mkdir(parents=True)
    (folder / "Big" / "images" / "big.tif").write_bytes(bytes(range(250)) * (BIG_BYTES // 250))
    (folder / "Big" / "images" / "empty.jpg").write_bytes(b"")
    with start(EmulatorSettings(data=folder, images=200)) as emulator:
        yield Api(emulator, "c")


def url_of(api: Api, dataset: str = "Synthetic", filename: str = "frame_00000.jpg") -> str:
    return next(str(item["url"]) for item in api.items(dataset) if item["filename"] == filename)


def code(answer: Answer) -> str:
    assert answer.headers["content-type"].startswith("application/xml")
    return str(ElementTree.fromstring(answer.body).findtext("Code"))


def test_an_object_comes_with_its_length_checksums_and_validators(host: Api) -> None:
    answer = ask(url_of(host))
    assert answer.status == 200
    headers = answer.headers
    assert int(headers["content-length"]) == int(headers["x-goog-stored-content-length"]) == len(answer.body)
    digest = hashlib.md5(answer.body)
    assert headers["etag"] == f'"{digest.hexdigest()}"'
    crc = base64.b64encode(struct.pack(">I", google_crc32c.value(answer.body))).decode()
    assert headers["x-goog-hash"] == f"crc32c={crc},md5={base64.b64encode(digest.digest()).decode()}"
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-type"] == "image/jpeg"
    assert int(headers["x-goog-generation"]) > 0
    assert headers["last-modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_a_range_is_206_with_the_hash_of_the_whole(host: Api) -> None:
    url = url_of(host)
    whole = ask(url)
    part = ask(url, Range="bytes=100-199")
    assert (part.status, part.body) == (206, whole.body[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.body)}"
    assert part.headers["x-goog-hash"] == whole.headers["x-goog-hash"]
    assert ask(url, Range="bytes=-7").body == whole.body[-7:]


@pytest.mark.parametrize("header", ["bytes=9999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_416_with_the_size(host: Api, header: str) -> None:
    url = url_of(host)
    answer = ask(url, Range=header)
    assert (answer.status, code(answer)) == (416, "InvalidRange")
    assert answer.headers["content-range"] == f"bytes */{len(ask(url).body)}"


def test_conditions_are_honoured(host: Api) -> None:
    url = url_of(host)
    etag = ask(url).headers["etag"]
    assert ask(url, If_None_Match=etag).status == 304
    assert ask(url, If_None_Match=etag).body == b""
    assert ask(url, If_Match='"other"').status == 412
    assert ask(url, If_Range=etag, Range="bytes=0-4").status == 206
    assert ask(url, If_Range='"other"', Range="bytes=0-4").status == 200


def test_head_of_a_url_signed_for_get_is_403_without_a_body(host: Api) -> None:
    answer = ask(url_of(host), "HEAD")
    assert (answer.status, answer.body) == (403, b"")


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        (lambda url: url.replace("frame_00000", "frame_00001"), 403, "SignatureDoesNotMatch"),
        (lambda url: url.replace("Expires=3600", "Expires=9999"), 403, "SignatureDoesNotMatch"),
        (lambda url: url.partition("?")[0], 403, "AccessDenied"),
    ],
)
def test_a_tampered_or_unsigned_url_is_403_with_an_xml_body(
    host: Api, change: Callable[[str], str], status: int, expected: str
) -> None:
    answer = ask(change(url_of(host)))
    assert (answer.status, code(answer)) == (status, expected)


def test_a_write_is_405(host: Api) -> None:
    assert ask(url_of(host), "PUT", b"x").status == 405


def test_a_big_object_comes_whole_and_in_ranges(host: Api) -> None:
    url = url_of(host, "Big", "big.tif")
    whole = ask(url)
    assert whole.body == bytes(range(250)) * (BIG_BYTES // 250)
    assert whole.headers["etag"] == f'"{hashlib.md5(whole.body).hexdigest()}"'
    assert ask(url, Range="bytes=1000000-2999999").body == whole.body[1_000_000:]


def test_an_empty_object_is_an_empty_200(host: Api) -> None:
    answer = ask(url_of(host, "Big", "empty.jpg"))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_a_connection_serves_one_request_after_another(host: Api) -> None:
    url = urlsplit(url_of(host))
    before = host.emulator.counters(detail=False)["storage"]["connections"]
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
    for _ in range(5):
        connection.request("GET", f"{url.path}?{url.query}")
        assert len(connection.getresponse().read()) > 60_000 - 1
    connection.close()
    assert host.emulator.counters(detail=False)["storage"]["connections"] == before + 1


@pytest.mark.parametrize("latency_ms", [0.0, 20.0])
def test_requests_sent_at_once_are_answered_in_their_order(host: Api, latency_ms: float) -> None:
    import socket

    urls = [url_of(host, "Big", "big.tif"), *(url_of(host, filename=f"frame_0000{n}.jpg") for n in range(2))]
    bodies = [ask(url).body for url in urls]
    asked = [f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n" for parts in map(urlsplit, urls)]
    host.emulator.switch(storage_latency_ms=latency_ms)
    try:
        parts = urlsplit(urls[0])
        with socket.create_connection((str(parts.hostname), parts.port), timeout=10) as sock:
            sock.sendall(("\r\n".join(asked) + "Connection: close\r\n\r\n").encode())
            received = b""
            while part := sock.recv(1 << 20):
                received += part
    finally:
        host.emulator.switch(storage_latency_ms=0.0)
    found = [received.find(body) for body in bodies]
    assert 0 < found[0] < found[1] < found[2]


def test_what_is_not_http_is_400(host: Api) -> None:
    import socket

    parts = urlsplit(host.emulator.storage_url)
    with socket.create_connection((str(parts.hostname), parts.port), timeout=10) as sock:
        sock.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_url_expires_after_its_ttl(api: Callable[..., Api]) -> None:
    found = api(url_ttl=1)
    url, ended = url_of(found), perf_counter() + 10
    while (answer := ask(url)).status == 200:
        assert perf_counter() < ended
    assert (answer.status, code(answer)) == (400, "ExpiredToken")
    assert ask(url_of(found)).status == 200


@pytest.mark.parametrize(("shown", "names"), [("crc32c", ["crc32c"]), ("md5", ["md5"]), ("none", [])])
def test_the_hash_header_carries_what_the_switch_says(host: Api, shown: str, names: list[str]) -> None:
    url = url_of(host)
    host.emulator.switch(hashes=shown)
    try:
        header = ask(url).headers.get("x-goog-hash", "")
    finally:
        host.emulator.switch(hashes="both")
    assert [part.partition("=")[0] for part in header.split(",") if part] == names


def test_latency_is_waited_for_by_all_at_once(host: Api) -> None:
    url = url_of(host)
    host.emulator.switch(storage_latency_ms=200.0)
    try:
        host.emulator.reset_counters()
        began = perf_counter()
        with ThreadPoolExecutor(16) as pool:
            assert {answer.status for answer in pool.map(lambda _: ask(url), range(16))} == {200}
        took = perf_counter() - began
    finally:
        host.emulator.switch(storage_latency_ms=0.0)
    assert 0.2 <= took < 16 * 0.2 / 2
    assert host.emulator.counters(detail=False)["storage"]["in_flight_most"] > 4


def test_bandwidth_is_shared_by_the_connections(host: Api) -> None:
    url = url_of(host)
    host.emulator.switch(bandwidth=400_000)
    try:
        began = perf_counter()
        with ThreadPoolExecutor(4) as pool:
            total = sum(len(answer.body) for answer in pool.map(lambda _: ask(url), range(4)))
        took = perf_counter() - began
    finally:
        host.emulator.switch(bandwidth=0)
    assert took >= total / 400_000 * 0.9


def test_counters_tell_objects_bytes_ranges_and_that_no_key_came(host: Api) -> None:
    url = url_of(host)
    host.emulator.reset_counters()
    body = ask(url).body
    ask(url, Range="bytes=0-9")
    ask(url, X_API_Key="pk_live_stray", Cookie="a=b")
    found = host.emulator.counters()["storage"]
    path = urlsplit(url).path
    assert found["paths"] == {f"GET {path}": 3}
    assert found["bytes_sent"] == 2 * len(body) + 10
    assert found["ranges"] == [[path, "bytes=0-9"]]
    assert found["keys"] == ["pk_live_stray"]
    assert found["authorization"] == 1
    assert found["statuses"] == {"200": 2, "206": 1}
    assert found["most_requests_of_one_path"] == 3
    host.emulator.reset_counters()
    assert host.emulator.counters()["storage"]["requests"] == 0


def test_a_file_that_vanished_is_a_500_and_not_a_short_body(api: Callable[..., Api], tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").write_bytes(b"x" * 1000)
    found = api(data=tmp_path, images=0)
    url = url_of(found, tmp_path.name, "gone.jpg")
    (tmp_path / "gone.jpg").unlink()
    assert (ask(url).status, code(ask(url))) == (500, "InternalError")


@given(st.integers(0, 4_102_444_800))
def test_dates_are_written_as_http_writes_them(seconds: int) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)
