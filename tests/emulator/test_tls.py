"""API and storage host over TLS, so that clients' certificate settings can be tested."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from pictofs.errors import UsageError


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED: openssl is not installed, so there is no certificate to serve")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=pictofs emulator", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*made, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_both_hosts_speak_tls_with_the_certificate_given(
    launched: Callable[..., Running], pair: tuple[Path, Path]
) -> None:
    cert, key = pair
    emulator = launched(images=5, tls_cert=cert, tls_key=key)
    trusting = ssl.create_default_context(cafile=cert)

    def get(url: str, context: ssl.SSLContext, **headers: str) -> bytes:
        request = urllib.request.Request(url, headers={n.replace("_", "-"): v for n, v in headers.items()})
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return bytes(answer.read())

    url = f"{emulator.base_url}/datasets/Synthetic/download"
    items = json.loads(get(url, trusting, X_API_Key=emulator.api_key))["data"]["items"]
    assert items[0]["image_url"].startswith(emulator.storage_url)
    assert emulator.storage_url.startswith("https://")
    assert len(get(items[0]["image_url"], trusting)) >= 60_000
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        get(items[0]["image_url"], ssl.create_default_context())
    emulator.fault("storage", "reset", count=1)
    with pytest.raises(OSError, match=r"reset|closed"):  # OpenSSL does not tell an RST from an end
        get(items[0]["image_url"], trusting)
    emulator.fault("storage", "refuse")
    with pytest.raises(urllib.error.URLError, match="refused"):
        get(items[0]["image_url"], trusting)


def test_a_certificate_that_is_none_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("no certificate")
    with pytest.raises(UsageError, match="--tls-cert"):
        start(EmulatorSettings(images=1, tls_cert=tmp_path / "cert", tls_key=tmp_path / "cert"))
    with pytest.raises(UsageError, match="go together"):
        start(EmulatorSettings(images=1, tls_cert=tmp_path / "cert"))
