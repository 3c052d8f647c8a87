"""What both clients promise about one object: its bytes, its range, its version, its checksum."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from typing import Any

import google_crc32c
import pytest

from pictofs.errors import Damaged, ObjectChanged, ObjectGone, TransferError, UrlExpired
from tests.unit.storage.clients import Asked, Make
from tests.unit.storage.host import Host, Treatment

DATA = random.Random(4).randbytes(200_000)
PATH = "/bucket/images/a%20b%2Fc.jpg"


def test_a_whole_object_comes_with_what_the_host_says_of_it(asked: Asked, host: Host) -> None:
    got = asked.got(host.put(PATH, DATA, generation=77))
    assert bytes(got.body) == DATA
    assert (got.first, got.total_bytes, got.body_bytes, got.whole) == (0, len(DATA), len(DATA), True)
    assert (got.generation, got.etag) == ("77", host.objects[PATH].etag_value)
    assert got.md5 == base64.b64encode(hashlib.md5(DATA).digest()).decode()
    assert got.crc32c == google_crc32c.value(DATA)
    assert got.crc32c_object == base64.b64encode(got.crc32c.to_bytes(4, "big")).decode()
    assert got.last_modified_ns == 784903526 * 10**9
    assert got.attempts == 1
    assert 0 <= got.first_byte_s <= got.elapsed_s


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 99), (0, 100)),
        ((500, 1499), (500, 1500)),
        ((199_000, 400_000), (199_000, 200_000)),
        ((150_000,), (150_000, 200_000)),
    ],
)
def test_both_ends_of_a_range_are_inclusive(asked: Asked, host: Host, span: Any, expected: Any) -> None:
    got = asked.got(host.put(PATH, DATA), *span)
    assert bytes(got.body) == DATA[slice(*expected)]
    assert (got.first, got.total_bytes, got.whole) == (expected[0], len(DATA), False)
    assert got.crc32c == google_crc32c.value(bytes(got.body))


def test_a_range_that_holds_the_whole_object_is_whole(asked: Asked, host: Host) -> None:
    assert asked.got(host.put(PATH, DATA), 0, (8 << 20) - 1).whole


@pytest.mark.parametrize("span", [(), (0,), (0, 8191)])
def test_an_empty_object_is_empty_bytes_however_it_is_asked_for(asked: Asked, host: Host, span: Any) -> None:
    got = asked.got(host.put(PATH, b""), *span)
    assert (bytes(got.body), got.total_bytes, got.whole) == (b"", 0, True)


def test_a_range_behind_the_end_is_another_version_than_was_known(asked: Asked, host: Host) -> None:
    assert isinstance(asked.error(host.put(PATH, DATA), 300_000, 400_000), ObjectChanged)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("span", [(), (100, 150_000)])
def test_a_broken_transfer_goes_on_at_the_same_byte_of_the_same_version(
    asked: Asked, host: Host, span: Any, reset: bool
) -> None:
    cuts = [Treatment(cut=40_000, reset=reset), Treatment(cut=30_000, reset=reset)]
    url = host.put(PATH, DATA, *cuts)
    got = asked.got(url, *span)
    assert bytes(got.body) == (DATA[100:150_001] if span else DATA)
    assert got.attempts == 3
    first, second, third = host.asked(PATH)
    start, end = (span[0], str(span[1])) if span else (0, "")
    assert first.header("range") == (f"bytes={start}-{end}" if span else None)
    assert second.header("range") == f"bytes={start + 40_000}-{end}"
    assert third.header("range") == f"bytes={start + 70_000}-{end}"
    assert [seen.header("if-match") for seen in (first, second, third)] == [None, got.etag, got.etag]


def test_without_anything_that_tells_versions_apart_a_broken_transfer_begins_anew(
    asked: Asked, host: Host
) -> None:
    got = asked.got(host.put(PATH, DATA, Treatment(cut=40_000), etag=False))
    assert bytes(got.body) == DATA
    assert [seen.header("range") for seen in host.asked(PATH)] == [None, None]


@pytest.mark.parametrize("no_if_match", [False, True])
def test_bytes_of_two_versions_are_never_joined(asked: Asked, host: Host, no_if_match: bool) -> None:
    def replaced() -> None:
        host.objects[PATH].generation += 1

    cut = Treatment(cut=40_000, then=replaced)
    error = asked.error(host.put(PATH, DATA, cut, Treatment(no_if_match=no_if_match)))
    assert isinstance(error, ObjectChanged)
    assert len(host.asked(PATH)) == 2


def test_a_version_that_is_not_the_one_asked_for_is_refused(asked: Asked, host: Host) -> None:
    url = host.put(PATH, DATA, generation=5)
    etag = host.objects[PATH].etag_value
    assert asked.got(url, if_match=etag, generation="5", expect_bytes=len(DATA)).whole
    assert asked.got(url, 0, 9, expect_bytes=10).body_bytes == 10
    for wrong in ({"if_match": '"other"'}, {"generation": "6"}, {"expect_bytes": len(DATA) + 1}):
        assert isinstance(asked.error(url, **wrong), ObjectChanged), wrong


def test_nothing_of_one_request_stays_for_the_next(make: Make, host: Host) -> None:
    asked = make(connections=1)
    url = host.put(PATH, DATA, generation=5)
    asked.got(url, 5, 9, if_match=host.objects[PATH].etag_value)
    host.objects[PATH].generation = 6
    assert asked.got(url).whole
    assert [(seen.header("range"), seen.header("if-match") is None) for seen in host.seen] == [
        ("bytes=5-9", False),
        (None, True),
    ]
    assert host.connections == 1


@pytest.mark.parametrize("span", [(0, 999), (70_000, 70_999), (190_000, 250_000), (5,)])
def test_a_200_to_a_range_is_cut_to_it(asked: Asked, host: Host, span: Any) -> None:
    got = asked.got(host.put(PATH, DATA, Treatment(no_range=True)), *span)
    last = span[1] if len(span) > 1 else len(DATA)
    assert bytes(got.body) == DATA[span[0] : last + 1]
    assert (got.first, got.total_bytes) == (span[0], len(DATA))


def test_a_200_to_a_resumed_range_is_a_restart(asked: Asked, host: Host) -> None:
    got = asked.got(host.put(PATH, DATA, Treatment(cut=40_000), Treatment(no_range=True)), 1000, 99_999)
    assert bytes(got.body) == DATA[1000:100_000]
    assert got.crc32c == google_crc32c.value(DATA[1000:100_000])


def test_what_a_host_sends_unasked_is_bounded(asked: Asked, host: Host) -> None:
    url = host.put(PATH, DATA)
    host.always = Treatment(no_range=True)
    error = asked.error(url, 0, 999, limit_bytes=100_000)
    assert isinstance(error, TransferError)
    assert "100000" in str(error)
    host.always = Treatment(no_range=True, chunked=True)
    assert type(asked.error(url, 0, 999, limit_bytes=100_000)) is TransferError
    host.always = Treatment()
    assert asked.got(url, 0, 99_999, limit_bytes=100_000).body_bytes == 100_000
    assert type(asked.error(url, 0, 100_000, limit_bytes=100_000)) is TransferError


@pytest.mark.parametrize("hashes", [("crc32c", "md5"), ("crc32c",), ("md5",)])
def test_a_wrong_byte_is_fetched_again_once_and_never_given(asked: Asked, host: Host, hashes: Any) -> None:
    got = asked.got(host.put(PATH, DATA, Treatment(corrupt=777), hashes=hashes))
    assert bytes(got.body) == DATA
    assert got.attempts == 2
    url = host.put(PATH, DATA, Treatment(corrupt=777), Treatment(corrupt=8), hashes=hashes)
    assert isinstance(asked.error(url), Damaged)


def test_a_checksum_holds_over_broken_attempts(asked: Asked, host: Host) -> None:
    for hashes in (("crc32c",), ("md5",)):
        url = host.put(PATH, DATA, Treatment(cut=50_000, corrupt=9), Treatment(), hashes=hashes)
        got = asked.got(url)
        assert bytes(got.body) == DATA
        assert got.attempts == 3


def test_a_whole_object_that_is_cut_to_a_range_is_checked_as_a_whole(asked: Asked, host: Host) -> None:
    for hashes in (("crc32c",), ("md5",)):
        wrong = Treatment(no_range=True, corrupt=150_000)
        got = asked.got(host.put(PATH, DATA, wrong, hashes=hashes), 0, 999)
        assert bytes(got.body) == DATA[:1000]
        assert got.attempts == 2


def test_without_hashes_the_length_alone_is_checked(asked: Asked, host: Host) -> None:
    got = asked.got(host.put(PATH, DATA, hashes=()))
    assert (bytes(got.body), got.md5, got.crc32c_object) == (DATA, "", "")


def test_an_object_unpacked_on_the_way_is_not_held_to_the_hash_of_the_packed_one(
    asked: Asked, host: Host
) -> None:
    def unpacked(head: dict[str, str]) -> None:
        head["x-goog-stored-content-encoding"] = "gzip"
        head["x-goog-hash"] = "crc32c=AAAAAA=="

    got = asked.got(host.put(PATH, DATA, Treatment(chunked=True, edit=unpacked)))
    assert (bytes(got.body), got.total_bytes) == (DATA, len(DATA))


def test_a_body_in_chunks_without_a_length_is_whole_at_its_end(asked: Asked, host: Host) -> None:
    got = asked.got(host.put(PATH, DATA, Treatment(chunked=True)))
    assert (bytes(got.body), got.total_bytes, got.whole) == (DATA, len(DATA), True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda head: head.update({"Content-Range": "bytes 1-100/200000"}),
        lambda head: head.update({"Content-Range": "bytes 0-99/*"}),
        lambda head: head.pop("Content-Range"),
        lambda head: head.update({"Content-Range": "nonsense"}),
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_damage(asked: Asked, host: Host, edit: Any) -> None:
    wrong = Treatment(edit=edit)
    assert bytes(asked.got(host.put(PATH, DATA, wrong), 0, 99).body) == DATA[:100]
    assert isinstance(asked.error(host.put(PATH, DATA, wrong, wrong), 0, 99), Damaged)


def test_a_body_that_always_ends_too_early_is_damage_in_the_end(asked: Asked, host: Host) -> None:
    url = host.put(PATH, DATA)
    host.always = Treatment(cut=0)
    assert isinstance(asked.error(url), Damaged)
    assert len(host.asked(PATH)) == 6


REFUSALS = {
    400: UrlExpired,
    401: UrlExpired,
    403: UrlExpired,
    404: ObjectGone,
    410: ObjectGone,
    412: ObjectChanged,
    405: TransferError,
    204: TransferError,
    302: TransferError,
}


def test_a_refusal_is_told_by_its_class_at_once(asked: Asked, host: Host) -> None:
    for status, kind in REFUSALS.items():
        body = b"<?xml version='1.0'?><Error><Code>SomeReason</Code></Error>" if status != 204 else b""
        path = f"/refused/{status}"
        error = asked.error(host.put(path, DATA, Treatment(status=status, body=body)), 0, 99)
        assert type(error) is kind, status
        assert isinstance(error, TransferError)
        assert error.status == status
        assert ("SomeReason" in str(error)) == (kind in (UrlExpired, ObjectGone) or status == 405)
        assert len(host.asked(path)) == 1


def test_an_overloaded_host_is_asked_again(asked: Asked, host: Host) -> None:
    for status in (408, 429, 500, 502, 503, 504):
        busy = Treatment(status=status, body=b"busy")
        got = asked.got(host.put(PATH, DATA, busy, Treatment(status=status)))
        assert (bytes(got.body), got.attempts) == (DATA, 3), status


def test_an_overloaded_host_is_left_alone_in_the_end(asked: Asked, host: Host) -> None:
    url = host.put(PATH, DATA)
    host.always = Treatment(status=503, body=b"busy")
    error = asked.error(url)
    assert type(error) is TransferError
    assert error.status == 503
    assert len(host.asked(PATH)) == 6


def test_retry_after_is_waited_out(asked: Asked, host: Host) -> None:
    later = Treatment(status=429, edit=lambda head: head.update({"Retry-After": "0.3"}))
    began_s = time.monotonic()
    assert asked.got(host.put(PATH, DATA, later)).attempts == 2
    assert time.monotonic() - began_s >= 0.3


def test_a_retry_after_beyond_the_timeout_ends_the_transfer_at_once(asked: Asked, host: Host) -> None:
    later = Treatment(status=429, edit=lambda head: head.update({"Retry-After": "3600"}))
    error = asked.error(host.put(PATH, DATA, later))
    assert isinstance(error, TransferError)
    assert (error.status, error.retry_after_s) == (429, 3600.0)


def test_a_redirect_on_the_same_host_is_followed_and_no_other(asked: Asked, host: Host) -> None:
    def to(location: str) -> Treatment:
        return Treatment(status=307, edit=lambda head: head.update({"Location": location}))

    host.put("/moved", DATA)
    assert bytes(asked.got(host.put(PATH, b"", to("/moved?sig=1"))).body) == DATA
    assert bytes(asked.got(host.put(PATH, b"", to(host.origin + "/moved"))).body) == DATA
    other = Host()
    try:
        for target in (
            other.origin + "/moved",
            f"//127.0.0.1:{other.port}/moved",
            "https://127.0.0.1/moved",
            "file:///etc/passwd",
        ):
            error = asked.error(host.put(PATH, DATA, to(target)))
            assert type(error) is TransferError, target
        assert other.connections == 0
    finally:
        other.close()
    circle = [to("/bucket/images/a%20b%2Fc.jpg?again=1")] * 9
    assert "circle" in str(asked.error(host.put(PATH, DATA, *circle)))
    assert len(host.asked(PATH)) == 2 + 4 + 4


UNFIT = (
    "",
    "nonsense",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "http://",
    "http:///x",
    "http://u:p@127.0.0.1:9/x",
    "http://127.0.0.1:9/x y",
    "http://127.0.0.1:9/é",
    "http://127.0.0.1:9/x\r\nX-Header: 1",
)


def test_an_url_that_is_not_fit_for_use_is_an_error_of_its_transfer(asked: Asked) -> None:
    for url in UNFIT:
        assert type(asked.error(url)) is TransferError, url
    assert asked.client.requests == 0


def test_silence_is_bounded(make: Make, host: Host) -> None:
    asked = make(timeout_s=0.5)
    url = host.put(PATH, DATA)
    host.always = Treatment(silent=True)
    began_s = time.monotonic()
    error = asked.error(url)
    assert type(error) is TransferError
    assert "in time" in str(error) or "too slowly" in str(error)
    assert 0.5 <= time.monotonic() - began_s < 4
    assert len(host.asked(PATH)) >= 2


def test_a_stalled_transfer_goes_on_over_another_connection(make: Make, host: Host) -> None:
    asked = make(timeout_s=1.0)
    got = asked.got(host.put(PATH, DATA, Treatment(cut=60_000, hold=True)))
    assert bytes(got.body) == DATA
    first, second = host.asked(PATH)
    assert second.header("range") == "bytes=60000-"
    assert first.connection != second.connection


def test_a_trickle_is_restarted_where_it_is_and_then_borne(make: Make, host: Host) -> None:
    # 50 bytes every 0.1 s is half the floor: twice left, then read to its end.
    asked = make(timeout_s=0.6)
    trickle = Treatment(drip=50, pause_s=0.1)
    got = asked.got(host.put(PATH, DATA[:600], trickle, trickle, trickle))
    assert bytes(got.body) == DATA[:600]
    assert got.attempts == 3
    starts = [int((seen.header("range") or "bytes=0-")[6:-1]) for seen in host.asked(PATH)]
    assert starts == sorted(set(starts))
