"""What an exception of requests or urllib3 means, in words that hold nothing of the request.

Their own texts carry the whole URL, so nothing of them is kept, nor are they in any chain.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from pictofs.storage.retry import Cause, Failure, Watch


def failure_of(error: BaseException, watch: Watch) -> Failure:
    """The failure of an attempt. `watch` knows what silence means by now."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
            return Failure(Cause.LASTING, f"its TLS certificate is not trusted ({why}); see ca_file")
        if isinstance(cause, socket.gaierror):
            return Failure(Cause.CONNECTION, "its host name does not resolve")
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            continue  # a TimeoutError by inheritance, but the one inside says why
        if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)):
            return Failure(watch.silence, "nothing came in time")
        if isinstance(cause, ssl.SSLError):
            return Failure(Cause.CONNECTION, f"TLS failed ({cause.reason or 'protocol error'})")
        if isinstance(cause, (urllib3.exceptions.IncompleteRead, urllib3.exceptions.InvalidChunkLength)):
            return Failure(Cause.TRUNCATED, "the body ended too early")
        if isinstance(cause, (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema)):
            return Failure(Cause.LASTING, "the proxy's URL cannot be used; correct proxy")
        if isinstance(cause, (requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError)):
            return Failure(Cause.LASTING, "the URL is malformed")
        if isinstance(cause, OSError) and isinstance(cause.errno, int):
            return Failure(Cause.CONNECTION, os.strerror(cause.errno).lower())
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return Failure(Cause.LASTING, "the file of trusted certificates cannot be read; correct ca_file")
    return Failure(Cause.CONNECTION, "the connection broke")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all inside it, outermost first: wrapped by argument, by attribute and by chain."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
