"""What `pictofs.api` makes of each way in which the service can fail, over real sockets.

Whatever happens, a call ends in time with the right answer or with one of our errors, the key stays with the
API, and no connection stays open behind it.
"""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Client, Dataset, Image
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

TIMEOUT_S = 2.5
Call = Callable[[Client], Any]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    with start(EmulatorSettings(dialect="c", images=120, image_bytes=20_000, rate_limit=0)) as running:
        yield running


@pytest.fixture
def client(emulator: Running) -> Iterator[Client]:
    emulator.clear_faults()
    with Client(emulator.base_url, lambda: emulator.api_key, timeout_s=TIMEOUT_S, draw=lambda: 0.1) as made:
        assert made.dialect == "c"
        made.datasets.list()
        yield made
    emulator.clear_faults()


@pytest.fixture
def dataset(client: Client) -> Dataset:
    return client.datasets.get("Synthetic")


@pytest.fixture
def image(client: Client, dataset: Dataset) -> Image:
    return client.images.list(dataset, limit=1)[0]


def failed(call: Callable[[], Any]) -> errors.PictofsError:
    """The error that the call ends in; it shows no key and ends within the timeout and a little."""
    begun = time.monotonic()
    with pytest.raises(errors.PictofsError) as caught:
        call()
    assert time.monotonic() - begun < TIMEOUT_S + 3
    seen = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "pk_live" not in seen
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def annotate(client: Client, dataset: Dataset, image: Image) -> bytes:
    return client.annotations.get(dataset, image)


def whole(client: Client, dataset: Dataset, image: Image) -> bytes:
    return client.images.read(image)[0]


def listing(client: Client, dataset: Dataset, image: Image) -> list[str]:
    return [row.id for page in client.images.pages(dataset) for row in page]


EVERYTHING = pytest.mark.parametrize("call", [annotate, whole, listing], ids=lambda call: call.__name__)
PASSING = [
    ("status", {"status": 500}),
    ("status", {"status": 502, "body": "<html>Bad Gateway</html>"}),
    ("status", {"status": 503, "retry_after": 1}),
    ("status", {"status": 504}),
    ("status", {"status": 408}),
    ("status", {"status": 429, "retry_after": 1}),
    ("status", {"status": 429}),
    ("reset", {"after_bytes": 0}),
    ("reset", {"after_bytes": 10}),
    ("truncate", {}),
    ("stall", {"after_bytes": 5, "seconds": 1}),
]


@EVERYTHING
@pytest.mark.parametrize(("kind", "parameters"), PASSING, ids=lambda value: str(value))
def test_what_fails_once_is_asked_for_again_and_comes_whole(
    emulator: Running,
    client: Client,
    dataset: Dataset,
    image: Image,
    call: Any,
    kind: str,
    parameters: dict[str, Any],
) -> None:
    truth = call(client, dataset, image)
    emulator.fault("api", kind, "*", count=1, **parameters)
    assert call(client, dataset, image) == truth
    assert sum(fault["struck"] for fault in emulator.faults()) == 1


@pytest.mark.parametrize("call", [annotate, listing], ids=lambda call: call.__name__)
@pytest.mark.parametrize("body", [None, "<html>Sign in to the hotel's network</html>", ""])
def test_an_answer_that_is_no_json_is_asked_for_again(
    emulator: Running, client: Client, dataset: Dataset, image: Image, call: Any, body: str | None
) -> None:
    truth = call(client, dataset, image)
    emulator.fault("api", "garbage", "*", count=1, body=body)
    assert call(client, dataset, image) == truth


