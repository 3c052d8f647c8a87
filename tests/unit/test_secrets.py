"""No secret passes a log, of whichever process it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pictofs import secrets


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET https://h/o?X-Goog-Expires=9&X-Goog-Signature=dead&a=1 with pk_live_abc-1 failed",
         "GET https://h/o?X-Goog-Expires=9&X-Goog-Signature=…&a=1 with pk_live_… failed"),
        ("?x-goog-credential=me%40x&b", "?x-goog-credential=…&b"),
        ("proxy=http://me:pa:ss@proxy:3128 refused", "proxy=http://…@proxy:3128 refused"),
        ("proxy=me:pass@proxy:3128", "proxy=…@proxy:3128"),
        ("cannot reach https://me:pass@h/a@b", "cannot reach https://…@h/a@b"),
        ("nothing: http://h/a@b?x=1 me@example.org", "nothing: http://h/a@b?x=1 me@example.org"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked_and_what_it_belongs_to_stays(text: str, left: str) -> None:
    assert secrets.masked(text) == left


def test_a_key_that_is_known_is_masked_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", ())
    secrets.remember("0123456789", "012345678901", "the")
    assert secrets.masked("the 0123456789 and 012345678901") == "the … and …"


FETCHING = """
import logging, sys
from pictofs import secrets
from pictofs.mirror import logs
secrets.remember("a-key-of-another-kind")
logs.set_up(sys.argv[1], "info", sys.argv[2])
try:
    raise ValueError("https://h/o?X-Goog-Signature=5ec4e7")
except ValueError:
    logging.getLogger("room").error("pk_live_5ec4e7 and a-key-of-another-kind", exc_info=True)
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_fetching_process_logs_no_secret_either(tmp_path: Path, form: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FETCHING, str(tmp_path), form],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    said = (tmp_path / "fetch.log").read_text()
    assert "ValueError" in said
    assert "5ec4e7" not in said + ran.stderr
    assert "another-kind" not in said + ran.stderr
    if form == "json":
        assert json.loads(said)["message"] == "pk_live_… and …"
