from __future__ import annotations

import json
from typing import Any

import pytest

from pictofs import errors
from pictofs.api.refusals import MESSAGE_CHARACTERS, clean, refusal, sentence
from tests.unit.api.scripted import KEY


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": "not_found", "message": "Dataset not found"}, ("not_found", "Dataset not found")),
        ({"detail": "Dataset not found"}, ("", "Dataset not found")),
        (
            {"detail": [{"loc": ["query", "limit"], "msg": "too big"}, {"msg": "no"}]},
            ("", "query.limit: too big; no"),
        ),
        (
            {"error": {"code": "nope", "message": "No", "details": None}, "detail": "No such"},
            ("nope", "No"),
        ),
        ({"error": {"code": "nope"}, "detail": "No such"}, ("nope", "No such")),
        ({"error": "It failed"}, ("", "It failed")),
        ([], ("", "")),
        ("text", ("", "")),
    ],
)
def test_a_refusal_is_read_in_every_dialect(body: Any, expected: tuple[str, str]) -> None:
    assert sentence(json.dumps(body).encode()) == expected


def test_a_body_that_is_no_json_has_no_sentence() -> None:
    assert sentence(b"<html>502</html>") == ("", "")
    assert sentence(b"") == ("", "")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, errors.ServerFault),
        (400, errors.Unprocessable),
        (401, errors.KeyRefused),
        (402, errors.PlanLimit),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (408, errors.ServerFault),
        (409, errors.Conflict),
        (418, errors.Unprocessable),
        (422, errors.Unprocessable),
        (429, errors.RateLimited),
        (500, errors.ServerFault),
        (504, errors.ServerFault),
    ],
)
def test_each_status_is_its_exception_with_one_line_and_its_facts(status: int, kind: type[Exception]) -> None:
    body = json.dumps({"error": {"code": "the_code", "message": "The\nsentence"}}).encode()
    found = refusal(status, {"x-request-id": "req_1"}, body, what="GET /x", retry_after_s=7.0)
    assert type(found) is kind
    assert (found.status, found.code, found.request_id, found.retry_after_s) == (
        status,
        "the_code",
        "req_1",
        7.0,
    )
    assert "\n" not in str(found)
    assert "GET /x" in str(found)


def test_what_the_service_says_is_cleaned_of_keys_and_signed_urls() -> None:
    said = (
        f"key {KEY} and pk_test_other at https://s.test/o?X-Goog-Signature=abc&x=1 'https://t.test/p?sig=d'"
    )
    shown = clean(said, KEY)
    assert KEY not in shown
    assert "other" not in shown
    assert "abc" not in shown
    assert "sig=d" not in shown
    assert "https://s.test/o?…" in shown


def test_a_key_of_another_form_is_cleaned_too() -> None:
    body = json.dumps({"detail": "bad key s3cr3t"}).encode()
    assert "s3cr3t" not in str(refusal(401, {}, body, what="GET /x", key="s3cr3t"))


def test_a_long_message_is_cut() -> None:
    assert len(clean("x" * 5000)) == MESSAGE_CHARACTERS
