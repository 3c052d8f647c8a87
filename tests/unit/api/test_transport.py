from __future__ import annotations

import threading
from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Dataset
from pictofs.api.transport import RETRIES
from pictofs.api.wire import Broken
from tests.unit.api.scripted import KEY, Answered, Asked, Clock, ScriptedWire, client_of, in_turn

EMPTY = {"data": [], "pagination": {"has_more": False, "total": 0}}
BUSY = Answered({"detail": "busy"}, 503)


def listing(script: Any, **options: Any) -> tuple[Any, ScriptedWire, Clock]:
    """What listing the datasets gives: the rows or the exception."""
    client, wire, clock = client_of(script, **options)
    try:
        return client.datasets.list(), wire, clock
    except errors.PictofsError as error:
        return error, wire, clock


def test_a_request_carries_the_key_and_little_else() -> None:
    _, wire, _ = listing(in_turn(EMPTY))
    (asked,) = wire.asked
    assert asked.headers == {
        "X-API-Key": KEY,
        "User-Agent": asked.headers["User-Agent"],
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }
    assert asked.headers["User-Agent"].startswith("pictofs/")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_what_passes_is_tried_again_with_full_jitter(status: int) -> None:
    rows, wire, clock = listing(in_turn(Answered({}, status), Answered({}, status), EMPTY))
    assert rows == []
    assert len(wire.asked) == 3
    assert clock.slept == [0.125, 0.25]  # half of 0.25 and of 0.5: the draw is 0.5


@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 422, 501])
def test_what_does_not_pass_is_not_tried_again(status: int) -> None:
    error, wire, clock = listing(in_turn(Answered({"detail": "no"}, status)))
    assert isinstance(error, errors.by_status(status))
    assert error.status == status
    assert len(wire.asked) == 1
    assert clock.slept == []


@pytest.mark.parametrize(
    "broken", [Broken("connection refused", unsent=True), Broken("connection reset by peer")]
)
def test_no_answer_is_tried_again_and_then_unreachable(broken: Broken) -> None:
    error, wire, _ = listing(in_turn(broken))
    assert isinstance(error, errors.Unreachable)
    assert "https://api.test:443" in str(error)
    assert len(wire.asked) == 1 + RETRIES


def test_what_lasts_is_not_tried_again() -> None:
    error, wire, _ = listing(in_turn(Broken("its certificate is not trusted", lasting=True)))
    assert isinstance(error, errors.Unreachable)
    assert len(wire.asked) == 1


def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    rows, wire, _ = listing(in_turn(Answered(b'{"data": [', torn=True), EMPTY))
    assert rows == []
    assert len(wire.asked) == 2


def test_a_body_that_is_no_json_is_asked_for_again_and_then_a_fault() -> None:
    rows, wire, _ = listing(in_turn(Answered(b"<html>"), Answered(b'{"data": ['), EMPTY))
    assert rows == []
    assert len(wire.asked) == 3
    error, wire, _ = listing(in_turn(Answered(b"<html>")))
    assert type(error) is errors.ServerFault
    assert len(wire.asked) == 1 + RETRIES


def test_json_of_another_shape_is_a_fault_at_once() -> None:
    error, wire, _ = listing(in_turn({"unexpected": 1}))
    assert type(error) is errors.ServerFault
    assert len(wire.asked) == 1


def test_the_number_of_retries_can_be_set() -> None:
    error, wire, _ = listing(in_turn(BUSY), retries=1)
    assert type(error) is errors.ServerFault
    assert len(wire.asked) == 2


def test_retry_after_is_waited_out_and_never_cut_short() -> None:
    rows, _, clock = listing(in_turn(Answered({}, 429, {"Retry-After": "3"}), EMPTY))
    assert rows == []
    assert sum(clock.slept) >= 3.0


def test_retry_after_of_a_503_counts_too() -> None:
    rows, _, clock = listing(in_turn(Answered({}, 503, {"Retry-After": "2"}), EMPTY))
    assert rows == []
    assert sum(clock.slept) >= 2.0


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_longer_than_the_timeout_ends_the_call_at_once(status: int) -> None:
    error, wire, clock = listing(in_turn(Answered({}, status, {"Retry-After": "120"})))
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after_s == 120
    assert error.errno == 11
    assert clock.slept == []
    assert len(wire.asked) == 1


def test_a_429_without_retry_after_waits_for_the_budgets_window() -> None:
    headers = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700001004"}
    rows, _, clock = listing(in_turn(Answered({}, 429, headers), EMPTY))
    assert rows == []
    assert sum(clock.slept) >= 4.0


