"""The head of a storage host's answer, read into fields. Pure."""

from __future__ import annotations

import base64
import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)")
_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")
_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[i : i + 3]: i // 3 + 1 for i in range(0, 36, 3)}
# The names that are read, as libcurl hands them over; a head has twice as many.
_FIELDS = {
    name.encode(): name
    for name in (
        "content-length",
        "content-range",
        "etag",
        "x-goog-generation",
        "x-goog-hash",
        "last-modified",
        "retry-after",
        "location",
        "x-goog-stored-content-encoding",
        "content-encoding",
        "date",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    )
}
_TOLD = frozenset({"date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"})
# What a 429 or 503 may ask for at most before we stop believing it.
RETRY_AFTER_LIMIT_S = 86_400.0


@dataclass(slots=True)
class Answer:
    """Status and the headers that matter; None or empty where the host did not send one.

    `first`, `last` and `total` are of Content-Range. `transcoded`: the host unpacked the object on the way
    (gzip in storage, plain here), so that its hashes are of other bytes than those that come. `told`: its
    date, and what is left of a budget of requests.
    """

    status: int
    length: int | None = None
    first: int | None = None
    last: int | None = None
    total: int | None = None
    etag: str = ""
    generation: str = ""
    md5: str = ""
    crc32c: str = ""
    last_modified_ns: int = 0
    retry_after_s: float | None = None
    location: str = ""
    transcoded: bool = False
    told: dict[str, str] = field(default_factory=dict)


def read_head(status: int, headers: Iterable[tuple[str, str]]) -> Answer:
    """Read header fields, names in lower case; the same name may come more than once."""
    answer = Answer(status)
    stored = encoding = ""
    for name, value in headers:
        if name == "content-length":
            answer.length = int(value) if value.isdigit() else None
        elif name == "content-range":
            found = _CONTENT_RANGE.match(value)
            if found:
                answer.first = int(found[1]) if found[1] else None
                answer.last = int(found[2]) if found[2] else None
                answer.total = int(found[3]) if found[3] != "*" else None
        elif name == "etag":
            answer.etag = value
        elif name == "x-goog-generation":
            answer.generation = value
        elif name == "x-goog-hash":
            for part in value.split(","):
                kind, _, digest = part.strip().partition("=")
                if kind == "crc32c":
                    answer.crc32c = digest
                elif kind == "md5":
                    answer.md5 = digest
        elif name == "last-modified":
            answer.last_modified_ns = http_date_ns(value)
        elif name == "retry-after":
            answer.retry_after_s = _seconds(value)
        elif name == "location":
            answer.location = value
        elif name == "x-goog-stored-content-encoding":
            stored = value.lower()
        elif name == "content-encoding":
            encoding = value.lower()
        elif name in _TOLD:
            answer.told[name] = value
    answer.transcoded = stored not in ("", "identity") and encoding in ("", "identity")
    return answer


def read_lines(lines: list[bytes]) -> Answer | None:
    """Read raw header lines of one or more heads (100 Continue, a proxy's); the last one counts.

    None where it is not complete: its last line is the empty one.
    """
    if not lines or lines[-1] not in (b"\r\n", b"\n"):
        return None
    start = len(lines) - 1
    while start >= 0 and not lines[start].startswith(b"HTTP/"):
        start -= 1
    if start < 0:
        return None
    words = lines[start].split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        return None
    fields = []
    for line in lines[start + 1 : -1]:
        name, _, value = line.partition(b":")
        known = _FIELDS.get(name.lower())
        if known is not None:
            fields.append((known, value.strip().decode("latin-1")))
    return read_head(int(words[1]), fields)


def http_date_ns(text: str) -> int:
    """`Tue, 15 Nov 1994 12:45:26 GMT` in nanoseconds since 1970; 0 for anything else.

    By slices: the library's parser costs more than the rest of the head together.
    """
    day_s = _day_s(text[5:16])
    if day_s is None or not text.endswith("GMT"):
        return 0
    try:
        clock_s = int(text[17:19]) * 3600 + int(text[20:22]) * 60 + int(text[23:25])
    except ValueError:
        return 0
    return (day_s + clock_s) * 1_000_000_000


@lru_cache(maxsize=1024)
def _day_s(text: str) -> int | None:
    try:
        return calendar.timegm((int(text[7:11]), _MONTHS[text[3:6]], int(text[:2]), 0, 0, 0))
    except (ValueError, KeyError):
        return None


def error_code(body: bytes) -> str:
    """The `<Code>` of the XML that comes with a refusal (`ExpiredToken`), or nothing."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def base64_of(digest: bytes) -> str:
    """A digest as x-goog-hash writes it; a crc32c is big-endian there."""
    return base64.b64encode(digest).decode()


def _seconds(value: str) -> float | None:
    # A date is possible too, but Google's hosts send seconds; a date is then as good as none.
    try:
        wait_s = float(value)
    except ValueError:
        return None
    return min(wait_s, RETRY_AFTER_LIMIT_S) if wait_s >= 0 else None
