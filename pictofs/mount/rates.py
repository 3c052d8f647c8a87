"""What happened on a mount between two looks at its status document. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def rates_of(before: Document, now: Document, seconds: float) -> dict[str, float]:
    """What happened in between, a second; empty where a process was replaced meanwhile: it counts anew."""
    if seconds <= 0 or _pids(before) != _pids(now):
        return {}
    found = {}
    for name, path in (
        ("read_bytes", ("read", "bytes")),
        ("read_files", ("read", "files")),
        ("fetched_bytes", ("bytes_fetched",)),
        ("fetched_files", ("requests", "storage")),
        ("api_requests", ("requests", "api")),
        ("operations", ("operations",)),
    ):
        then, here = _at(before, path), _at(now, path)
        if then is not None and here is not None:
            found[name] = max(0.0, (here - then) / seconds)
    return found


def _pids(document: Document) -> tuple[Any, Any]:
    pids = document.get("pids") or {}
    return pids.get("serving"), pids.get("fetching")


def _at(document: Document, path: tuple[str, ...]) -> float | None:
    found: Any = document
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        return float(sum(found.values()))
    return found if isinstance(found, int | float) else None
