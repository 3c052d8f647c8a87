"""What is wrong on a mount, and how to mend it: from its status document. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

FULL = 0.98  # of the cache's limit
SCARCE = 0.05  # of the hour's budget
ERRORS = 8  # the last ones are told
LONG_WAIT_S = 5.0  # a transfer that readers wait for
# A word of what went wrong → the mend; the first that fits is told.
_MENDS = (
    ("certificate", "name the certificates to trust with ca_file=, or mend the machine's clock"),
    ("proxy", "look at proxy=, or at HTTPS_PROXY in the environment of the mount"),
    ("resolve", "look at the machine's DNS, and at base_url="),
    ("space", "make room in cache_dir, or lower cache_size= and min_free="),
    ("checksum", "it is fetched again by itself; where it stays, the object at the service is damaged"),
    ("refused", "look whether the key still holds: pictofs whoami"),
    ("timeout", "the network is slow: a larger timeout= waits longer, fewer jobs= share it less"),
    ("expired", "mend the machine's clock if it is wrong; URLs are renewed by themselves"),
)
_ELSE = "the log says more; `pictofs doctor` looks around"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `grave`: readers get errors, or would. `at` is when, "" for now."""

    what: str
    mend: str
    grave: bool = False
    at: str = ""


def faults(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All of them, the grave ones first; fields as in `Fault`."""
    found = [*_standing(document), *_measured(document), *_told(document)]
    return [asdict(fault) for fault in sorted(found, key=lambda fault: not fault.grave)]


def _standing(document: Mapping[str, Any]) -> Iterator[Fault]:
    where = document.get("mountpoint", "")
    pids = document.get("pids") or {}
    if not pids.get("serving"):
        yield Fault(
            "nobody serves this mount just now",
            f"if it stays so: pictofs umount --lazy {where}, and mount it again",
            True,
        )
    if document.get("refused"):
        yield Fault(
            "the service refuses the key",
            "put a good key where the mount looks for it (api_key_file=); `pictofs whoami` tries it",
            True,
        )
    elif not document.get("online"):
        yield Fault(
            "the service is away; what is known is served, what is not ends in an error",
            "look at the network, at base_url= and proxy=; it is tried again by itself",
            True,
        )
    if document.get("restarts"):
        yield Fault(
            f"{document['restarts']} processes of this mount died and were replaced",
            "the log says why; send it along if you report it",
        )


def _measured(document: Mapping[str, Any]) -> Iterator[Fault]:
    budget, cache, waits = (document.get(name) or {} for name in ("budget", "cache", "waits"))
    limit, left = budget.get("limit"), budget.get("remaining")
    if limit and left is not None and left <= limit * SCARCE:
        reset = budget.get("reset")
        until = f" at {time.strftime('%H:%M', time.localtime(reset))}" if reset else ""
        yield Fault(
            f"{left} of the hour's {limit} requests to the API are left",
            f"all of them are back{until}; bulk=create reads annotations out of an export instead",
            left <= 0,
        )
    if cache.get("limit") and cache.get("bytes", 0) >= cache["limit"] * FULL:
        yield Fault(
            "the cache is full: what is read next takes the place of something else, or is not kept",
            "a larger cache_size= holds more; `pictofs warm --evict PATH` lets go of what is done with",
        )
    if waits.get("timed_out"):
        yield Fault(
            f"{waits['timed_out']} operations ended without progress, as errors to their readers",
            "a larger timeout= waits longer; prefetch=all or `pictofs warm` fetch ahead of the readers",
        )
    for flight in document.get("flights") or []:
        if flight.get("pids") and flight.get("seconds", 0) >= LONG_WAIT_S:
            yield Fault(
                f"{flight['path']}: readers have waited {flight['seconds']:.0f} s for it",
                "it is tried again by itself; the network or the storage host is slow",
            )


def _told(document: Mapping[str, Any]) -> Iterator[Fault]:
    for error in (document.get("errors") or [])[: -ERRORS - 1 : -1]:
        what = str(error.get("what", ""))
        yield Fault(what, mend(what), at=str(error.get("time", "")))


def mend(what: str) -> str:
    """How to mend what an error says, as far as its words tell."""
    said = what.lower()
    return next((mended for word, mended in _MENDS if word in said), _ELSE)
