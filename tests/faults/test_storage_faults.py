"""Both storage clients against every fault of the storage host: right bytes, or the error that fits."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from pictofs.errors import Damaged, ObjectChanged, ObjectGone, TransferError, UrlExpired
from pictofs.storage import Get, Got
from pictofs.storage.answer import base64_of
from tests.unit.storage.clients import Make, Outcome, make

__all__ = ["make"]

IMAGES = 24
BYTES = 150_000
SECRET = "X-Goog-Signature"


@dataclass
class Storage:
    """The emulator, as a client of its storage host sees it."""

    emulator: Running

    def urls(self) -> list[str]:
        """Fresh signed URLs of all images, in their order."""
        found = self._ask("/datasets/by-name/synthetic/download?mode=images_only")
        return [row["download_url"] for row in found["images"]]

    def ids(self) -> list[str]:
        return [
            row["id"] for row in self._ask("/datasets/by-name/synthetic/download?mode=images_only")["images"]
        ]

    def fault(self, kind: str, url: str | None = None, **parameters: Any) -> int:
        path = "*" if url is None else urlsplit(url).path
        return self.emulator.fault("storage", kind, path, **parameters)

    def requests(self, url: str) -> int:
        paths: dict[str, int] = self.emulator.counters()["storage"]["paths"]
        return paths.get(f"GET {urlsplit(url).path}", 0)

    def ranges(self, url: str) -> list[str]:
        wanted = urlsplit(url).path
        return [header for path, header in self.emulator.counters()["storage"]["ranges"] if path == wanted]

    def _ask(self, path: str) -> Any:
        request = urllib.request.Request(
            self.emulator.base_url + path, headers={"X-API-Key": self.emulator.api_key}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def shared() -> Iterator[Storage]:
    settings = EmulatorSettings(dialect="a", images=IMAGES, image_bytes=BYTES, names="plain", rate_limit=0)
    with start(settings) as emulator:
        yield Storage(emulator)


@pytest.fixture
def storage(shared: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    shared.emulator.clear_faults()
    shared.emulator.reset_counters()
    yield shared
    shared.emulator.clear_faults()
    counters = shared.emulator.counters()["storage"]
    assert counters["keys"] == {} or counters["keys"] == []
    assert counters["authorization"] == 0


def right(outcome: object) -> bool:
    """The whole object, as the host's own checksum has it."""
    assert isinstance(outcome, Got), outcome
    return (
        outcome.whole
        and base64_of(google_crc32c.value(bytes(outcome.body)).to_bytes(4, "big")) == outcome.crc32c_object
    )


def test_a_whole_dataset_comes_right_over_few_connections(make: Make, storage: Storage) -> None:
    asked = make(connections=6)
    outcomes = [asked.submit(Get(url))[1] for url in storage.urls()]
    assert all(right(outcome.wait()) for outcome in outcomes)
    counters = storage.emulator.counters()["storage"]
    assert counters["connections_most"] <= 6
    assert counters["requests"] == IMAGES
    assert asked.client.bytes_received == counters["bytes_sent"]


