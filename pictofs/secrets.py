"""What must not be read by others, taken out of text: API keys, signatures of URLs, passwords of proxies.

The rooms hide their secrets already. This is for the message that a library or a person's own setting wrote,
on its way to a log: every process of a mount passes its lines through `masked`.
"""

from __future__ import annotations

import re

_SHAPES = re.compile(
    r"(?P<kept>pk_[a-z]+_)[\w-]+"
    r"|(?P<name>\b(?:X-(?:Goog|Amz)-(?:Signature|Credential|Security-Token)|sig|signature|(?:access_)?token"
    r"|api_?key)=)[^&\s'\"]+"
    r"|(?P<scheme>://|\bproxy=(?:\w+://)?)[^\s/?#'\"]+@",
    re.I,
)
_SHORTEST = 8  # what is shorter stands in other words too
_known: tuple[str, ...] = ()


def remember(*values: str) -> None:
    """From now on `masked` takes these out too, whatever they look like: keys need not look like ours."""
    global _known
    _known = tuple(
        sorted({*_known, *(v for v in values if len(v) >= _SHORTEST)}, key=lambda value: (-len(value), value))
    )


def masked(text: str) -> str:
    """The text without keys, signatures and passwords; what they belong to stays readable."""
    for value in _known:
        text = text.replace(value, "…")
    return _SHAPES.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    if found["scheme"] is not None:
        return found["scheme"] + "…@"
    return (found["kept"] or found["name"]) + "…"
