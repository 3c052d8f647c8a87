"""Certificates and proxies: the settings, else the environment as requests reads it."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import certifi
import pytest
import requests.utils

from pictofs.errors import TransferError
from pictofs.storage.environment import ca_bundle, proxy_for
from tests.unit.storage.clients import Make
from tests.unit.storage.host import CERTIFICATE, Host

TRUSTED = str(CERTIFICATE)
SUBJECT_HASH_0 = "e050ae21.0"  # how OpenSSL finds the certificate in a folder: openssl x509 -subject_hash


class Tunnel:
    """A proxy for CONNECT: joins the client to wherever it says, and keeps what it said."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head)
            name, _, port = head.split()[1].decode().rpartition(":")
            target = socket.create_connection(("127.0.0.1" if name == "storage.invalid" else name, int(port)))
            self._sockets.append(target)
            client.sendall(b"HTTP/1.1 200 Connection established\r\nETag: proxy\r\n\r\n")
            self._spawn(self._pump, client, target)
            self._spawn(self._pump, target, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # either side is gone


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    made = Tunnel()
    yield made
    made.close()


@pytest.fixture
def secure() -> Iterator[Host]:
    with ExitStack() as stack:
        made = Host(tls=True)
        stack.callback(made.close)
        yield made


def test_a_host_that_is_not_trusted_is_not_asked(make: Make, secure: Host) -> None:
    asked = make()
    error = asked.error(secure.put("/o", b"x"))
    assert type(error) is TransferError
    assert "not trusted" in str(error)
    assert "ca_file" in str(error)
    assert asked.client.requests == 1
    assert secure.seen == []


def test_ca_file_is_trusted(make: Make, secure: Host) -> None:
    asked = make(ca_file=TRUSTED)
    for i in range(3):
        assert bytes(asked.got(secure.put(f"/o{i}", b"secret")).body) == b"secret"
    assert secure.connections == 1


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_s_bundle_is_trusted(
    make: Make, secure: Host, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, TRUSTED)
    assert make().got(secure.put("/o", b"x")).whole


def test_a_folder_of_certificates_is_trusted(make: Make, secure: Host, tmp_path: Path) -> None:
    (tmp_path / SUBJECT_HASH_0).write_text(CERTIFICATE.read_text())
    assert make(ca_file=str(tmp_path)).got(secure.put("/o", b"x")).whole


def test_a_bundle_that_cannot_be_read_says_so(make: Make, secure: Host, tmp_path: Path) -> None:
    asked = make(ca_file=str(tmp_path / "missing.pem"))
    assert "correct ca_file" in str(asked.error(secure.put("/o", b"x")))
    assert asked.client.requests == 1


def test_bundles_in_their_order_of_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ca_bundle(None) == certifi.where()
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, f"/{name}")
        assert ca_bundle(None) == f"/{name}"
    assert ca_bundle("/mine") == "/mine"


def test_the_test_host_s_certificate_is_one_that_nobody_trusts() -> None:
    context = ssl.create_default_context(cafile=certifi.where())
    assert not any("pictofs" in str(each["subject"]) for each in context.get_ca_certs())


def test_the_proxy_of_the_settings_carries_every_request(make: Make, host: Host) -> None:
    url = host.put("/o", b"x").replace("127.0.0.1", "storage.invalid")
    for asked in (make(proxy=host.origin), make(proxy=f"127.0.0.1:{host.port}")):
        assert asked.got(url).whole
        assert host.seen[-1].header("host") == f"storage.invalid:{host.port}"


def test_tls_goes_through_a_proxy_that_never_sees_the_url(
    make: Make, secure: Host, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", tunnel.url.replace("//", "//user:word@"))
    asked = make(ca_file=TRUSTED)
    for i in range(3):
        got = asked.got(secure.put(f"/o{i}", b"x" * 10_000))
        assert got.etag == secure.objects[f"/o{i}"].etag_value
    assert len(tunnel.heads) == secure.connections == 1
    assert tunnel.heads[0].startswith(f"CONNECT 127.0.0.1:{secure.port} ".encode())
    assert b"proxy-authorization: basic" in tunnel.heads[0].lower()
    assert b"/o0" not in tunnel.heads[0]
    assert not any(name.startswith(("proxy", "auth")) for seen in secure.seen for name, _ in seen.headers)


def test_a_proxy_that_cannot_be_used_is_an_error_that_names_the_setting(make: Make, host: Host) -> None:
    url = host.put("/o", b"x")
    for wrong in ("gopher://127.0.0.1:1", "http://", "http://127.0.0.1:1/path?word", "http://prö:1"):
        asked = make(proxy=wrong)
        assert "correct proxy" in str(asked.error(url)), wrong
        assert asked.client.requests == 0
    assert "through the proxy" in str(make(proxy="http://127.0.0.1:1").error(url))


def test_the_environment_s_proxy_is_taken_and_its_exceptions_are_heeded(
    make: Make, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = host.put("/o", b"x")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "no connection" in str(make().error(url)) or "refused" in str(make().error(url))
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    assert make().got(url).whole
    monkeypatch.setenv("http_proxy", host.origin)
    monkeypatch.delenv("no_proxy")
    assert make().got(url.replace("127.0.0.1", "storage.invalid")).whole


CASES = [
    {},
    {"http_proxy": "http://p:1"},
    {"https_proxy": "http://p:2", "http_proxy": "http://p:1"},
    {"HTTPS_PROXY": "http://p:3"},
    {"all_proxy": "socks5h://p:4"},
    {"https_proxy": "http://p:2", "no_proxy": "example.com"},
    {"https_proxy": "http://p:2", "no_proxy": ".example.com, other.org"},
    {"https_proxy": "http://p:2", "NO_PROXY": "storage.example.com:8443"},
    {"https_proxy": "http://p:2", "no_proxy": "*"},
    {"https_proxy": "http://p:2", "http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8,192.168.1.7"},
]
URLS = [
    "https://storage.example.com/o",
    "https://example.com/o",
    "https://notexample.com/o",
    "https://storage.example.com:8443/o",
    "http://10.1.2.3/o",
    "http://192.168.1.7:8080/o",
    "http://192.168.1.8/o",
    "http://localhost:8000/o",
]


def test_proxies_are_chosen_as_requests_chooses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in CASES:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            for url in URLS:
                theirs = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
                assert proxy_for(url, None) == (theirs or ""), (url, environment)
                assert proxy_for(url, "http://mine:1") == "http://mine:1"


def test_without_pycurl_the_other_client_takes_its_place() -> None:
    code = (
        "import sys; sys.modules['pycurl'] = None\n"
        "import pictofs.storage as s; print(s.Transfers.__module__, 'pictofs.storage.curl' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert found.stdout.split() == ["pictofs.storage.plain", "False"]


def test_with_pycurl_requests_is_not_even_imported() -> None:
    code = "import sys, pictofs.storage as s; print(s.Transfers.__module__, 'requests' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.split() == ["pictofs.storage.curl", "False"]
