"""Signed-URL transfers: many at once, checked, resumed, each ending in one call of `done`.

`Transfers` is the client on libcurl where pycurl is installed, else the one on `requests`; `carrier.Carrier`
says what both promise. No cookie and no Authorization header ever goes to a storage host, and no API key
but to the URL that a `Get` with headers of its own names.

    transfer, carrier   Get, Got, Transfer: the words; what a client promises
    address, answer     URLs and heads, read; pure
    retry, bandwidth    when to give up, when to wait; pure
    course              one transfer: what to ask for next, and what came of it
    sink, checksum      where bytes go, and whether they are the right ones
    environment         certificates and proxies
    curl, easy, readiness      the client on libcurl
    plain, failures            the client on requests
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pictofs.storage.carrier import Carrier, Done, Progress, Transfer
from pictofs.storage.transfer import Get, Got

if TYPE_CHECKING:
    from pictofs.storage.curl import Transfers
else:
    try:
        from pictofs.storage.curl import Transfers
    except ImportError:  # pycurl needs libcurl: not everywhere; or it is older than 7.45.4
        from pictofs.storage.plain import Transfers

__all__ = ["Carrier", "Done", "Get", "Got", "Progress", "Transfer", "Transfers"]
