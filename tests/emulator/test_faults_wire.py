"""Each fault as a client meets it, on both hosts."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from pictofs.emulator.launch import ControlError, start
from pictofs.emulator.settings import EmulatorSettings
from tests.emulator.client import Api, ask

HOSTS = ("api", "storage")
BROKEN = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@pytest.fixture(scope="module")
def running() -> Iterator[Api]:
    with start(EmulatorSettings(dialect="c", images=200, rate_limit=0)) as emulator:
        yield Api(emulator, "c")


@pytest.fixture
def api(running: Api) -> Iterator[Api]:
    yield running
    running.emulator.clear_faults()


def target(api: Api, host: str) -> str:
    """A URL of each host that answers with a body of a fixed length."""
    if host == "storage":
        return str(api.items("Synthetic")[0]["url"])
    return f"{api.emulator.base_url}/images/{api.items('Synthetic')[0]['id']}"


def fetch(api: Api, url: str, **headers: str) -> Any:
    key = {"X_API_Key": api.emulator.api_key} if url.startswith(api.emulator.base_url) else {}
    return ask(url, **key, **headers)


@pytest.mark.parametrize("host", HOSTS)
def test_status_answers_instead_with_retry_after_and_body(api: Api, host: str) -> None:
    url = target(api, host)
    api.emulator.fault(host, "status", status=429, retry_after=7, body={"detail": "slow down"}, count=1)
    answer = fetch(api, url)
    assert (answer.status, answer.headers["retry-after"], answer.json) == (429, "7", {"detail": "slow down"})
    assert fetch(api, url).status == 200


@pytest.mark.parametrize("host", HOSTS)
def test_garbage_is_a_200_that_is_no_json(api: Api, host: str) -> None:
    url = target(api, host)
    api.emulator.fault(host, "garbage")
    answer = fetch(api, url)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)
    api.emulator.clear_faults()
    api.emulator.fault(host, "garbage", body="<html>", content_type="text/html")
    answer = fetch(api, url)
    assert (answer.body, answer.headers["content-type"]) == (b"<html>", "text/html")


@pytest.mark.parametrize("host", HOSTS)
def test_redirect_points_elsewhere(api: Api, host: str) -> None:
    url = target(api, host)
    api.emulator.fault(host, "redirect", location="http://127.0.0.1:1/elsewhere")
    answer = fetch(api, url)
    assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:1/elsewhere")


@pytest.mark.parametrize("host", HOSTS)
def test_reset_breaks_the_connection_before_any_answer(api: Api, host: str) -> None:
    url = target(api, host)
    api.emulator.fault(host, "reset", count=1)
    with pytest.raises(ConnectionResetError):
        fetch(api, url)
    assert fetch(api, url).status == 200


def raw(api: Api, url: str) -> tuple[bytes, int, str]:
    """What arrives before the connection ends: the body so far, the promised length, and how it ended."""
    parts = urlsplit(url)
    received, end = b"", "closed"
    with socket.create_connection((str(parts.hostname), parts.port), timeout=10) as sock:
        query = f"?{parts.query}" if parts.query else ""
        head = f"GET {parts.path}{query} HTTP/1.1\r\nHost: x\r\n"
        key = f"X-API-Key: {api.emulator.api_key}\r\n" if url.startswith(api.emulator.base_url) else ""
        sock.sendall(f"{head}{key}\r\n".encode())
        try:
            while part := sock.recv(4096):
                received += part
        except ConnectionResetError:
            end = "reset"
    head_bytes, _, body = received.partition(b"\r\n\r\n")
    length = next(line for line in head_bytes.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return body, int(length.split(b":")[1]), end


@pytest.mark.parametrize("host", HOSTS)
def test_reset_after_so_many_bytes(api: Api, host: str) -> None:
    url = target(api, host)
    whole = fetch(api, url).body
    api.emulator.fault(host, "reset", after_bytes=500, count=1)
    body, length, end = raw(api, url)
    assert end == "reset"
    assert length == len(whole)
    assert body == whole[: len(body)]
    assert len(body) <= 500


@pytest.mark.parametrize("host", HOSTS)
def test_truncate_ends_the_body_early_and_in_order(api: Api, host: str) -> None:
    url = target(api, host)
    whole = fetch(api, url).body
    api.emulator.fault(host, "truncate", after_bytes=1000, count=1)
    assert raw(api, url) == (whole[:1000], len(whole), "closed")
    assert fetch(api, url).body == whole


@pytest.mark.parametrize("host", HOSTS)
def test_corrupt_flips_one_byte_and_keeps_the_promises(api: Api, host: str) -> None:
    url = target(api, host)
    true = fetch(api, url)
    api.emulator.fault(host, "corrupt", offset=100, count=1)
    wrong = fetch(api, url)
    differing = [at for at, (a, b) in enumerate(zip(true.body, wrong.body, strict=True)) if a != b]
    assert differing == [100]
    assert wrong.headers.get("x-goog-hash") == true.headers.get("x-goog-hash")


@pytest.mark.parametrize("host", HOSTS)
def test_stall_sends_some_bytes_then_nothing_until_it_is_taken_back(api: Api, host: str) -> None:
    url = target(api, host)
    number = api.emulator.fault(host, "stall", after_bytes=10)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}", headers={"X-API-Key": api.emulator.api_key})
    answer = connection.getresponse()
    assert len(answer.read(10)) == 10
    sock = connection.sock
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    sock.settimeout(10)
    api.emulator.remove_fault(number)
    assert sock.recv(1) == b""  # it ends without the rest
    answer.close()
    connection.close()


def test_a_stall_of_some_seconds_goes_on_with_the_rest(api: Api) -> None:
    url = target(api, "storage")
    api.emulator.fault("storage", "stall", after_bytes=10, seconds=0.3, count=1)
    began = perf_counter()
    body = fetch(api, url).body
    assert perf_counter() - began >= 0.3
    assert body == fetch(api, url).body


@pytest.mark.parametrize("host", HOSTS)
def test_slow_sends_the_whole_body_at_its_speed(api: Api, host: str) -> None:
    url = target(api, host)
    whole = fetch(api, url).body
    api.emulator.fault(host, "slow", bytes_per_s=len(whole) * 2, count=1)
    began = perf_counter()
    assert fetch(api, url).body == whole
    assert perf_counter() - began >= 0.4


def test_expire_ends_the_urls_signed_before_and_none_signed_after(api: Api) -> None:
    old = target(api, "storage")
    api.emulator.fault("storage", "expire")
    new = target(api, "storage")
    answer = fetch(api, old)
    assert answer.status == 400
    assert b"<Code>ExpiredToken</Code>" in answer.body
    assert fetch(api, new).status == 200


@pytest.mark.parametrize("host", HOSTS)
def test_refuse_closes_the_port_until_it_is_taken_back(api: Api, host: str) -> None:
    url = target(api, host)
    for _ in range(2):
        number = api.emulator.fault(host, "refuse")
        with pytest.raises(ConnectionRefusedError):
            fetch(api, url)
        api.emulator.remove_fault(number)
        assert fetch(api, url).status == 200


def again(connection: http.client.HTTPConnection, asked: tuple[Any, ...]) -> bytes:
    connection.request(*asked)
    return connection.getresponse().read()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("drop", [True, False])
def test_refuse_drops_open_connections_unless_told_not_to(api: Api, host: str, drop: bool) -> None:
    parts = urlsplit(target(api, host))
    asked = ("GET", f"{parts.path}?{parts.query}", None, {"X-API-Key": api.emulator.api_key})
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    again(connection, asked)
    api.emulator.fault(host, "refuse", drop=drop)
    if drop:
        with pytest.raises(BROKEN):
            again(connection, asked)
    else:
        assert again(connection, asked)
    connection.close()


def test_a_port_refused_for_some_seconds_opens_by_itself(api: Api) -> None:
    url = target(api, "storage")
    api.emulator.fault("storage", "refuse", seconds=0.3)
    with pytest.raises(ConnectionRefusedError):
        fetch(api, url)
    ended = perf_counter() + 10
    while perf_counter() < ended:
        try:
            assert fetch(api, url).status == 200
        except ConnectionRefusedError:
            continue
        break
    assert api.emulator.faults() == []


def test_faults_say_how_often_they_struck_and_counters_count_them(api: Api) -> None:
    api.emulator.reset_counters()
    api.emulator.fault("api", "status", "*/datasets/*", count=2)
    assert [api("/datasets/").status for _ in range(3)] == [503, 503, 200]
    (entry,) = api.emulator.faults()
    assert (entry["struck"], entry["count"]) == (2, 0)
    assert api.emulator.counters()["api"]["faults"] == {"status": 2}


def test_a_fault_that_cannot_be_is_a_400_with_its_reason(api: Api) -> None:
    with pytest.raises(ControlError, match="kind"):
        api.emulator.fault("api", "explode")
    answer = ask(f"{api.emulator.control_url}/faults", "POST", b"not json")
    assert answer.status == 400


def test_several_entries_may_come_at_once(api: Api) -> None:
    entries = [{"host": "api", "kind": "status", "method": "POST"}, {"host": "storage", "kind": "reset"}]
    answer = ask(f"{api.emulator.control_url}/faults", "POST", json.dumps(entries).encode())
    assert [entry["kind"] for entry in answer.json["faults"]] == ["status", "reset"]
    assert api("/datasets/").status == 200
