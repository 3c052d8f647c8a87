"""From an answer that is no success to the exception for it. Pure.

The three dialects word a refusal differently (`{"error": "not_found", "message"}`, `{"detail"}`,
`{"error": {"code", "message", "details"}}`) and proxies answer in HTML; all are read whatever dialect is
spoken. What the service wrote may repeat the key or a signed URL: it is cleaned before it becomes a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pictofs.api.documents import NotJson, decode
from pictofs.errors import (
    Conflict,
    Forbidden,
    KeyRefused,
    NotFound,
    PlanLimit,
    RateLimited,
    ServerFault,
    ServiceError,
    by_status,
)

MESSAGE_CHARACTERS = 300
_KEYS = re.compile(r"\bpk_[A-Za-z0-9_\-]+")
_QUERIES = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]+")
_MENDS: dict[type[ServiceError], str] = {
    KeyRefused: "set api_key_file, api_key_command or PICTOGRAPH_API_KEY to a key that is valid",
    Forbidden: "the key's role does not allow it",
    PlanLimit: "the organization's plan does not include it",
    Conflict: "choose another name",
    NotFound: "it does not exist, or belongs to another organization",
}


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    what: str,
    key: str = "",
    retry_after_s: float | None = None,
) -> ServiceError:
    """The exception for an answer of 3xx to 5xx; `what` names the request, without its query."""
    code, said = sentence(body)
    kind = by_status(status) if status >= 400 else ServerFault
    said = clean(said, key) or _reason(status)
    message = f"{said} ({status}, {what})"
    if kind is RateLimited:
        message = f"the API's rate limit is reached ({what}): {again(retry_after_s)}"
    elif kind in _MENDS:
        message = f"{message}: {_MENDS[kind]}"
    return kind(
        message,
        status=status,
        code=clean(code, key),
        request_id=clean(headers.get("x-request-id", ""), key),
        retry_after_s=retry_after_s,
    )


def again(wait_s: float | None) -> str:
    """When to try again, in words."""
    return f"try again in {wait_s:.0f} s" if wait_s is not None else "try again later"


def sentence(body: bytes) -> tuple[str, str]:
    """(the service's code, its sentence) of an error body in any dialect; empty where it has none."""
    try:
        told = decode(body) if body else None
    except NotJson:
        return "", ""
    if not isinstance(told, Mapping):
        return "", ""
    error, detail = told.get("error"), told.get("detail")
    if isinstance(error, Mapping):
        return _text(error.get("code")), _text(error.get("message")) or _text(detail)
    said = _text(told.get("message")) or _details(detail)
    return (_text(error), said) if said else ("", _text(error))


def clean(text: str, key: str = "") -> str:
    """One line without keys and without the queries of URLs, at most `MESSAGE_CHARACTERS` long."""
    if key:
        text = text.replace(key, "…")
    text = _QUERIES.sub(r"\1?…", _KEYS.sub("pk_…", text))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"


def misshapen(what: str, why: str) -> ServerFault:
    """A success whose body is not what the documents promise."""
    return ServerFault(f"the answer to {what} is not what the Pictograph API promises: {why}", status=200)


def _details(detail: Any) -> str:
    """A `detail`: a sentence, or the list of places and messages that a validation failure has."""
    if not isinstance(detail, list):
        return _text(detail)
    lines = []
    for each in detail:
        if isinstance(each, Mapping):
            place = ".".join(map(str, each.get("loc") or ()))
            lines.append(": ".join(filter(None, (place, _text(each.get("msg"))))))
    return "; ".join(filter(None, lines))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "refused"
