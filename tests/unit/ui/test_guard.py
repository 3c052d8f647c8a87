"""Who may ask the page's server."""

from __future__ import annotations

import pytest

from pictofs.ui.guard import Guard, Verdict

PORT = 4711
HERE = f"127.0.0.1:{PORT}"


@pytest.fixture
def guard() -> Guard:
    return Guard(PORT, token="open-sesame")


def with_cookie(guard: Guard, **more: str) -> dict[str, str]:
    return {"host": HERE, "cookie": guard.cookie().partition(";")[0], **more}


def test_the_token_is_answered_by_a_cookie_and_the_cookie_serves(guard: Guard) -> None:
    assert guard.judge({"host": HERE}, "open-sesame") is Verdict.ADMIT
    assert guard.judge(with_cookie(guard), None) is Verdict.SERVE
    assert guard.judge(with_cookie(guard, host=f"localhost:{PORT}"), None) is Verdict.SERVE


def test_the_cookie_is_hidden_from_scripts_and_other_sites_and_is_not_the_token(guard: Guard) -> None:
    cookie = guard.cookie()
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert guard.token not in cookie


@pytest.mark.parametrize("token", ["", "open-sesam", "open-sesame ", "öpen", None])
def test_without_the_token_or_cookie_nothing_is_served(guard: Guard, token: str | None) -> None:
    for cookie in ("", "pictofs-4711=", "pictofs-4711=guess", "pictofs-1=x", "bad cookie; =;", '"'):
        assert guard.judge({"host": HERE, "cookie": cookie}, token) is Verdict.STRANGER


def test_what_other_programs_of_this_host_have_set_does_not_hide_the_cookie(guard: Guard) -> None:
    ours = guard.cookie().partition(";")[0]
    for others in ("a=b", "bad name=[1]", '"', "_xsrf=2|x|y", "=;;"):
        assert guard.judge({"host": HERE, "cookie": f"{others}; {ours}; last=1"}, None) is Verdict.SERVE


def test_the_cookie_of_another_page_opens_nothing(guard: Guard) -> None:
    assert guard.judge(with_cookie(Guard(PORT)), None) is Verdict.STRANGER


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"127.0.0.1.evil.example:{PORT}",
    ],
)
def test_a_name_that_was_lead_here_is_refused_also_with_token_and_cookie(guard: Guard, host: str) -> None:
    assert guard.judge(with_cookie(guard, host=host), "open-sesame") is Verdict.FOREIGN


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", f"https://{HERE}", ""]
)
def test_another_origin_is_refused_also_with_token_and_cookie(guard: Guard, origin: str) -> None:
    assert guard.judge(with_cookie(guard, origin=origin), "open-sesame") is Verdict.FOREIGN


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_or_port_has_a_browser_ask_is_refused_with_the_cookie(
    guard: Guard, site: str
) -> None:
    assert guard.judge(with_cookie(guard, **{"sec-fetch-site": site}), None) is Verdict.FOREIGN


def test_our_own_page_and_a_typed_address_are_served(guard: Guard) -> None:
    for site in ("same-origin", "none"):
        assert guard.judge(with_cookie(guard, **{"sec-fetch-site": site}), None) is Verdict.SERVE
    assert guard.judge(with_cookie(guard, origin=f"http://{HERE}"), None) is Verdict.SERVE


def test_a_link_elsewhere_that_holds_the_token_opens_the_page(guard: Guard) -> None:
    assert guard.judge({"host": HERE, "sec-fetch-site": "cross-site"}, "open-sesame") is Verdict.ADMIT


def test_every_token_is_another() -> None:
    assert len({Guard(PORT).token for _ in range(20)}) == 20
    assert len(Guard(PORT).token) >= 43
