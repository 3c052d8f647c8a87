"""Text of an option → its value. Every parser takes the text and raises ValueError with what it expected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ON = frozenset(("", "1", "on", "yes", "true"))
_OFF = frozenset(("0", "off", "no", "false"))


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a file system, given in per cent: bytes only once that file system is known."""

    percent: float

    def of(self, total_bytes: int) -> int:
        """The bytes that this share of `total_bytes` is."""
        return int(total_bytes * self.percent / 100)


def size_bytes(text: str) -> int:
    """`500M`, `1.5G`, `4096`: bytes, with K M G T as powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size such as 500M or 50G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def size_or_share(text: str) -> int | Share:
    """A size, or `20%` of the file system that holds the cache."""
    stripped = text.strip()
    if not stripped.endswith("%"):
        try:
            return size_bytes(text)
        except ValueError:
            raise ValueError("a size such as 50G, or a share such as 20%") from None
    try:
        percent = float(stripped[:-1])
    except ValueError:
        raise ValueError("a share such as 20%") from None
    if not 0 <= percent <= 100:
        raise ValueError("a share between 0% and 100%")
    return Share(percent)


def rate_bytes_s(text: str) -> int:
    """`10M` or `10M/s`: bytes a second, above 0."""
    value = size_bytes(text.strip().removesuffix("/s"))
    if value <= 0:
        raise ValueError("bytes a second above 0, such as 10M")
    return value


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `1h`, `250ms`: seconds, not negative."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError("a time such as 90s, 5m or 1h")
    value = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    if not math.isfinite(value):
        raise ValueError("a time such as 90s, 5m or 1h")
    return value


def some_seconds(text: str) -> float:
    """A time above 0: a wait of none would fail every read."""
    value = seconds(text)
    if value <= 0:
        raise ValueError("a time above 0, such as 20s")
    return value


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.strip().isdigit() or int(text) < 1:
        raise ValueError("a whole number of at least 1")
    return int(text)


def number(text: str) -> int:
    """A whole number of at least 0: a uid or a gid."""
    if not text.strip().isdigit():
        raise ValueError("a number such as 1000")
    return int(text)


def octal(text: str) -> int:
    """A umask: `022`, `0222`, `0o222`."""
    try:
        value = int(text.strip().lower().removeprefix("0o"), 8)
    except ValueError:
        raise ValueError("an octal umask such as 0222") from None
    if not 0 <= value <= 0o777:
        raise ValueError("an octal umask from 0 to 0777")
    return value


def switch(text: str) -> bool:
    """`on` or `off`, and their usual synonyms; the bare name is `on`."""
    word = text.strip().lower()
    if word in _ON:
        return True
    if word in _OFF:
        return False
    raise ValueError("on or off")


def some_text(text: str) -> str:
    """Any text but none."""
    if not text.strip():
        raise ValueError("a value")
    return text.strip()


def file_name(text: str) -> str:
    """A name that a folder can have."""
    name = some_text(text)
    if "/" in name or name in (".", "..") or "\0" in name or len(name.encode()) > 255:
        raise ValueError("the name of one folder, without a slash")
    return name


def url(text: str) -> str:
    """An http or https URL with a host, and without a user or password in it."""
    text = some_text(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("a URL such as https://host") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("a URL that begins with http:// or https://")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("a URL of scheme, host and path alone")
    return text


def address(text: str) -> str:
    """`HOST:PORT`; a bare port listens on this machine alone."""
    host, colon, port = some_text(text).rpartition(":")
    if not port.isdigit() or int(port) > 65535 or (colon and not host):
        raise ValueError("HOST:PORT, such as 127.0.0.1:9464")
    return f"{host or '127.0.0.1'}:{port}"


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of exactly these words."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(" or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0])
        return word

    return parse
