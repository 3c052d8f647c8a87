"""Where the Developer API lives, and how any URL it hands out is brought home. Pure.

The key goes to one origin. A URL that the service supplies (`annotation_url`, a redirect) may name another
host, by mistake or by malice: only its path and query are ever used, put under the configured base.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from pictofs.errors import UsageError

API_PATH = "/api/v1/developer"
_PORTS = {"http": 80, "https": 443}
_LEFT_ALONE = "/%:@!$&'()*+,;=~"      # of a path that is encoded already, more or less
Query = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed base URL: `origin` is scheme://host:port, `prefix` the path above every endpoint."""

    origin: str
    prefix: str

    @classmethod
    def parse(cls, base_url: str) -> Address:
        """From `base_url`, with or without `/api/v1/developer`. UsageError for what cannot be one."""
        try:
            parts = urlsplit(base_url.strip())
            origin = _origin(parts)
        except ValueError:
            origin = ""
        if not origin:
            raise UsageError("base_url: not a URL of the form https://host[:port]; correct it")
        if parts.username is not None or parts.password is not None:
            raise UsageError("base_url holds a user name or password: the API key goes in api_key_file")
        if parts.query or parts.fragment:
            raise UsageError("base_url has a query or fragment: give scheme, host and path only")
        path = parts.path.rstrip("/")
        return cls(origin, path if path.endswith(API_PATH) else path + API_PATH)

    def url(self, path: str, query: Query = ()) -> str:
        """The absolute URL of an endpoint; `path` starts with `/`, is encoded, may bring a query."""
        if not path.startswith("/"):
            raise ValueError("an endpoint's path starts with a slash")  # else it could extend the host's name
        encoded = urlencode(list(query), errors="surrogatepass")
        if not encoded:
            return self.origin + self.prefix + path
        return f"{self.origin}{self.prefix}{path}{'&' if '?' in path else '?'}{encoded}"

    def endpoint(self, supplied: str) -> str:
        """The endpoint path (with its query) behind a URL that the service supplied, whatever host it names.

        Behind a proxy the service does not know the configured prefix, so what follows `/api/v1/developer`
        counts; a path without it is taken as an endpoint.
        """
        parts = urlsplit(supplied)
        _, found, rest = parts.path.partition(API_PATH + "/")
        path = "/" + quote((rest if found else parts.path).lstrip("/"), safe=_LEFT_ALONE)
        return f"{path}?{parts.query}" if parts.query else path

    def redirected(self, url: str, location: str) -> str | None:
        """The absolute URL that a redirect from `url` leads to; None where that leaves the origin."""
        try:
            parts = urlsplit(urljoin(url, location))
            if _origin(parts) != self.origin or parts.username is not None:
                return None
        except ValueError:
            return None
        path = "/" + parts.path.lstrip("/")
        return f"{self.origin}{path}?{parts.query}" if parts.query else self.origin + path


def origin_of(url: str) -> str:
    """scheme://host:port of a URL, "" for what has none: all of a foreign URL that may be shown."""
    try:
        return _origin(urlsplit(url))
    except ValueError:
        return ""


def segment(name: str) -> str:
    """A name as one path segment: what is not unreserved is encoded, and so are dots that clients fold."""
    if name in (".", ".."):
        return name.replace(".", "%2E")
    return quote(name, safe="", errors="surrogatepass")


def _origin(parts: SplitResult) -> str:
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _PORTS or not host:
        return ""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS[scheme]}"