def test_a_reset_is_resumed_at_the_same_byte(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[0]
    storage.fault("reset", url, count=1, after_bytes=70_000)
    storage.fault("reset", url, count=1, after_bytes=0)
    assert right(asked.outcome(url))
    assert storage.requests(url) == 3
    assert len(storage.ranges(url)) == 2
    assert all(0 < int(header[6:-1]) <= 70_000 for header in storage.ranges(url))


def test_a_truncated_body_is_resumed_at_the_same_byte(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[0]
    storage.fault("truncate", url, count=1, after_bytes=50_000)
    storage.fault("truncate", url, count=1, after_bytes=30_000)
    assert right(asked.outcome(url))
    assert storage.ranges(url) == ["bytes=50000-", "bytes=80000-"]
    storage.fault("truncate", url, after_bytes=0)
    assert isinstance(asked.error(url), Damaged)


def test_a_stall_is_left_for_another_connection(make: Make, storage: Storage) -> None:
    asked, url = make(timeout_s=1.0), storage.urls()[0]
    storage.fault("stall", url, count=1, after_bytes=60_000)
    began_s = time.monotonic()
    assert right(asked.outcome(url))
    assert storage.ranges(url) == ["bytes=60000-"]
    assert time.monotonic() - began_s < 3


def test_a_stall_that_never_ends_is_an_error_within_a_bound(make: Make, storage: Storage) -> None:
    asked, url = make(timeout_s=0.5), storage.urls()[0]
    storage.fault("stall", url, after_bytes=0)
    began_s = time.monotonic()
    assert type(asked.error(url)) is TransferError
    assert time.monotonic() - began_s < 4


def test_a_slow_body_arrives_while_bytes_come(make: Make, storage: Storage) -> None:
    asked, url = make(timeout_s=1.0), storage.urls()[0]
    storage.fault("slow", url, count=1, bytes_per_s=120_000)
    told: list[int] = []
    _, outcome = asked.submit(Get(url), told.append)
    got = outcome.wait()
    assert right(got)
    assert isinstance(got, Got)
    assert got.attempts == 1
    assert got.elapsed_s > 1
    assert len(told) > 2


def test_a_body_below_the_floor_is_restarted_where_it_is(make: Make, storage: Storage) -> None:
    asked, url = make(timeout_s=1.0), storage.urls()[0]
    storage.fault("slow", url, count=1, bytes_per_s=400)
    assert right(asked.outcome(url))
    (header,) = storage.ranges(url)
    assert 0 < int(header[6:-1]) < 1024


def test_a_wrong_byte_is_fetched_again_and_never_given(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[0]
    storage.fault("corrupt", url, count=1)
    assert right(asked.outcome(url))
    assert storage.requests(url) == 2
    storage.fault("corrupt", url, offset=5)
    assert isinstance(asked.error(url), Damaged)
    assert storage.requests(url) == 4


@pytest.mark.parametrize("hashes", ["md5", "none"])
def test_other_hashes_than_crc32c(make: Make, storage: Storage, hashes: str) -> None:
    asked, url = make(), storage.urls()[0]
    whole = asked.got(url)
    storage.emulator.switch(hashes=hashes)
    try:
        storage.fault("corrupt", url, count=1, offset=5)
        got = asked.got(url)
        assert (got.crc32c == whole.crc32c) == (hashes == "md5")
        assert storage.requests(url) == (3 if hashes == "md5" else 2)
    finally:
        storage.emulator.switch(hashes="both")


def test_an_overloaded_host_is_asked_again(make: Make, storage: Storage) -> None:
    asked, urls = make(), storage.urls()
    for status, url in zip((408, 429, 500, 502, 503, 504), urls, strict=False):
        storage.fault("status", url, count=2, status=status)
        assert right(asked.outcome(url))
        assert storage.requests(url) == 3


def test_retry_after_is_honoured_or_ends_the_transfer(make: Make, storage: Storage) -> None:
    asked, url = make(timeout_s=5.0), storage.urls()[0]
    storage.fault("status", url, count=1, status=429, retry_after=0.4)
    began_s = time.monotonic()
    assert right(asked.outcome(url))
    assert time.monotonic() - began_s >= 0.4
    storage.fault("status", url, count=1, status=503, retry_after=600)
    error = asked.error(url)
    assert isinstance(error, TransferError)
    assert (error.status, error.retry_after_s) == (503, 600.0)


def test_a_refusal_is_told_by_its_class(make: Make, storage: Storage) -> None:
    asked, urls = make(), storage.urls()
    kinds = {403: UrlExpired, 401: UrlExpired, 404: ObjectGone, 410: ObjectGone, 412: ObjectChanged}
    for (status, kind), url in zip(kinds.items(), urls, strict=False):
        storage.fault("status", url, count=1, status=status)
        error = asked.error(url)
        assert type(error) is kind
        assert SECRET not in str(error)
        assert storage.requests(url) == 1


def test_an_expired_url_is_told_and_a_fresh_one_goes_on_at_the_same_byte(
    make: Make, storage: Storage, tmp_path: Path
) -> None:
    asked, url = make(), storage.urls()[0]
    storage.fault("truncate", url, count=1, after_bytes=50_000)
    storage.fault("expire", url)
    asked.client.set_connections(1)
    # The first answer breaks after 50,000 bytes; by the second attempt the URL has expired.
    outcome = Outcome()
    transfer = asked.client.submit(Get(url, sink=tmp_path / "image"), outcome)
    error = outcome.wait()
    assert isinstance(error, UrlExpired)
    assert "ExpiredToken" in str(error)
    fresh = Outcome()
    transfer.done = fresh
    asked.client.resume(transfer, storage.urls()[0])
    got = fresh.wait()
    assert isinstance(got, Got)
    assert got.whole
    assert google_crc32c.value((tmp_path / "image").read_bytes()) == got.crc32c
    assert storage.ranges(url)[-1] == "bytes=50000-"


def test_a_tampered_url_is_refused(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[0]
    error = asked.error(url[:-4] + "0000")
    assert isinstance(error, UrlExpired)
    assert "SignatureDoesNotMatch" in str(error)


def test_a_redirect_to_another_host_is_not_followed(make: Make, storage: Storage) -> None:
    asked, (url, other, *_) = make(), storage.urls()
    storage.fault("redirect", url, count=1, location=storage.emulator.base_url + "/organizations/me")
    before = storage.emulator.counters()["api"]["requests"]
    error = asked.error(url)
    assert type(error) is TransferError
    assert "another host" in str(error)
    assert storage.emulator.counters()["api"]["requests"] == before
    storage.fault("redirect", url, count=1, location=other)
    assert right(asked.outcome(url))


def test_garbage_with_status_200_is_not_taken_for_the_object(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[0]
    size_bytes = asked.got(url).total_bytes
    storage.fault("garbage", url, count=1, body="<html>welcome to the hotel</html>")
    assert isinstance(asked.error(url, expect_bytes=size_bytes), ObjectChanged)


def test_a_host_that_refuses_connections_is_waited_for_a_while(make: Make, storage: Storage) -> None:
    asked, (first, second, *_) = make(draw=lambda: 0.9), storage.urls()
    assert right(asked.outcome(first))
    storage.fault("refuse", seconds=0.3)
    got = asked.outcome(second)
    assert right(got)
    assert isinstance(got, Got)
    assert got.attempts > 1
    number = storage.fault("refuse")
    try:
        error = make().error(first)
        assert type(error) is TransferError
        assert "no connection" in str(error) or "refused" in str(error)
    finally:
        storage.emulator.remove_fault(number)
    assert right(asked.outcome(first))


def test_a_replaced_object_is_another_version(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[1]
    before = asked.got(url)
    storage.emulator.mutate("replace_image", dataset="Synthetic", image=storage.ids()[1], size=90_000)
    assert isinstance(asked.error(url, if_match=before.etag), ObjectChanged)
    assert isinstance(asked.error(url, generation=before.generation), ObjectChanged)
    after = asked.got(url)
    assert after.generation != before.generation
    assert right(after)


def test_blocks_of_an_object_make_it_up(make: Make, storage: Storage) -> None:
    asked, url = make(), storage.urls()[2]
    whole = asked.got(url)
    etag, total = whole.etag, whole.total_bytes
    spans = [(first, min(first + 39_999, total - 1)) for first in range(0, total, 40_000)]
    storage.fault("truncate", url, count=2)
    outcomes = [asked.submit(Get(url, *span, if_match=etag))[1] for span in spans]
    parts = [outcome.wait() for outcome in outcomes]
    assert b"".join(bytes(part.body) for part in parts if isinstance(part, Got)) == bytes(whole.body)


def test_a_storm_of_every_fault_at_once_gives_right_bytes_or_errors(make: Make, storage: Storage) -> None:
    asked = make(connections=8, timeout_s=1.0, draw=lambda: 0.1)
    for kind, parameters in (
        ("reset", {"after_bytes": 20_000}),
        ("truncate", {}),
        ("stall", {"after_bytes": 10_000}),
        ("corrupt", {}),
        ("status", {"status": 503}),
        ("status", {"status": 429, "retry_after": 0}),
    ):
        storage.fault(kind, probability=0.08, **parameters)
    outcomes = [asked.submit(Get(url))[1] for url in storage.urls() for _ in range(2)]
    ended = [outcome.wait() for outcome in outcomes]
    assert all(right(outcome) for outcome in ended if isinstance(outcome, Got))
    assert sum(isinstance(outcome, Got) for outcome in ended) > len(ended) * 0.8
    assert all(SECRET not in str(outcome) for outcome in ended)


def test_a_bandwidth_of_the_host_is_no_stall(make: Make, storage: Storage) -> None:
    asked = make(timeout_s=1.0, connections=8)
    storage.emulator.switch(bandwidth=2_500_000)
    try:
        outcomes = [asked.submit(Get(url))[1] for url in storage.urls()[:8]]
        got = [outcome.wait() for outcome in outcomes]
        assert all(right(each) for each in got)
        assert all(isinstance(each, Got) and each.attempts == 1 for each in got)
    finally:
        storage.emulator.switch(bandwidth=0)


def test_a_latency_of_the_host_does_not_add_up(make: Make, storage: Storage) -> None:
    asked = make(connections=24)
    storage.emulator.switch(storage_latency_ms=300)
    try:
        began_s = time.monotonic()
        outcomes = [asked.submit(Get(url))[1] for url in storage.urls()]
        got = [outcome.wait() for outcome in outcomes]
        assert all(right(each) for each in got)
        assert all(isinstance(each, Got) and each.first_byte_s >= 0.29 for each in got)
        assert time.monotonic() - began_s < 3
    finally:
        storage.emulator.switch(storage_latency_ms=0)
