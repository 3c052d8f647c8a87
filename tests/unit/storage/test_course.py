"""The course of one transfer on a wire that breaks wherever it likes: no wrong byte ever comes out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from pictofs.errors import Damaged, ObjectChanged, PictofsError, TransferError
from pictofs.storage import Get, Got
from pictofs.storage.answer import Answer, base64_of
from pictofs.storage.course import Again, Ask, Course
from pictofs.storage.retry import ATTEMPTS, Cause, Failure

VERSIONS = (bytes(range(100)), bytes(range(100, 200)))


@dataclass
class Event:
    """What one attempt meets: which version, whether Range is known, where it breaks, and how."""

    version: int
    ranged: bool
    length: int
    cause: Cause | None
    corrupt: bool
    named: bool
    slices: int


EVENTS = st.builds(
    Event,
    version=st.sampled_from((0, 0, 0, 1)),
    ranged=st.booleans(),
    length=st.integers(0, 120),
    cause=st.sampled_from((None, Cause.CONNECTION, Cause.TRUNCATED, Cause.STALLED, Cause.TIMEOUT)),
    corrupt=st.sampled_from((False, False, False, True)),
    named=st.sampled_from((True, True, False)),
    slices=st.integers(1, 40),
)


def play(course: Course, ask: Ask, event: Event) -> Got | PictofsError | Again:
    data = VERSIONS[event.version]
    etag = f'"{event.version}"' if event.named else ""
    if ask.if_match not in (None, etag):
        return end(course, Answer(412), b"", None)
    answer = Answer(200, length=len(data), etag=etag)
    answer.crc32c = base64_of(google_crc32c.value(data).to_bytes(4, "big"))
    body = data
    if ask.span is not None and event.ranged:
        first, _, last = ask.span.partition("-")
        body = data[int(first) : int(last) + 1 if last else None]
        if not body:
            return end(course, Answer(416, total=len(data)), b"", None)
        answer.status, answer.length = 206, len(body)
        answer.first, answer.last, answer.total = int(first), int(first) + len(body) - 1, len(data)
    sent = body if event.cause is None else body[: event.length]
    if event.corrupt and sent:
        sent = bytes([sent[0] ^ 1]) + sent[1:]
    if course.begin(answer):
        for at in range(0, len(sent), event.slices):
            if not course.take(sent[at : at + event.slices]):
                break
    return course.end(None if event.cause is None else Failure(event.cause, "broke"))


def end(course: Course, answer: Answer, body: bytes, failure: Failure | None) -> Got | PictofsError | Again:
    course.begin(answer)
    return course.end(failure, body)


@given(
    events=st.lists(EVENTS, max_size=30),
    span=st.one_of(
        st.none(),
        st.tuples(st.integers(0, 99), st.none()),
        st.tuples(st.integers(0, 50), st.integers(50, 150)),
    ),
)
def test_what_comes_out_is_the_range_of_one_version_or_an_error(
    events: list[Event], span: tuple[int, int | None] | None
) -> None:
    seconds = count()
    get = Get("http://h/o?secret") if span is None else Get("http://h/o?secret", *span)
    course = Course(get, timeout_s=1e9, clock=lambda: float(next(seconds)), draw=lambda: 0.5)
    first, last = (0, None) if span is None else span
    healthy = Event(0, True, 0, None, False, True, 1000)
    for event in [*events, *[healthy] * ATTEMPTS]:
        outcome = play(course, course.ask(), event)
        if not isinstance(outcome, Again):
            break
    if isinstance(outcome, Got):
        bodies = [data[first : None if last is None else last + 1] for data in VERSIONS]
        corrupt_part = any(event.corrupt for event in events) and not outcome.whole
        assert bytes(outcome.body) in bodies or corrupt_part
        assert outcome.crc32c == google_crc32c.value(bytes(outcome.body))
        assert outcome.body_bytes == len(outcome.body) == len(bodies[0])
    else:
        assert isinstance(outcome, TransferError)
        assert "secret" not in str(outcome)


@given(events=st.lists(EVENTS, max_size=30))
def test_every_course_ends_within_its_attempts(events: list[Event]) -> None:
    seconds = count()
    course = Course(Get("http://h/o"), timeout_s=1e9, clock=lambda: float(next(seconds)), draw=lambda: 0.5)
    dead = Event(0, True, 0, Cause.CONNECTION, False, True, 10)
    for event in [*events, *[dead] * (ATTEMPTS + 1)][: ATTEMPTS + 1]:
        outcome = play(course, course.ask(), event)
        if not isinstance(outcome, Again):
            return
    raise AssertionError("it went on")


def test_a_version_that_changes_under_a_broken_transfer_is_told() -> None:
    course = Course(Get("http://h/o"), timeout_s=10, clock=lambda: 0.0, draw=lambda: 0.5)
    broken = Event(0, True, 50, Cause.CONNECTION, False, True, 10)
    assert isinstance(play(course, course.ask(), broken), Again)
    assert isinstance(play(course, course.ask(), Event(1, True, 0, None, False, True, 10)), ObjectChanged)


def test_corruption_twice_is_damage() -> None:
    course = Course(Get("http://h/o"), timeout_s=10, clock=lambda: 0.0, draw=lambda: 0.5)
    wrong = Event(0, True, 0, None, True, True, 10)
    assert isinstance(play(course, course.ask(), wrong), Again)
    assert isinstance(play(course, course.ask(), wrong), Damaged)
