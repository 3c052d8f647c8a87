"""May the service be asked, and what is served when it cannot be: a pure state machine over `Standing`.

    online ──unreachable──▶ offline ──an answer──▶ online
       └──401──▶ refused ──an answer──▶ online

One standing belongs to one key at one origin. While it is not online, the service is tried again after a
backoff (by the access itself, so that mounts learn of its return without a look); a look that could be served
from the catalog does not wait for that. Times are of a monotonic clock, in seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from pictofs.errors import CacheUnusable, KeyRefused, PictofsError, RateLimited, ServerFault, Unreachable

FIRST_BACKOFF_S = 0.5
# a demand that nothing known can satisfy is worth a try of its own, but not one for each reader of a crowd
DEMAND_SPACING_S = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How one key stands towards the service."""

    online: bool = True
    refused: bool = False
    since_s: float = 0.0        # when it became so
    failures: int = 0           # in a row
    tried_s: float = -1e9       # when the last attempt ended
    next_try_s: float = 0.0
    what: str = ""              # one line, for State and status


class Verdict(enum.Enum):
    """What to do with a look or a want before the service is asked."""

    ASK = "ask"
    SERVE = "serve what is known"
    FAIL = "fail"


def answered(standing: Standing, now_s: float) -> Standing:
    """The service has answered this key, with whatever but 401."""
    if standing.online and not standing.refused:
        return standing if not standing.failures else replace(standing, failures=0)
    return Standing(since_s=now_s, tried_s=now_s)


def unreachable(standing: Standing, now_s: float, what: str, cap_s: float, chance: float) -> Standing:
    """No answer came. `cap_s` bounds the backoff; `chance` in [0, 1) is its jitter."""
    if standing.refused:
        return _later(standing, now_s, cap_s, chance)
    since_s = now_s if standing.online else standing.since_s
    failed = replace(standing, online=False, since_s=since_s, what=what)
    return _later(failed, now_s, cap_s, chance)


def refused(standing: Standing, now_s: float, what: str, cap_s: float, chance: float) -> Standing:
    """The key was refused; `auth_grace` counts from the first time."""
    since_s = standing.since_s if standing.refused else now_s
    failures = standing.failures if standing.refused else 0
    state = replace(
        standing, online=True, refused=True, since_s=since_s, what=what, failures=failures
    )
    return _later(state, now_s, cap_s, chance)


def backoff_s(failures: int, cap_s: float, chance: float) -> float:
    """The wait after the n-th failure in a row: doubling up to the cap, the upper half of it jittered."""
    full = min(cap_s, FIRST_BACKOFF_S * 2.0 ** min(failures, 16))
    return full * (0.5 + chance / 2)


def _later(standing: Standing, now_s: float, cap_s: float, chance: float) -> Standing:
    wait_s = backoff_s(standing.failures, cap_s, chance)
    return replace(
        standing, failures=standing.failures + 1, tried_s=now_s, next_try_s=now_s + wait_s
    )


def in_grace(standing: Standing, grace_s: float, now_s: float) -> bool:
    """True while what is known may be served although the key was refused."""
    return now_s - standing.since_s < grace_s


def before(standing: Standing, *, offline: str, grace_s: float, now_s: float, known: bool) -> Verdict:
    """What to do with a look or a want that the catalog alone would not satisfy.

    `known`: something complete, if old, could be served. FAIL means `failure(…)`.
    """
    if standing.refused:
        return Verdict.SERVE if known and in_grace(standing, grace_s, now_s) else Verdict.FAIL
    if offline == "on":
        return Verdict.SERVE if known else Verdict.FAIL
    if standing.online:
        return Verdict.ASK
    if known and offline == "auto":
        return Verdict.SERVE
    return Verdict.ASK if now_s >= standing.tried_s + DEMAND_SPACING_S else Verdict.FAIL


def failure(standing: Standing, offline: str) -> PictofsError:
    """The error behind a FAIL."""
    if standing.refused:
        return KeyRefused(standing.what or "the service refuses the API key", status=401)
    if offline == "on":
        return Unreachable("offline=on, and this is not known yet: mount with offline=auto to fetch it")
    return Unreachable(standing.what or "the service is unreachable")


def after(
    error: PictofsError, standing: Standing, *, offline: str, grace_s: float, now_s: float, known: bool
) -> PictofsError | None:
    """What a look ends in when asking has failed: None to serve what is known, else the error to tell.

    `standing` is the one after the failure. A 403 or 404 on one thing is that thing's own.
    """
    if isinstance(error, KeyRefused):
        return None if known and in_grace(standing, grace_s, now_s) else error
    if isinstance(error, RateLimited | CacheUnusable):
        return None if known else error
    if isinstance(error, Unreachable | ServerFault):
        return None if known and offline != "off" else error
    return error