LASTING = [
    ("status", {"status": 500}, errors.ServerFault),
    ("status", {"status": 503}, errors.ServerFault),
    ("status", {"status": 429}, errors.RateLimited),
    ("status", {"status": 401}, errors.KeyRefused),
    ("status", {"status": 402}, errors.PlanLimit),
    ("status", {"status": 403}, errors.Forbidden),
    ("status", {"status": 404}, errors.NotFound),
    ("status", {"status": 409}, errors.Conflict),
    ("status", {"status": 422}, errors.Unprocessable),
    ("garbage", {}, errors.ServerFault),
    ("reset", {"after_bytes": 0}, errors.Unreachable),
    ("truncate", {}, errors.Unreachable),
    ("stall", {"after_bytes": 0}, errors.Unreachable),
    ("stall", {"after_bytes": 7}, errors.Unreachable),
]


@pytest.mark.parametrize(("kind", "parameters", "expected"), LASTING, ids=lambda value: str(value))
def test_what_fails_for_good_ends_in_its_error_and_in_time(
    emulator: Running,
    client: Client,
    dataset: Dataset,
    image: Image,
    kind: str,
    parameters: dict[str, Any],
    expected: type[errors.PictofsError],
) -> None:
    emulator.fault("api", kind, "*/annotations/*", **parameters)
    assert type(failed(lambda: annotate(client, dataset, image))) is expected
    emulator.clear_faults()
    assert annotate(client, dataset, image)


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_is_too_long_ends_the_call_at_once(
    emulator: Running, client: Client, dataset: Dataset, image: Image, status: int
) -> None:
    emulator.fault("api", "status", "*", status=status, retry_after=300, count=1)
    begun = time.monotonic()
    error = failed(lambda: annotate(client, dataset, image))
    assert time.monotonic() - begun < 1.5
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after_s == 300


