from __future__ import annotations

from typing import Any

import pytest

from pictofs.api.times import http_date_s, is_signed, parse_ns, parse_s, retry_after_s, signed_expiry_s

NOON = 1_705_320_000


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2024-01-15T12:00:00Z", NOON * 10**9),
        ("2024-01-15T12:00:00", NOON * 10**9),
        ("2024-01-15 12:00:00+00:00", NOON * 10**9),
        ("2024-01-15T13:00:00+01:00", NOON * 10**9),
        ("2024-01-15T12:00:00.000001Z", NOON * 10**9 + 1000),
        ("2024-01-15T12:00:00.123456789Z", NOON * 10**9 + 123_457_000),
        ("2024-01-15", (NOON - 43_200) * 10**9),
        (NOON, NOON * 10**9),
        (NOON + 0.5, NOON * 10**9 + 500_000_000),
        ("1969-12-31T23:59:59Z", -(10**9)),
        (None, 0),
        ("", 0),
        ("yesterday", 0),
        (True, 0),
        ([], 0),
    ],
)
def test_times_are_nanoseconds_and_absent_ones_zero(text: Any, expected_ns: int) -> None:
    assert parse_ns(text) == expected_ns
    assert parse_s(text) == (expected_ns / 1e9 if expected_ns else None)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Mon, 15 Jan 2024 12:00:30 GMT", 30.0),
        ("Mon, 15 Jan 2024 11:00:00 GMT", 0.0),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wait_s: float | None) -> None:
    assert retry_after_s(header, NOON) == wait_s


def test_a_date_header_is_unix_time_and_nonsense_is_none() -> None:
    assert http_date_s("Mon, 15 Jan 2024 12:00:00 GMT") == NOON
    assert http_date_s("Mon, 99 Foo") is None
    assert http_date_s(None) is None


@pytest.mark.parametrize(
    ("url", "until_s"),
    [
        ("https://s/o?X-Goog-Date=20240115T120000Z&X-Goog-Expires=3600&X-Goog-Signature=ab", NOON + 3600),
        ("https://s/o?x-amz-date=20240115T120000Z&x-amz-expires=60&X-Amz-Signature=ab", NOON + 60),
        ("https://s/o?Expires=1705320009&Signature=ab", NOON + 9),
        ("https://s/o?X-Goog-Expires=3600&a=b&X-Goog-Date=20240115T120000Z", NOON + 3600),
        ("https://s/o?X-Goog-Date=today&X-Goog-Expires=3600", None),
        ("https://s/o?X-Goog-Date=20240115T120000Z&X-Goog-Expires=1T", None),
        ("https://s/o", None),
        ("", None),
    ],
)
def test_the_expiry_is_read_off_a_signed_url(url: str, until_s: float | None) -> None:
    assert signed_expiry_s(url) == until_s


def test_a_url_that_grants_access_is_known_by_its_signature() -> None:
    assert is_signed("https://s/o?X-Goog-Signature=ab")
    assert is_signed("https://s/o?Expires=1&Signature=ab")
    assert not is_signed("https://api/images/1")
    assert not is_signed(None)
    assert not is_signed({"Signature=": 1})
