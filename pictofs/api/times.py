"""Times as the service writes them: RFC 3339, `Retry-After`, and the expiry inside a signed URL. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_EXPIRY = re.compile(r"[?&]((?:X-(?:Goog|Amz)-)?(?:Date|Expires))=([0-9TZ]+)(?=&|$)", re.IGNORECASE)
_GOOGLE = re.compile(r"X-Goog-Date=([0-9TZ]+)&X-Goog-Expires=([0-9]+)&")
_SIGNED = ("x-goog-signature", "x-amz-signature", "signature")


def parse_ns(value: object) -> int:
    """Nanoseconds since 1970 of an RFC 3339 text (no zone: UTC) or of Unix seconds; 0 for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value * 1_000_000_000)
    if not isinstance(value, str) or not value:
        return 0
    try:
        moment = msgspec.convert(value if len(value) > 10 else f"{value}T00:00:00Z", datetime)
    except msgspec.ValidationError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH) // _MICROSECOND * 1000


def parse_s(value: object) -> float | None:
    """The same in seconds; None where there is none."""
    found_ns = parse_ns(value)
    return found_ns / 1e9 if found_ns else None


@lru_cache(maxsize=16)  # hundreds of answers a second say the same
def http_date_s(text: str | None) -> float | None:
    """Unix seconds of an HTTP date (`Date`, `Retry-After`); None for what is none."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """Seconds to wait from a `Retry-After`, which is a number of seconds or a date; None without one."""
    if not text:
        return None
    try:
        wait_s = float(text)
    except ValueError:
        until_s = http_date_s(text)
        return None if until_s is None else max(0.0, until_s - now_s)
    return wait_s if 0.0 <= wait_s < float("inf") else None


def is_signed(value: object) -> bool:
    """Whether this is a URL that grants access by itself: a secret for as long as it lives."""
    if not isinstance(value, str) or "ignature=" not in value:
        return False
    return any(f"{name}=" in value.lower() for name in _SIGNED)


def signed_expiry_s(url: str) -> float | None:
    """Unix seconds at which a signed URL stops working, from its own query; None where it does not say."""
    usual = _GOOGLE.search(url)  # a batch has ten thousand of these
    if usual is not None and (signed_s := _signed_s(usual[1])) is not None:
        return signed_s + float(usual[2])
    said = {name.lower(): value for name, value in _EXPIRY.findall(url)}
    for vendor in ("x-goog-", "x-amz-"):
        signed_s = _signed_s(said.get(vendor + "date", ""))
        if signed_s is not None and said.get(vendor + "expires", "").isdecimal():
            return signed_s + float(said[vendor + "expires"])
    return float(said["expires"]) if said.get("expires", "").isdecimal() else None


@lru_cache(maxsize=64)  # a batch of ten thousand URLs is signed within a second or two
def _signed_s(date: str) -> float | None:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def rfc3339(time_ns: int) -> str:
    """`2024-01-15T10:30:00Z` of nanoseconds since 1970, with a fraction where there is one; "" of 0."""
    if not time_ns:
        return ""
    moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return moment.isoformat().replace("+00:00", "Z")
