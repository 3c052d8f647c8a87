"""What both clients promise about many transfers: order, ceilings, the last word, secrets."""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pictofs.errors import PictofsError, TransferError
from pictofs.storage import Get, Got, Transfer
from tests.unit.storage.clients import LIMIT_S, Asked, Make, Outcome
from tests.unit.storage.host import Host, Treatment

HOLD = Treatment(cut=10, hold=True)


def test_connections_are_kept_and_used_again(make: Make, host: Host) -> None:
    asked = make(connections=3)
    urls = [host.put(f"/o{i}", bytes([i]) * 1000) for i in range(60)]
    outcomes = [asked.submit(Get(url))[1] for url in urls]
    for i, outcome in enumerate(outcomes):
        got = outcome.wait()
        assert isinstance(got, Got)
        assert bytes(got.body) == bytes([i]) * 1000
    assert host.connections <= 3
    assert asked.client.requests == 60
    assert asked.client.bytes_received == 60_000
    assert asked.client.active == 0
    assert asked.client.waiting == 0


def test_done_is_called_in_one_thread_of_the_client(asked: Asked, host: Host) -> None:
    outcomes = [asked.submit(Get(host.put(f"/o{i}", b"x")))[1] for i in range(20)]
    for outcome in outcomes:
        outcome.wait()
    assert {name for outcome in outcomes for name in outcome.threads} == {"pictofs-transfers"}


def test_the_ceiling_holds_and_can_be_moved_while_transfers_run(make: Make, host: Host) -> None:
    asked = make(connections=2, timeout_s=4.0)
    held = [asked.submit(Get(host.put(f"/h{i}", b"x" * 50, HOLD))) for i in range(6)]
    host.wait_asked(2)
    assert asked.client.active == 2
    assert asked.client.waiting == 4
    asked.client.set_connections(5)
    host.wait_asked(5)
    assert host.most_active == 5
    asked.client.set_connections(1)
    for transfer, _ in held:
        assert asked.client.cancel(transfer)
    for i in range(5):
        assert asked.got(host.put(f"/n{i}", b"new")).body_bytes == 3
    host.most_active = 0
    for outcome in [asked.submit(Get(host.put(f"/m{i}", b"new")))[1] for i in range(10)]:
        assert isinstance(outcome.wait(), Got)
    assert host.most_active == 1


def test_what_is_submitted_before_the_start_begins_with_it(make: Make, host: Host) -> None:
    asked = make(start=False)
    _, outcome = asked.submit(Get(host.put("/o", b"early")))
    assert asked.client.waiting == 1
    asked.client.start()
    got = outcome.wait()
    assert isinstance(got, Got)
    assert bytes(got.body) == b"early"
    with pytest.raises(RuntimeError):
        asked.client.start()


def test_a_cancelled_transfer_says_nothing_wherever_it_is(make: Make, host: Host) -> None:
    asked = make(connections=1, timeout_s=4.0)
    running, first = asked.submit(Get(host.put("/held", b"x" * 50, HOLD)))
    waiting, second = asked.submit(Get(host.put("/waiting", b"y")))
    host.wait_asked(1)
    assert asked.client.cancel(waiting)
    assert asked.client.cancel(running)
    assert not asked.client.cancel(running)
    done, third = asked.submit(Get(host.put("/next", b"z")))
    assert isinstance(third.wait(), Got)
    assert not asked.client.cancel(done)
    assert (first.calls, second.calls) == ([], [])
    assert host.asked("/waiting") == []


def test_a_transfer_cancelled_between_two_attempts_is_not_tried_again(make: Make, host: Host) -> None:
    asked = make(draw=lambda: 0.99)
    busy = [Treatment(status=503)] * 4
    transfer, outcome = asked.submit(Get(host.put("/busy", b"x", *busy)))
    host.wait_asked(1)
    assert asked.client.cancel(transfer)
    asked.got(host.put("/o", b"x"))
    asked.client.stop()
    assert outcome.calls == []
    assert len(host.asked("/busy")) <= 2


def test_stopping_gives_the_last_word_to_every_transfer(make: Make, host: Host) -> None:
    asked = make(connections=2, timeout_s=4.0)
    outcomes = [asked.submit(Get(host.put(f"/h{i}", b"x" * 50, HOLD)))[1] for i in range(5)]
    _, later = asked.submit(Get(host.put("/busy", b"x")))
    host.wait_asked(2)
    asked.client.stop()
    for outcome in [*outcomes, later]:
        error = outcome.wait()
        assert type(error) is TransferError
        assert "stopped" in str(error)
    with pytest.raises(TransferError):
        asked.client.submit(Get(host.put("/o", b"x")), later)
    asked.client.stop()


def test_a_client_that_never_started_can_be_stopped(make: Make, host: Host) -> None:
    asked = make(start=False)
    _, outcome = asked.submit(Get(host.put("/o", b"x")))
    asked.client.stop()
    assert type(outcome.wait()) is TransferError


def test_everything_may_be_called_from_within_done(make: Make, host: Host) -> None:
    asked = make(connections=2, timeout_s=4.0)
    held, silent = asked.submit(Get(host.put("/held", b"x" * 50, HOLD)))
    host.wait_asked(1)
    then = Outcome()

    def done(outcome: Got | PictofsError) -> None:
        assert asked.client.cancel(held)
        asked.client.set_connections(3)
        asked.client.submit(Get(host.put("/second", b"2")), last)

    def last(outcome: Got | PictofsError) -> None:
        asked.client.stop()
        then(outcome)

    asked.client.submit(Get(host.put("/first", b"1")), done)
    assert isinstance(then.wait(), Got)
    assert silent.calls == []


