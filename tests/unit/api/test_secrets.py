"""The key and signed URLs stay out of everything that can be seen, whatever goes wrong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Client, Dataset, Image
from pictofs.api.wire import Broken, Call
from tests.unit.api.scripted import BASE, KEY, Answered, client_of, in_turn

SIGNATURE = "5f3a-signature"
SIGNED = f"https://s.test/o?X-Goog-Date=20240115T120000Z&X-Goog-Expires=3600&X-Goog-Signature={SIGNATURE}"
DATASET = Dataset(id="d-1", name="n")
ECHO = {
    "detail": f"the key {KEY} may not; see {SIGNED}",
    "error": {"code": KEY, "message": f"{KEY} {SIGNED}"},
}

CALLS: list[Callable[[Client], Any]] = [
    lambda client: client.organization.me(),
    lambda client: client.datasets.list(),
    lambda client: client.datasets.get("x"),
    lambda client: client.datasets.links(DATASET, "full"),
    lambda client: [*client.images.pages(DATASET)],
    lambda client: client.images.read(Image(id="i", filename="a")),
    lambda client: client.annotations.get(DATASET, Image(id="i", filename="a", annotation_url=SIGNED)),
    lambda client: client.exports.list(DATASET),
    lambda client: client.exports.url(DATASET, "e"),
    lambda client: client.exports.create(DATASET, "e"),
    lambda client: client.projects.delete(DATASET),
]
ANSWERS: list[Callable[[], Any]] = [
    *(
        lambda status=status: Answered(ECHO, status, {"X-Request-Id": KEY})
        for status in (400, 401, 403, 404, 422, 429, 500)
    ),
    lambda: Answered(ECHO, 429, {"Retry-After": "1000"}),
    lambda: Answered(ECHO),
    lambda: Answered(f"<html>{KEY} {SIGNED}".encode()),
    lambda: Answered([{"filename": 3, "image_url": SIGNED, "name": SIGNED}]),
    lambda: Answered({"data": [{"filename": 3, "image_url": SIGNED}]}),
    lambda: Answered({"data": {"items": [{"filename": 3, "image_url": SIGNED}], "download_url": 5}}),
    lambda: Answered(b"", 302, {"Location": SIGNED}),
    lambda: Broken("connection refused"),
]


def everything_seen(error: BaseException) -> str:
    """What a log, a traceback and a repr of the whole chain would show."""
    seen, pending, met = [], [error], set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in met:
            continue
        met.add(id(each))
        seen += [str(each), repr(each), repr(each.args), repr(vars(each))]
        pending += [each.__cause__, each.__context__]  # type: ignore[list-item]
    return "\n".join([*seen, *traceback.format_exception(error)])


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_no_failure_shows_the_key_or_a_signed_url(letter: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    failures = 0
    for answer in ANSWERS:
        for call in CALLS:
            client, _, _ = client_of(lambda _, given=answer: given(), dialect=letter)
            try:
                call(client)
            except errors.PictofsError as error:
                failures += 1
                seen = everything_seen(error)
                assert KEY not in seen
                assert SIGNATURE not in seen
            for shown in (repr(client), repr(vars(client))):
                assert KEY not in shown
    assert failures > 100
    assert KEY not in caplog.text
    assert SIGNATURE not in caplog.text


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_nothing_but_the_tree_of_errors_leaves_the_room(letter: str) -> None:
    bodies = [
        b"",
        b"null",
        b"5",
        b"{}",
        b"[]",
        b"[null]",
        b"\xff\xfe",
        b'{"data": null}',
        b'{"datasets": {}}',
    ]
    bodies += [b'{"data": [1]}', b'{"dataset": {"images": [{}]}}', b'{"images": 3, "items": 4}', b"[[[]]]"]
    for body in bodies:
        for call in CALLS:
            client, _, _ = client_of(in_turn(Answered(body)), dialect=letter, retries=0)
            try:
                call(client)
            except errors.PictofsError:
                continue


def test_a_call_shows_its_headers_to_nobody() -> None:
    assert KEY not in repr(Call("GET", BASE, {"X-API-Key": KEY}, KEY.encode()))
