"""Signed URLs as far as they may be spoken of: their origin, their path, a redirect's target."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urljoin

from pictofs.errors import TransferError

_PARTS = re.compile(r"(https?)://([^/?#@\s]+)(/[^?#\s]*|)(?![^?#\s])", re.IGNORECASE)
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)/?\Z", re.IGNORECASE)
_PORTS = {"http": ":80", "https": ":443"}
_SHOWN = 200  # characters of a path in a message


def described(url: str) -> str:
    """Host and path for a person. The query is the secret and never part of it."""
    found = _PARTS.match(url)
    if found is None:
        return "(a URL that is none)"
    path = found[3]
    return found[2] + (path if len(path) <= _SHOWN else path[: _SHOWN - 1] + "…")


def origin(url: str) -> str:
    """`scheme://host[:port]`, lower-case, the default port left out.

    Raises TransferError for anything but http and https, and for a URL with a user in it: libraries would
    make an Authorization header of that.
    """
    # Asked for every transfer: a pattern over a signed URL's 700 characters costs 9 µs, this 1.
    if url.isascii() and url.split(None, 1) == [url]:
        found = _origin(url[: url.find("/", 8) + 1] or url)
        if found is not None:
            return found
    raise TransferError("the URL of an object is not http or https with a plain host; it cannot be fetched")


@lru_cache(maxsize=64)
def _origin(start: str) -> str | None:
    found = _ORIGIN.match(start)
    if found is None:
        return None
    scheme, host = found[1].lower(), found[2].lower()
    return f"{scheme}://{host.removesuffix(_PORTS[scheme])}"


def redirected(url: str, location: str) -> str:
    """Where a redirect leads, when that is on the same host. Raises TransferError where it is not."""
    target = urljoin(url, location)
    if origin(target) != origin(url):
        raise TransferError(
            f"{described(url)} redirects to another host ({origin(target)}), which is not followed; "
            "a proxy or captive portal may be in the way"
        )
    return target
