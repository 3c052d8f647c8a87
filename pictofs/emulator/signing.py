"""Signed URLs of the storage host, V4-style: who, when and how long in the query, under an HMAC.

Source of the parameter names and their order: Google Cloud Storage, "V4 signing process". The signature is an
HMAC-SHA256 in hexadecimal over method, path and canonical query; only the emulator itself has to verify it.
"""

from __future__ import annotations

import calendar
import hmac
import re
import time
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

_ALGORITHM = "GOOG4-HMAC-SHA256"
_SIGNATURE = "&X-Goog-Signature="
_FIELDS = re.compile(
    r"X-Goog-Credential=emulator-(?P<generation>\d+)%40.*X-Goog-Date=(?P<date>\w+)&X-Goog-Expires=(?P<life>\d+)&"
)


class Rejected(Exception):
    """A URL that the storage host does not honour: the status and code of its XML body, and a detail."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


class Grant(NamedTuple):
    """What a verified URL allows: the object's path, who signed it when, and until when it holds."""

    path: str
    generation: int
    signed_s: int
    expires_s: int


class Signer:
    """Signs and verifies URLs with one secret.

    Every URL names the signing generation in its credential; `next_generation` starts another, so that "all
    URLs signed before now" is exact although `X-Goog-Date` counts whole seconds.
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod="sha256")  # copied per URL: half the cost of a new one
        self.generation = 0

    def next_generation(self) -> int:
        """Start a new signing generation; returns the one that ended."""
        self.generation += 1
        return self.generation - 1

    def sign(self, method: str, path: str, ttl_s: int, now_s: float) -> str:
        """`/path?query` that allows `method` on an object's path (not percent-encoded) for `ttl_s`."""
        query = _query(self.generation, int(now_s), ttl_s)
        encoded = quote(path, safe="/")
        return f"{encoded}?{query}{_SIGNATURE}{self._mac(method, encoded, query)}"

    def verify(self, method: str, raw_path: str, raw_query: str, now_s: float) -> Grant:
        """The grant of a URL as it came over the wire. Raises `Rejected`: unsigned, tampered, expired."""
        query, found, signature = raw_query.partition(_SIGNATURE)
        if not (
            found
            and signature.isascii()
            and hmac.compare_digest(self._mac(method, raw_path, query), signature)
        ):
            query = self._verify_canonical(method, raw_path, raw_query)
        fields = _FIELDS.search(query)
        assert fields is not None  # its signature holds, so we wrote it
        signed_s = _seconds(fields["date"])
        expires_s = signed_s + int(fields["life"])
        if now_s >= expires_s:
            raise expired(expires_s)
        return Grant(unquote(raw_path), int(fields["generation"]), signed_s, expires_s)

    def _verify_canonical(self, method: str, raw_path: str, raw_query: str) -> str:
        # A client may have sorted or re-encoded the URL: what counts is its canonical form.
        pairs = parse_qsl(raw_query, keep_blank_values=True)
        if not any(name == "X-Goog-Signature" for name, _ in pairs):
            raise Rejected(
                403, "AccessDenied", "Access denied.", "Anonymous caller does not have access to the object."
            )
        signature = next(value for name, value in pairs if name == "X-Goog-Signature")
        query = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, value in sorted(pairs)
            if name != "X-Goog-Signature"
        )
        mac = self._mac(method, quote(unquote(raw_path), safe="/"), query)
        if not hmac.compare_digest(mac.encode(), signature.encode()):
            raise Rejected(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your Google secret key and signing method.",
                f"{_ALGORITHM} {method} {raw_path}",
            )
        return query

    def _mac(self, method: str, encoded_path: str, query: str) -> str:
        mac = self._keyed.copy()
        mac.update(f"{method}\n{encoded_path}\n{query}".encode("latin-1", "replace"))
        return mac.hexdigest()


@lru_cache(maxsize=64)  # the same for all that are signed in one answer
def _query(generation: int, now_s: int, ttl_s: int) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    account = f"emulator-{generation}%40pictofs.invalid%2F{stamp[:8]}%2Fauto%2Fstorage%2Fgoog4_request"
    return (
        f"X-Goog-Algorithm={_ALGORITHM}&X-Goog-Credential={account}"
        f"&X-Goog-Date={stamp}&X-Goog-Expires={ttl_s}&X-Goog-SignedHeaders=host"
    )


def expired(expires_s: float) -> Rejected:
    """The rejection of a URL that was good until `expires_s`."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(expires_s))
    return Rejected(
        400,
        "ExpiredToken",
        "Invalid argument.",
        f"The provided token has expired. Request signature expired at: {moment}",
    )


_dates: dict[str, int] = {}  # the few recent values of X-Goog-Date, parsed


def _seconds(date: str) -> int:
    known = _dates.get(date)
    if known is None:
        known = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        if len(_dates) > 4096:
            _dates.clear()
        _dates[date] = known
    return known
