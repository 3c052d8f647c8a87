"""Which certificates to trust and which proxy to take: the settings, else the environment.

It is read as `requests` reads it. Both clients ask here, so that they cannot differ; libcurl's own reading
of the environment is switched off.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.request
from urllib.parse import urlsplit

import certifi

from pictofs.errors import TransferError

# In order of strength; `requests` knows the first two, everybody else the third.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_PROXY = re.compile(r"(https?|socks4a?|socks5h?)://[^/?#\s]+/?\Z", re.IGNORECASE)


def ca_bundle(ca_file: str | None) -> str:
    """Path of a file (or folder, as OpenSSL hashes it) of trusted certificates.

    libcurl's wheel was built elsewhere and has a path of that machine compiled in, so it is always told.
    """
    return ca_file or next(filter(None, map(os.environ.get, CA_VARIABLES)), None) or certifi.where()


def proxy_for(url: str, proxy: str | None) -> str:
    """The proxy's URL for `url`, empty for none. `proxy`, the setting, wins over `no_proxy` too.

    Raises TransferError for one that no client can use.
    """
    if proxy is None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if _bypassed(host, parts.port):
            return ""
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not (proxy.isascii() and _PROXY.match(proxy)):
        raise TransferError("the proxy's URL cannot be used; correct proxy, or the environment's")
    return proxy


def _bypassed(host: str, port: int | None) -> bool:
    # As requests.utils.should_bypass_proxies: names and what is below them, CIDR for addresses, then the
    # standard library's rule.
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    entries = [entry for entry in listed.replace(" ", "").split(",") if entry]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        with_port = f"{host}:{port}" if port else host
        names = tuple("." + entry.lstrip(".").lower() for entry in entries)
        if f".{host}".endswith(names) or f".{with_port}".endswith(names):
            return True
    else:
        if any(_holds(entry, address) for entry in entries):
            return True
    return bool(urllib.request.proxy_bypass(host))


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
