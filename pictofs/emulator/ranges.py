"""Range and conditional requests, as pure decisions (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime


class Unsatisfiable(Exception):
    """A well-formed range that holds no byte of the object: 416."""


def byte_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First and one-past-last byte that a Range header asks for; None where it is to be ignored.

    Ignored are other units, malformed values and several ranges at once, as RFC 9110 allows. Raises
    `Unsatisfiable`.
    """
    unit, equals, wanted = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals or "," in wanted:
        return None
    first, dash, last = (part.strip() for part in wanted.partition("-"))
    if not dash or not (first.isdecimal() or not first) or not (last.isdecimal() or not last):
        return None
    if not first:
        if not last:
            return None
        if int(last) == 0 or size_bytes == 0:
            raise Unsatisfiable
        return max(0, size_bytes - int(last)), size_bytes
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    return start, min(size_bytes, int(last) + 1) if last else size_bytes


def precondition(headers: Mapping[bytes, bytes], etag: str, modified_s: int, generation: int) -> int:
    """200 to go on, 304 or 412 where a conditional header says so."""
    wanted = headers.get(b"x-goog-if-generation-match")
    if wanted is not None and wanted != str(generation).encode():
        return 412
    match = headers.get(b"if-match")
    if match is not None:
        if not _lists(match, etag):
            return 412
    else:
        since = _http_time(headers.get(b"if-unmodified-since"))
        if since is not None and modified_s > since:
            return 412
    none_match = headers.get(b"if-none-match")
    if none_match is not None:
        return 304 if _lists(none_match, etag, weak=True) else 200
    since = _http_time(headers.get(b"if-modified-since"))
    return 304 if since is not None and modified_s <= since else 200


def range_holds(if_range: bytes | None, etag: str, modified_s: int) -> bool:
    """Whether the Range of a request with this If-Range is to be honoured."""
    if if_range is None:
        return True
    value = if_range.decode("latin-1").strip()
    if value.startswith(('"', "W/")):
        return value == etag
    return _http_time(if_range) == modified_s


def _lists(header: bytes, etag: str, *, weak: bool = False) -> bool:
    value = header.decode("latin-1").strip()
    if value == "*":
        return True
    entries = [entry.strip() for entry in value.split(",")]
    return etag in entries or (weak and f"W/{etag}" in entries)


def _http_time(header: bytes | None) -> int | None:
    if header is None:
        return None
    try:
        return int(parsedate_to_datetime(header.decode("latin-1")).timestamp())
    except ValueError:
        return None
