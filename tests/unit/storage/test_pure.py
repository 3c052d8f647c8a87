"""The parts that decide: heads, addresses, retries, silence, the bucket."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.errors import TransferError
from pictofs.storage import Get
from pictofs.storage.address import described, origin, redirected
from pictofs.storage.answer import RETRY_AFTER_LIMIT_S, error_code, http_date_ns, read_lines
from pictofs.storage.bandwidth import Bucket
from pictofs.storage.retry import ATTEMPTS, FLOOR_BYTES_S, RETRIES, Budget, Cause, Watch


def lines(*text: str) -> list[bytes]:
    return [f"{line}\r\n".encode() for line in text] + [b"\r\n"]


def test_a_head_is_read_whatever_the_case_of_its_names() -> None:
    answer = read_lines(
        lines(
            "HTTP/1.1 206 Partial Content",
            "CONTENT-RANGE: bytes 5-9/20",
            "content-length: 5",
            'ETag: "e"',
            "X-Goog-Hash: crc32c=AAAAAA==, md5=abc=",
            "x-goog-generation: 9",
            "Retry-After: 1.5",
        )
    )
    assert answer is not None
    assert (answer.status, answer.first, answer.last, answer.total, answer.length) == (206, 5, 9, 20, 5)
    assert (answer.etag, answer.crc32c, answer.md5, answer.generation) == ('"e"', "AAAAAA==", "abc=", "9")
    assert answer.retry_after_s == 1.5


def test_the_hash_may_come_in_two_lines() -> None:
    answer = read_lines(lines("HTTP/2 200", "x-goog-hash: md5=m", "x-goog-hash: crc32c=c"))
    assert answer is not None
    assert (answer.md5, answer.crc32c) == ("m", "c")


def test_the_last_head_counts_and_an_unfinished_one_is_none() -> None:
    proxied = lines("HTTP/1.1 200 Connection established", "ETag: proxy") + lines("HTTP/1.1 404 Not Found")
    answer = read_lines(proxied)
    assert answer is not None
    assert (answer.status, answer.etag) == (404, "")
    assert read_lines(proxied[:-1]) is None
    assert read_lines([]) is None
    assert read_lines([b"\r\n"]) is None
    assert read_lines(lines("HTTP/1.1 nonsense")) is None


@pytest.mark.parametrize("value", ["soon", "", "-3", "nan"])
def test_a_retry_after_that_is_none_is_ignored(value: str) -> None:
    answer = read_lines(lines("HTTP/1.1 503 x", f"Retry-After: {value}"))
    assert answer is not None
    assert answer.retry_after_s is None


def test_a_retry_after_is_bounded() -> None:
    answer = read_lines(lines("HTTP/1.1 503 x", "Retry-After: 1e99"))
    assert answer is not None
    assert answer.retry_after_s == RETRY_AFTER_LIMIT_S


@given(st.integers(0, 4_102_444_800))
def test_http_dates_are_read_as_the_library_writes_them(moment_s: int) -> None:
    assert http_date_ns(formatdate(moment_s, usegmt=True)) == moment_s * 10**9


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_dates(text: str) -> None:
    assert http_date_ns(text) >= 0 or text.endswith("GMT")


def test_the_code_of_a_refusal_is_read_and_nothing_else() -> None:
    assert error_code(b"<Error><Code>ExpiredToken</Code><Message>x") == "ExpiredToken"
    assert error_code(b"<Error><Code>a b?c</Code>") == ""


def test_an_address_is_spoken_of_without_its_query() -> None:
    assert described("https://h.example/b/o%20x?X-Goog-Signature=s#f") == "h.example/b/o%20x"
    assert described("https://user:word@h/x?s") == "(a URL that is none)"
    assert len(described("https://h/" + "x" * 5000 + "?s")) < 300
    assert repr(Get("https://h/o?secret", 5)) == "Get(h/o, 5-)"


def test_origins_are_equal_where_the_host_is() -> None:
    assert (
        origin("HTTPS://Storage.Example:443/x")
        == origin("https://storage.example")
        == "https://storage.example"
    )
    assert origin("http://h:443/") == "http://h:443"
    assert origin("https://[::1]:8443/x") == "https://[::1]:8443"
    for wrong in ("https://h?x", "https://h#x", "https:///x", "gopher://h/", "https://u@h/x"):
        with pytest.raises(TransferError):
            origin(wrong)


def test_a_redirect_may_be_relative_and_must_not_leave_the_origin() -> None:
    assert redirected("https://h/a/b?s", "c?t") == "https://h/a/c?t"
    for elsewhere in ("https://g/", "//g/x", "http://h/a", "https://h:444/", "https://u@h/"):
        with pytest.raises(TransferError):
            redirected("https://h/a/b?s", elsewhere)


def test_a_get_is_held_to_an_order_of_its_ends() -> None:
    for first, last in ((5, 4), (-1, None), (None, -1)):
        with pytest.raises(ValueError, match="no bytes"):
            Get("http://h/", first, last)
    for etag in ('"a"\r\nX-Header: 1', '"é"'):
        with pytest.raises(ValueError, match="ETag"):
            Get("http://h/", if_match=etag)


def budget(draw: float = 0.5, timeout_s: float = 10.0) -> Budget:
    made = Budget(timeout_s, lambda: draw)
    made.began(0.0)
    return made


def test_the_first_broken_connection_is_made_again_at_once_and_later_ones_after_jitter() -> None:
    made = budget(draw=0.5)
    waits = [made.wait_s(Cause.CONNECTION, 0.0) for _ in range(RETRIES + 1)]
    assert waits[0] == 0.0
    assert waits[1:-1] == [0.2, 0.4, 0.8, 1.6]
    assert waits[-1] is None


def test_a_new_byte_begins_the_count_again_but_not_for_ever() -> None:
    made = budget()
    for attempt in range(1, ATTEMPTS):
        made.progressed(float(attempt))
        assert made.wait_s(Cause.CONNECTION, float(attempt)) == 0.0
        made.began(float(attempt))
    assert made.wait_s(Cause.CONNECTION, 1.0) is None


def test_what_lasts_is_not_tried_again() -> None:
    assert budget().wait_s(Cause.LASTING, 0.0) is None
    assert budget().wait_s(Cause.SINK, 0.0) is None


def test_without_a_new_byte_twice_the_timeout_is_the_end() -> None:
    made = budget(timeout_s=10.0)
    assert made.wait_s(Cause.TIMEOUT, 10.0) is not None
    assert made.watch(15.0).silence_s == 5.0
    assert made.wait_s(Cause.TIMEOUT, 20.0) is None
    assert budget(timeout_s=10.0).wait_s(Cause.STALLED, 20.5) is None


def test_retry_after_is_never_cut_short_and_never_outlasts_the_timeout() -> None:
    assert (budget(draw=0.99).wait_s(Cause.STATUS, 0.0, 8.0) or 0) >= 8.0
    assert budget(draw=0.0).wait_s(Cause.STATUS, 0.0, 10.1) is None


def test_two_stalls_are_free() -> None:
    made = budget()
    assert [made.wait_s(Cause.STALLED, 0.0) for _ in range(2)] == [0.0, 0.0]
    assert made.watch(0.0).silence is Cause.TIMEOUT


def test_silence_is_told_from_slowness() -> None:
    watch = Watch(0.0, patience_s=20.0, stall_s=5.0)
    assert watch.look(4.9, 0) is None
    assert watch.look(5.0, 0) is Cause.STALLED
    watch = Watch(0.0, patience_s=20.0, stall_s=5.0)
    for tenth in range(1, 200):
        assert watch.look(tenth / 10, tenth * FLOOR_BYTES_S // 8) is None
    for tenth in range(1, 49):
        assert watch.look(20 + tenth / 10, 10**6 + tenth) is None
    assert watch.look(30.0, 10**6 + 100) is Cause.STALLED
    patient = Watch(0.0, patience_s=20.0, stall_s=None)
    assert patient.look(19.9, 0) is None
    assert patient.look(20.0, 0) is Cause.TIMEOUT


def test_time_that_we_did_not_read_is_forgiven() -> None:
    watch = Watch(0.0, patience_s=2.0, stall_s=1.0)
    watch.forgive(50.0, 10)
    assert watch.look(50.9, 10) is None
    assert watch.look(51.0, 10) is Cause.STALLED


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5000)), max_size=60))
def test_the_bucket_never_lets_more_through_than_its_rate(steps: list[tuple[float, int]]) -> None:
    now_s = 0.0
    bucket = Bucket(1000, lambda: now_s)
    spent, largest = 0, 0
    for wait_s, size_bytes in steps:
        now_s += wait_s
        if bucket.debt_s() == 0:
            bucket.spend(size_bytes)
            spent += size_bytes
            largest = max(largest, size_bytes)
    assert spent <= 1000 * now_s + 250 + largest + 1


def test_the_bucket_says_how_long_its_debt_lasts() -> None:
    now_s = 0.0
    bucket = Bucket(1000, lambda: now_s)
    bucket.spend(1250)
    assert bucket.debt_s() == pytest.approx(1.0)
    now_s = 0.6
    assert bucket.debt_s() == pytest.approx(0.4)
    now_s = 50.0
    assert bucket.debt_s() == 0
