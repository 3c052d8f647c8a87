"""JSON in and out. Pure.

Bodies are decoded by msgspec; what it cannot hold but JSON allows (a lone surrogate in a file name) goes
through the standard library. Documents that the mount shows are rendered with the service's key order, two
spaces of indentation, no escaping of Unicode and a newline at the end.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from pictofs.errors import ServerFault

_SURROGATE = re.compile("[\ud800-\udfff]")


class NotJson(Exception):
    """The body is no JSON: torn, or of a proxy that answers in HTML. Asking again may help."""


def decode(body: bytes) -> Any:
    """The value of a JSON body; dictionaries keep its key order. Raises NotJson."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # what follows is outside of `except`: an exception in the chain of NotJson would hold the body
    return load(body)


def load(body: bytes) -> Any:
    """As `decode`, through the standard library: numbers exactly as Python reads them. Raises NotJson."""
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    raise NotJson("the answer is not JSON")


def render(value: Any) -> bytes:
    """The bytes of a document on the mount. ServerFault where the value cannot be written as JSON."""
    try:
        # With an indent the standard library encodes in Python, at three times the cost. It gives the tokens,
        # and msgspec the blanks between them.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        try:
            return msgspec.json.format(text.encode(), indent=2) + b"\n"
        except UnicodeEncodeError:
            # A lone surrogate stands only inside a string, where its escape means the same; not to msgspec.
            text = json.dumps(value, indent=2, ensure_ascii=False)
            return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"
    except (ValueError, RecursionError):
        raise ServerFault("the service sent a document that JSON cannot hold (a number too large?)") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
