"""What the operations of `POST /mutate` have in common."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

Operation = Callable[..., Awaitable[dict[str, Any]]]  # its keyword arguments are the fields of the body


class BadMutation(ValueError):
    """A mutation that cannot be: the message says why."""


def decoded(content: str | None) -> bytes | None:
    """Bytes given in base64; None where none are given. Raises `BadMutation`."""
    if content is None:
        return None
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadMutation("content must be base64") from None
