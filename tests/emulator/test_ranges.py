from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.emulator.ranges import Unsatisfiable, byte_range, precondition, range_holds

ETAG = '"abc"'
MODIFIED_S = 784111777
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-1000", (0, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 1 - 2", (1, 3)),
        ("bytes=5-4", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("0-1", None),
        ("bytes=--1", None),
    ],
)
def test_a_range_header_means_what_the_rfc_says(header: str, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_without_a_byte_of_the_object_is_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        byte_range(header, size)


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_closed_range_is_the_slice_of_its_ends(body: bytes, first: int, last: int) -> None:
    try:
        found = byte_range(f"bytes={first}-{last}", len(body))
    except Unsatisfiable:
        assert first >= len(body)
        return
    assert (body[found[0] : found[1]] if found else b"") == body[first : last + 1]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({b"if-match": b'"abc"'}, 200),
        ({b"if-match": b'"x", "abc"'}, 200),
        ({b"if-match": b"*"}, 200),
        ({b"if-match": b'"x"'}, 412),
        ({b"if-match": b'W/"abc"'}, 412),
        ({b"if-none-match": b'"abc"'}, 304),
        ({b"if-none-match": b'W/"abc"'}, 304),
        ({b"if-none-match": b'"x"'}, 200),
        ({b"if-modified-since": DATE}, 304),
        ({b"if-modified-since": b"Sun, 06 Nov 1994 08:49:36 GMT"}, 200),
        ({b"if-modified-since": DATE, b"if-none-match": b'"x"'}, 200),
        ({b"if-modified-since": b"yesterday"}, 200),
        ({b"if-unmodified-since": DATE}, 200),
        ({b"if-unmodified-since": b"Sun, 06 Nov 1994 08:49:36 GMT"}, 412),
        ({b"x-goog-if-generation-match": b"7"}, 200),
        ({b"x-goog-if-generation-match": b"8"}, 412),
    ],
)
def test_conditional_headers_decide_before_the_range(headers: dict[bytes, bytes], expected: int) -> None:
    assert precondition(headers, ETAG, MODIFIED_S, 7) == expected


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [(None, True), (b'"abc"', True), (b'"x"', False), (b'W/"abc"', False), (DATE, True), (b"junk", False)],
)
def test_if_range_honours_the_range_only_of_the_same_version(if_range: bytes | None, expected: bool) -> None:
    assert range_holds(if_range, ETAG, MODIFIED_S) is expected