@pytest.mark.logs_traceback
def test_a_done_that_raises_is_logged_once_and_stops_nothing(
    asked: Asked, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(outcome: Got | PictofsError) -> None:
        raise ZeroDivisionError("on purpose")

    for i in range(3):
        asked.client.submit(Get(host.put(f"/o{i}", b"x")), fails)
    assert asked.got(host.put("/o", b"x")).whole
    asked.client.stop()
    traces = [record for record in caplog.records if record.exc_info]
    assert len(traces) == 1
    assert "callback" in traces[0].getMessage()


def test_progress_tells_bytes_while_they_come(make: Make, host: Host) -> None:
    asked = make(timeout_s=2.0)
    told: list[int] = []
    _, outcome = asked.submit(
        Get(host.put("/o", b"x" * 40_000, Treatment(drip=2000, pause_s=0.03))), told.append
    )
    got = outcome.wait()
    assert isinstance(got, Got)
    assert told == sorted(told)
    assert len(told) >= 2
    assert told[-1] == 40_000


def test_the_bandwidth_ceiling_is_shared(make: Make, host: Host) -> None:
    asked = make(bandwidth_bytes_s=400_000)
    began_s = time.monotonic()
    outcomes = [asked.submit(Get(host.put(f"/o{i}", bytes([i]) * 50_000)))[1] for i in range(8)]
    for i, outcome in enumerate(outcomes):
        got = outcome.wait()
        assert isinstance(got, Got)
        assert bytes(got.body) == bytes([i]) * 50_000
        assert got.attempts == 1
    # 400,000 bytes: a quarter of a second's worth at once, and one buffer each may be overdrawn.
    assert 0.5 <= time.monotonic() - began_s < 4


def test_nobody_that_is_no_client_is_asked_for_a_name(
    asked: Asked, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("PICTOGRAPH_API_KEY", "pk_live_secret")
    cookie = Treatment(edit=lambda head: head.update({"Set-Cookie": "session=1; Path=/"}))
    for _ in range(2):
        asked.got(host.put("/o", b"x", cookie))
    for seen in host.seen:
        names = {name for name, _ in seen.headers}
        assert names <= {"host", "user-agent", "accept", "accept-encoding", "connection", "range", "if-match"}
        assert seen.header("accept-encoding") in (None, "identity")


def test_a_signed_url_is_in_no_message_and_no_log(
    make: Make, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = make(timeout_s=1.0, draw=lambda: 0.0)
    texts = []
    treatments = [
        *(Treatment(status=status, body=b"x") for status in (400, 404, 405, 412)),
        Treatment(
            status=302,
            edit=lambda head: head.update({"Location": "http://127.0.0.2/y?X-Goog-Signature=5ec2e7"}),
        ),
        Treatment(cut=3, reset=True),
        Treatment(cut=0, reset=True),
        Treatment(corrupt=1),
        Treatment(cut=5),
        Treatment(status=503),
        Treatment(edit=lambda head: head.update({"Content-Length": "nonsense"}), cut=0, reset=True),
    ]
    for treatment in treatments:
        url = host.put("/bucket/x.jpg", b"0123456789")
        host.always = treatment
        transfer, outcome = asked.submit(Get(url))
        error = outcome.wait()
        if isinstance(error, PictofsError):
            assert "127.0.0.1" in str(error)
            assert "/bucket/x.jpg" in str(error)
            assert error.__cause__ is None
            texts.append(repr(error.__context__))
        texts += [repr(transfer), repr(transfer.get), repr(asked.client), str(error), repr(error)]
    texts.append(str(asked.error("http://127.0.0.1:1/bucket/x.jpg?X-Goog-Signature=5ec2e7")))
    texts += [logging.Formatter().format(record) for record in caplog.records]
    texts += [repr(record.args) for record in caplog.records]
    assert any("again in" in text for text in texts)
    for text in texts:
        assert "5ec2e7" not in text


def test_descriptors_beyond_1024_are_as_good_as_any(make: Make, host: Host) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    try:
        with ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(open(os.devnull, "rb"))
            assert make().got(host.put("/o", b"x" * 100_000, Treatment(cut=50_000))).whole
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_absent_host_is_an_error_within_a_bound(make: Make) -> None:
    asked = make(timeout_s=2.0)
    began_s = time.monotonic()
    error = asked.error("http://127.0.0.1:1/x")
    assert type(error) is TransferError
    assert "given up after 6 attempts" in str(error)
    assert "does not resolve" in str(asked.error("http://no.such.host.invalid/x"))
    assert time.monotonic() - began_s < 8


def test_transfers_are_submitted_and_cancelled_from_many_threads(make: Make, host: Host) -> None:
    asked = make(connections=6)
    url = host.put("/o", b"x" * 5000)
    counted = threading.Lock()
    said: dict[int, int] = {}
    cancelled: set[int] = set()

    def work(number: int) -> None:
        for i in range(40):
            key = number * 1000 + i

            def done(outcome: Got | PictofsError, key: int = key) -> None:
                with counted:
                    said[key] = said.get(key, 0) + 1

            transfer: Transfer = asked.client.submit(Get(url), done)
            if i % 3 == 0 and asked.client.cancel(transfer):
                with counted:
                    cancelled.add(key)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    asked.got(url)
    asked.client.stop()
    assert set(said) | cancelled == {n * 1000 + i for n in range(5) for i in range(40)}
    assert not set(said) & cancelled
    assert set(said.values()) == {1}
