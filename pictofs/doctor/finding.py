"""What a check says: one line, its weight, and the mend."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(str, enum.Enum):
    """How bad it is."""

    PASS = "pass"
    WARN = "warn"   # it works, but worse than it could
    FAIL = "fail"   # a mount with these settings does not work, or something that is mounted does not


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, `what` is what was seen, `mend` what to do about it."""

    check: str
    level: Level
    what: str
    mend: str = ""


def good(check: str, what: str) -> Finding:
    """Nothing to mend."""
    return Finding(check, Level.PASS, what)


def poor(check: str, what: str, mend: str) -> Finding:
    """It works, but."""
    return Finding(check, Level.WARN, what, mend)


def bad(check: str, what: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.FAIL, what, mend)
