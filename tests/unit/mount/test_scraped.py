"""`metrics=HOST:PORT`: who answers Prometheus, and where he cannot."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pictofs.errors import UsageError
from pictofs.mount import report, scraped
from pictofs.vfs.metrics import metrics
from tests.unit.vfs.bench import Bench
from tests.unit.vfs.conftest import bench, benches  # noqa: F401


@contextmanager
def serving(mountpoint: str) -> Iterator[str]:
    listening = scraped.listen("127.0.0.1:0")
    with scraped.Scraped(listening, mountpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_scrape_is_the_status_in_prometheus_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    status = bench.vfs.report.status({})
    monkeypatch.setattr(report, "told", lambda mountpoint: status if mountpoint == "/m" else None)
    with serving("/m") as url, urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.read() == metrics(status)
    for mountpoint, path, code in (("/m", "/", 404), ("/silent", "/metrics", 503)):
        with serving(mountpoint) as url, pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url + path, timeout=10)
        assert caught.value.code == code
        caught.value.close()


def test_an_address_that_cannot_be_listened_on_is_said_with_the_mend() -> None:
    held = scraped.listen("127.0.0.1:0")
    try:
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"metrics={address} .*in use.*another HOST:PORT"):
            scraped.check(address)
    finally:
        held.close()
    scraped.check(address)
    with pytest.raises(UsageError, match="cannot be listened on"):
        scraped.check("192.0.2.1:9464")


def test_an_address_is_a_host_and_a_port_also_in_ipv6() -> None:
    assert scraped.split("127.0.0.1:9464") == ("127.0.0.1", 9464)
    assert scraped.split("[::1]:9464") == ("::1", 9464)