def test_after_a_429_others_wait_without_asking() -> None:
    client, wire, clock = client_of(in_turn(Answered({}, 429, {"Retry-After": "300"}), EMPTY))
    for _ in range(3):
        with pytest.raises(errors.RateLimited) as caught:
            client.datasets.list()
        assert caught.value.retry_after_s == pytest.approx(300)
    assert len(wire.asked) == 1
    clock.now += 300
    assert client.datasets.list() == []


def test_the_wait_between_attempts_never_passes_the_timeout() -> None:
    error, _, clock = listing(in_turn(BUSY), timeout_s=1.0, retries=100)
    assert type(error) is errors.ServerFault
    assert clock.now - 1000.0 <= 1.0


def test_each_attempt_may_take_what_is_left_of_the_timeout() -> None:
    clock = Clock()

    def slow(_: Asked) -> Any:
        clock.now += 8
        return Broken("connection reset by peer")

    error, wire, _ = listing(slow, clock=clock, timeout_s=20.0)
    assert isinstance(error, errors.Unreachable)
    assert wire.timeouts[0] == 20.0
    assert wire.timeouts[1] == pytest.approx(12.0 - 0.125)
    assert len(wire.timeouts) == 3


def test_every_byte_of_a_body_is_progress() -> None:
    clock = Clock()

    class Dripping(Answered):
        def chunks(self) -> Any:
            for piece in super().chunks():
                clock.now += 15
                yield piece

    rows, _, _ = listing(in_turn(Dripping(EMPTY, 200)), clock=clock, timeout_s=20.0)
    assert rows == []
    assert clock.now > 1100


def test_a_redirect_within_the_origin_is_followed_with_the_key() -> None:
    rows, wire, _ = listing(in_turn(Answered(b"", 307, {"Location": "/api/v1/developer/moved"}), EMPTY))
    assert rows == []
    assert wire.asked[1].path == "/moved"
    assert wire.asked[1].headers["X-API-Key"] == KEY


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.test/api/v1/developer/datasets/",
        "http://api.test/x",
        "//evil.test/x",
        "",
        "https://api.test:1/x",
    ],
)
def test_a_redirect_elsewhere_ends_in_a_fault_and_gets_no_key(location: str) -> None:
    error, wire, _ = listing(in_turn(Answered(b"", 302, {"Location": location}), EMPTY))
    assert type(error) is errors.ServerFault
    assert error.status == 302
    assert len(wire.asked) == 1


def test_redirects_in_a_circle_end() -> None:
    error, wire, _ = listing(in_turn(Answered(b"", 302, {"Location": "/x"})))
    assert type(error) is errors.ServerFault
    assert len(wire.asked) < 10


def test_every_answer_is_closed() -> None:
    _, wire, _ = listing(in_turn(BUSY, Answered(b"", 302, {"Location": "/x"}), Answered(b"x"), EMPTY))
    assert len(wire.answers) == 4
    assert all(answer.closed for answer in wire.answers)


def test_requests_counts_every_one_that_goes_out() -> None:
    client, wire, _ = client_of(in_turn(BUSY, Answered(b"", 302, {"Location": "/x"}), EMPTY))
    client.datasets.list()
    assert client.requests == len(wire.asked) == 3


def test_the_budget_is_what_the_answers_say() -> None:
    headers = {
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": "4321",
        "X-RateLimit-Reset": "1700004600",
    }
    client, _, _ = client_of(in_turn(Answered(EMPTY, 200, headers)))
    assert client.budget is None
    client.datasets.list()
    budget = client.budget
    assert budget is not None
    assert (budget.limit, budget.remaining, budget.reset_s) == (5000, 4321, 1700004600)


def test_a_background_call_leaves_the_reserve_alone_and_asks_nothing() -> None:
    headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "10", "X-RateLimit-Reset": "1700004600"}
    client, wire, _ = client_of(in_turn(Answered(EMPTY, 200, headers)))
    client.datasets.list()
    with client.call_class(1):
        with pytest.raises(errors.RateLimited) as caught:
            client.datasets.list()
        with client.call_class(0):
            client.datasets.list()
    client.datasets.list()
    assert caught.value.retry_after_s == pytest.approx(3600.0)
    assert len(wire.asked) == 3


