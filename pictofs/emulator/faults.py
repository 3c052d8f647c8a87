"""Which request meets which fault: pure decisions over the entries that the control port was given.

An entry matches by host, method and path, may let the first few pass (`skip`), strikes with a probability
drawn from a generator seeded with (seed, entry number), and is spent after `count` strikes. The first entry
that strikes wins. Bodies of the entries: docs/emulator.md.
"""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

HOSTS = ("api", "storage")


class _Parameter(NamedTuple):
    types: tuple[type, ...]
    default: Any


_NUMBER = (int, float)
_KINDS: dict[str, dict[str, _Parameter]] = {
    "status": {
        "status": _Parameter((int,), 503),
        "retry_after": _Parameter((int, float, str), None),
        "body": _Parameter((str, dict, list), None),
        "headers": _Parameter((dict,), None),
    },
    "garbage": {"body": _Parameter((str,), None), "content_type": _Parameter((str,), "application/json")},
    "redirect": {"location": _Parameter((str,), None), "status": _Parameter((int,), 302)},
    "reset": {"after_bytes": _Parameter((int,), 0)},
    "truncate": {"after_bytes": _Parameter((int,), None)},
    "stall": {"after_bytes": _Parameter((int,), 0), "seconds": _Parameter(_NUMBER, None)},
    "slow": {"bytes_per_s": _Parameter(_NUMBER, 1000)},
    "corrupt": {"offset": _Parameter((int,), None)},
    "expire": {},
    "refuse": {"seconds": _Parameter(_NUMBER, None), "drop": _Parameter((bool,), True)},
}
REPLACING = frozenset({"status", "garbage", "redirect"})  # another answer altogether
ON_THE_WIRE = frozenset({"reset", "truncate", "stall", "slow", "corrupt"})  # the true answer, mistreated
_COMMON = {
    "host": _Parameter((str,), None),
    "kind": _Parameter((str,), None),
    "path": _Parameter((str,), "*"),
    "regex": _Parameter((str,), None),
    "method": _Parameter((str,), None),
    "count": _Parameter((int,), None),
    "skip": _Parameter((int,), 0),
    "probability": _Parameter(_NUMBER, 1.0),
}


class BadFault(ValueError):
    """A fault entry that cannot be: the message says which part and why."""


@dataclass(eq=False)
class Fault:
    """One entry; `values` are the parameters of its kind, `count` what is left of it (None: no end)."""

    number: int
    host: str
    kind: str
    path: str
    pattern: re.Pattern[str]
    method: str | None
    count: int | None
    skip: int
    probability: float
    values: dict[str, Any]
    dice: random.Random
    url_generation: int = -1  # expire: signed URLs up to this generation are struck
    struck: int = 0

    def describe(self) -> dict[str, Any]:
        """The entry as the control port shows it."""
        return {
            "id": self.number,
            "host": self.host,
            "kind": self.kind,
            "path": self.path,
            "method": self.method,
            "count": self.count,
            "skip": self.skip,
            "probability": self.probability,
            "struck": self.struck,
            **self.values,
        }


@dataclass
class FaultPlan:
    """The entries in force, in the order in which they were given."""

    seed: int = 0
    entries: list[Fault] = field(default_factory=list)
    _given: int = 0

    def add(self, entry: Mapping[str, Any]) -> Fault:
        """Take an entry in. Raises `BadFault`."""
        fault = self._parsed(entry)
        self.entries.append(fault)
        return fault

    def remove(self, number: int) -> Fault | None:
        """Take one entry out; None where there is none of this number."""
        for fault in self.entries:
            if fault.number == number:
                self.entries.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Take all entries out."""
        self.entries.clear()

    def concern(self, host: str) -> bool:
        """Whether an entry may still strike requests of this host."""
        return any(fault.host == host and fault.count != 0 for fault in self.entries)

    def pick(self, host: str, method: str, raw_path: str, url_generation: int | None = None) -> Fault | None:
        """The fault that strikes this request, if any; it is then spent by one."""
        if not self.entries:
            return None
        path = unquote(raw_path)
        for fault in self.entries:
            if fault.host != host or fault.count == 0 or fault.kind == "refuse":
                continue
            if fault.method is not None and fault.method != method:
                continue
            if fault.kind == "expire" and (url_generation is None or url_generation > fault.url_generation):
                continue
            if not (fault.pattern.match(path) or fault.pattern.match(raw_path)):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.probability < 1 and fault.dice.random() >= fault.probability:
                continue
            fault.struck += 1
            if fault.count is not None:
                fault.count -= 1
            return fault
        return None

    def _parsed(self, entry: Mapping[str, Any]) -> Fault:
        kind = entry.get("kind")
        if kind not in _KINDS:
            raise BadFault(f"kind {kind!r}: one of {', '.join(_KINDS)}")
        known = {**_COMMON, **_KINDS[kind]}
        for name, value in entry.items():
            if name not in known:
                raise BadFault(f"{name!r} is no parameter of {kind}; known are {', '.join(known)}")
            if value is not None and not isinstance(value, known[name].types):
                raise BadFault(f"{name}: {value!r} has the wrong type")
        given = {name: entry.get(name, known[name].default) for name in known}
        if given["host"] not in HOSTS:
            raise BadFault(f"host {given['host']!r}: one of {', '.join(HOSTS)}")
        if kind == "expire" and given["host"] != "storage":
            raise BadFault("expire is of the storage host")
        if kind == "redirect" and not given["location"]:
            raise BadFault("redirect needs a location")
        if not 0 <= given["probability"] <= 1:
            raise BadFault("probability is between 0 and 1")
        self._given += 1
        path = "regex:" + given["regex"] if given["regex"] is not None else given["path"]
        return Fault(
            self._given,
            given["host"],
            kind,
            path,
            _pattern(given["path"], given["regex"]),
            given["method"].upper() if given["method"] else None,
            given["count"],
            given["skip"] or 0,
            float(given["probability"]),
            {name: given[name] for name in _KINDS[kind]},
            random.Random(f"{self.seed}:{self._given}"),
        )


def _pattern(path: str, regex: str | None) -> re.Pattern[str]:
    # fnmatch for the whole path (`*` crosses slashes); a regular expression may match anywhere in it.
    try:
        return (
            re.compile(f"(?s:.*?)(?:{regex})") if regex is not None else re.compile(fnmatch.translate(path))
        )
    except re.error as error:
        raise BadFault(f"regex {regex!r}: {error}") from None