def test_retry_after_may_be_a_date(emulator: Running, client: Client, dataset: Dataset, image: Image) -> None:
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    emulator.fault("api", "status", "*", status=503, retry_after=moment, count=1)
    assert annotate(client, dataset, image)
    assert (
        time.time() >= time.mktime(time.strptime(moment, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone - 0.01
    )


def test_bytes_that_trickle_are_progress_for_as_long_as_they_come(
    emulator: Running, client: Client, image: Image
) -> None:
    truth = client.images.read(image)
    emulator.fault("api", "slow", "*", bytes_per_s=6500, count=1)
    begun = time.monotonic()
    assert client.images.read(image) == truth
    assert time.monotonic() - begun > TIMEOUT_S


def test_a_stall_in_the_middle_ends_within_the_timeout(
    emulator: Running, client: Client, image: Image
) -> None:
    emulator.fault("api", "stall", "*", after_bytes=10_000)
    assert isinstance(failed(lambda: client.images.read(image)), errors.Unreachable)


# redirects


def test_a_redirect_to_another_host_is_refused_and_that_host_gets_nothing(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    before = emulator.counters(detail=False)["storage"]["requests"]
    for location in (
        emulator.storage_url + "/x",
        emulator.control_url + "/state",
        "//keys-must-not-come-here.invalid/x",
    ):
        emulator.fault("api", "redirect", "*", location=location, count=1)
        assert type(failed(lambda: annotate(client, dataset, image))) is errors.ServerFault
    counters = emulator.counters(detail=False)
    assert counters["storage"]["requests"] == before
    assert counters["storage"]["keys"] == []


def test_a_redirect_within_the_origin_is_followed(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    body = whole(client, dataset, image)
    emulator.fault(
        "api", "redirect", "*/annotations/*", location=f"/api/v1/developer/datasets/{dataset.id}", count=1
    )
    assert dataset.id.encode() in annotate(client, dataset, image)
    emulator.fault(
        "api",
        "redirect",
        "*/images/*",
        location=f"{emulator.base_url}/images/{image.id}",
        count=1,
        status=307,
    )
    assert whole(client, dataset, image) == body


def test_redirects_in_a_circle_end_in_a_fault(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    emulator.fault("api", "redirect", "*", location="/api/v1/developer/datasets/")
    before = client.requests
    assert type(failed(lambda: annotate(client, dataset, image))) is errors.ServerFault
    assert client.requests - before < 10


# a port that is shut


def test_a_service_that_is_shut_for_a_moment_is_waited_for(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    truth = annotate(client, dataset, image)
    emulator.fault("api", "refuse", seconds=0.2)
    assert annotate(client, dataset, image) == truth


def test_a_service_that_is_shut_is_unreachable_and_found_again(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    emulator.fault("api", "refuse")
    error = failed(lambda: annotate(client, dataset, image))
    assert isinstance(error, errors.Unreachable)
    assert "connection refused" in str(error)
    assert client.origin in str(error)
    emulator.clear_faults()
    assert annotate(client, dataset, image)


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with Client(
        "https://no-such-host.invalid", lambda: "pk_live_x", timeout_s=TIMEOUT_S, draw=lambda: 0.1
    ) as client:
        assert isinstance(failed(client.datasets.list), errors.Unreachable)


def test_what_speaks_no_http_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_babble, args=(server, 5))
        answering.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(url, lambda: "pk_live_x", timeout_s=TIMEOUT_S, draw=lambda: 0.1) as client:
            assert isinstance(failed(client.datasets.list), errors.Unreachable)
        answering.join(10)
        assert not answering.is_alive()


def _babble(server: socket.socket, times: int) -> None:
    for _ in range(times):
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"220 mail.test ESMTP\r\n")


def test_a_file_of_certificates_that_is_not_there_is_told_with_its_mend() -> None:
    with Client(
        "https://127.0.0.1:9", lambda: "pk_live_x", ca_file="/nowhere/ca.pem", timeout_s=TIMEOUT_S
    ) as client:
        error = failed(client.datasets.list)
    assert isinstance(error, errors.Unreachable)
    assert "ca_file" in str(error)


def test_a_proxy_is_where_requests_go_and_what_fails_when_it_is_not_there(emulator: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        shut = f"http://user:secret@127.0.0.1:{server.getsockname()[1]}"
    before = emulator.counters(detail=False)["api"]["requests"]
    with Client(emulator.base_url, lambda: emulator.api_key, proxy=shut, timeout_s=TIMEOUT_S) as client:
        error = failed(client.datasets.list)
    assert isinstance(error, errors.Unreachable)
    assert "secret" not in str(error)
    assert emulator.counters(detail=False)["api"]["requests"] == before


# in the middle of things


def test_a_listing_that_fails_on_a_page_is_no_shorter_listing(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    truth = listing(client, dataset, image)
    emulator.switch(page_cap=30)
    try:
        pages = client.images.pages(dataset)
        told = [row.id for row in next(pages)]
        emulator.fault("api", "status", "*/images/*", status=500)
        failed(lambda: next(pages))
        failed(lambda: next(pages))
        emulator.clear_faults()
        told += [row.id for page in pages for row in page]
    finally:
        emulator.switch(page_cap=1000)
    assert told == truth


def test_an_order_whose_answer_is_lost_is_placed_once(
    emulator: Running, client: Client, dataset: Dataset
) -> None:
    emulator.fault("api", "truncate", "*/exports/*", method="POST", count=1)
    ordered = client.exports.create(dataset, "once", wait=True, timeout_s=20)
    assert [export.id for export in client.exports.iter(dataset)] == [ordered.id]
    emulator.fault("api", "truncate", "*/exports/*", method="DELETE", count=1)
    client.exports.delete(dataset, ordered)
    assert client.exports.list(dataset) == []


def test_no_connection_is_left_behind_by_what_failed(
    emulator: Running, client: Client, dataset: Dataset, image: Image
) -> None:
    for kind in ("reset", "truncate", "garbage"):
        emulator.fault("api", kind, "*/annotations/*", count=3)
        annotate(client, dataset, image)
    client.close()
    deadline = time.monotonic() + 10
    while (
        left := emulator.counters(detail=False)["api"]["connections_open"]
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == 0
