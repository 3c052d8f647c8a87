"""Whether the service may be asked, and what is served when it may not."""

from __future__ import annotations

import pytest

from pictofs.errors import (
    CacheUnusable,
    Forbidden,
    KeyRefused,
    NotFound,
    PictofsError,
    RateLimited,
    ServerFault,
    Unreachable,
)
from pictofs.mirror import availability
from pictofs.mirror.availability import DEMAND_SPACING_S, Standing, Verdict

ONLINE = Standing()
OFFLINE = availability.unreachable(ONLINE, 100.0, "no answer", 30.0, 0.0)
REFUSED = availability.refused(ONLINE, 100.0, "refused", 30.0, 0.0)


def verdict(
    standing: Standing, *, offline: str = "auto", grace_s: float = 0.0, now_s: float, known: bool
) -> Verdict:
    return availability.before(standing, offline=offline, grace_s=grace_s, now_s=now_s, known=known)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("offline", ["auto", "off"])
def test_a_service_that_answers_is_asked(known: bool, offline: str) -> None:
    assert verdict(ONLINE, offline=offline, now_s=0, known=known) is Verdict.ASK


@pytest.mark.parametrize("standing", [ONLINE, OFFLINE])
def test_offline_on_never_asks(standing: Standing) -> None:
    assert verdict(standing, offline="on", now_s=1e6, known=True) is Verdict.SERVE
    assert verdict(standing, offline="on", now_s=1e6, known=False) is Verdict.FAIL


def test_while_the_service_is_away_what_is_known_is_served_at_once() -> None:
    assert verdict(OFFLINE, now_s=1e6, known=True) is Verdict.SERVE


def test_while_the_service_is_away_a_demand_is_worth_a_try_but_not_every_one_of_a_crowd() -> None:
    assert verdict(OFFLINE, now_s=100.1, known=False) is Verdict.FAIL
    assert verdict(OFFLINE, now_s=100.0 + DEMAND_SPACING_S, known=False) is Verdict.ASK


def test_offline_off_fails_where_auto_would_serve() -> None:
    assert verdict(OFFLINE, offline="off", now_s=100.1, known=True) is Verdict.FAIL
    error = Unreachable("away")
    given = {"grace_s": 0.0, "now_s": 100.1, "known": True}
    assert availability.after(error, OFFLINE, offline="off", **given) is error
    assert availability.after(error, OFFLINE, offline="auto", **given) is None


def test_a_refused_key_serves_what_is_known_for_auth_grace_and_nothing_after_it() -> None:
    assert verdict(REFUSED, grace_s=10, now_s=109.9, known=True) is Verdict.SERVE
    assert verdict(REFUSED, grace_s=10, now_s=110.0, known=True) is Verdict.FAIL
    assert verdict(REFUSED, grace_s=10, now_s=101.0, known=False) is Verdict.FAIL
    assert verdict(REFUSED, now_s=100.0, known=True) is Verdict.FAIL
    assert isinstance(availability.failure(REFUSED, "auto"), KeyRefused)


def test_grace_counts_from_the_first_refusal_not_the_last() -> None:
    again = availability.refused(REFUSED, 500.0, "refused", 30.0, 0.0)
    assert again.since_s == 100.0
    assert not availability.in_grace(again, 300.0, 500.0)


def test_an_unreachable_service_does_not_make_a_refused_key_good() -> None:
    assert availability.unreachable(REFUSED, 200.0, "no answer", 30.0, 0.0).refused


@pytest.mark.parametrize("standing", [OFFLINE, REFUSED])
def test_an_answer_ends_either_state(standing: Standing) -> None:
    good = availability.answered(standing, 200.0)
    assert good.online
    assert not good.refused
    assert verdict(good, now_s=200.0, known=False) is Verdict.ASK


def test_the_backoff_doubles_to_its_cap_and_is_jittered_in_its_upper_half() -> None:
    standing = ONLINE
    waits = []
    for _ in range(8):
        standing = availability.unreachable(standing, 0.0, "", 10.0, 0.999999)
        waits.append(standing.next_try_s)
    assert waits == pytest.approx([0.5, 1, 2, 4, 8, 10, 10, 10], rel=1e-3)
    assert availability.backoff_s(3, 10.0, 0.0) == 2.0


@pytest.mark.parametrize(
    "error", [ServerFault("500"), RateLimited("429"), CacheUnusable("disk full"), Unreachable("gone")]
)
def test_what_is_known_is_served_when_asking_fails_for_the_service_s_reasons(error: PictofsError) -> None:
    given = {"offline": "auto", "grace_s": 0.0, "now_s": 1.0}
    assert availability.after(error, ONLINE, known=True, **given) is None
    assert availability.after(error, ONLINE, known=False, **given) is error


@pytest.mark.parametrize("error", [Forbidden("403"), NotFound("404")])
def test_a_refusal_of_one_thing_is_that_thing_s_own_even_when_something_is_known(error: PictofsError) -> None:
    assert availability.after(error, ONLINE, offline="auto", grace_s=9.0, now_s=1.0, known=True) is error