def test_the_class_of_a_call_is_its_threads_own() -> None:
    headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "10", "X-RateLimit-Reset": "1700004600"}
    client, _, _ = client_of(in_turn(Answered(EMPTY, 200, headers)))
    client.datasets.list()
    found: list[Any] = []
    with client.call_class(2):
        thread = threading.Thread(target=lambda: found.append(client.datasets.list()))
        thread.start()
        thread.join(10)
    assert found == [[]]


@pytest.mark.parametrize("key", ["", "  \n"])
def test_without_a_key_nothing_is_asked(key: str) -> None:
    error, wire, _ = listing(in_turn(EMPTY), key=lambda: key)
    assert isinstance(error, errors.KeyRefused)
    assert wire.asked == []


@pytest.mark.parametrize("key", ["pk_live_\nX-Evil: 1", "pk_live_ü", "pk live", "pk_live_\x00"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key: str) -> None:
    error, wire, _ = listing(in_turn(EMPTY), key=lambda: key)
    assert isinstance(error, errors.KeyRefused)
    assert key not in str(error)
    assert wire.asked == []


def test_a_key_that_cannot_be_read_is_a_usage_error() -> None:
    def key() -> str:
        raise PermissionError(13, "Permission denied", "/secret/place")

    error, _, _ = listing(in_turn(EMPTY), key=key)
    assert isinstance(error, errors.UsageError)
    assert "/secret/place" not in str(error)


def test_a_new_key_is_used_from_the_next_request_on() -> None:
    keys = ["pk_old", "pk_new"]
    client, wire, _ = client_of(in_turn(EMPTY), key=lambda: keys.pop(0))
    client.datasets.list()
    client.datasets.list()
    assert [asked.headers["X-API-Key"] for asked in wire.asked] == ["pk_old", "pk_new"]


def test_closing_ends_a_wait() -> None:
    waiting = threading.Event()

    def busy(_: Asked) -> Any:
        waiting.set()
        return Answered({}, 503, {"Retry-After": "15"})

    client, wire, _ = client_of(busy, sleep=None)
    ended: list[BaseException] = []

    def call() -> None:
        try:
            client.datasets.list()
        except errors.PictofsError as error:
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert waiting.wait(10)
    client.close()
    thread.join(10)
    assert [type(error) for error in ended] == [errors.Unreachable]
    assert wire.closed
    with pytest.raises(errors.Unreachable):
        client.datasets.list()


# writes


def test_a_write_carries_the_same_idempotency_key_through_its_attempts() -> None:
    made = Answered({"data": {"id": "d", "name": "x"}}, 201)
    client, wire, _ = client_of(in_turn(BUSY, Broken("connection reset by peer"), made))
    assert client.projects.create("x").id == "d"
    keys = {asked.headers["Idempotency-Key"] for asked in wire.asked}
    assert len(wire.asked) == 3
    assert len(keys) == 1
    client.projects.create("x")
    assert wire.asked[-1].headers["Idempotency-Key"] not in keys


@pytest.mark.parametrize(
    ("setback", "attempts"),
    [
        (Broken("connection reset by peer"), 1),
        (Answered({}, 500), 1),
        (Broken("connection refused", unsent=True), 2),
        (Answered({}, 503), 2),
        (Answered({}, 429), 2),
    ],
)
def test_where_no_idempotency_key_is_known_only_what_was_surely_not_done_is_sent_again(
    setback: Any, attempts: int
) -> None:
    made = Answered({"id": "e", "name": "v1", "status": "pending"}, 201)
    client, wire, _ = client_of(in_turn(setback, made), dialect="a")
    dataset = Dataset(id="d", name="n", slug="s")
    if attempts == 1:
        with pytest.raises(errors.ServiceError):
            client.exports.create(dataset, "v1")
    else:
        assert client.exports.create(dataset, "v1").status == "pending"
    assert len(wire.asked) == attempts


def test_a_deletion_whose_answer_was_lost_is_done() -> None:
    client, wire, _ = client_of(in_turn(Broken("connection reset by peer"), Answered({}, 404)))
    assert client.exports.delete(Dataset(id="d", name="n"), "v1") == {}
    assert len(wire.asked) == 2


def test_a_deletion_of_what_is_not_there_is_told() -> None:
    client, _, _ = client_of(in_turn(Answered({}, 404)))
    with pytest.raises(errors.NotFound):
        client.exports.delete(Dataset(id="d", name="n"), "v1")


def test_a_write_that_is_redirected_as_a_read_is_refused() -> None:
    client, wire, _ = client_of(in_turn(Answered(b"", 302, {"Location": "/x"})))
    with pytest.raises(errors.ServerFault):
        client.projects.create("x")
    assert len(wire.asked) == 1
