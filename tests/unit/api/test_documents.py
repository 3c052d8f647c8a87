from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.api.documents import NotJson, decode, load, render
from pictofs.errors import ServerFault


def test_a_document_keeps_the_services_key_order_and_its_unicode() -> None:
    body = '{"z":1,"a":{"y":[1,2.50,{}],"b":"ü☃"},"m":null}'.encode()
    lines = ["{", '  "z": 1,', '  "a": {', '    "y": [', "      1,", "      2.5,", "      {}", "    ],"]
    lines += ['    "b": "ü☃"', "  },", '  "m": null', "}", ""]
    assert render(decode(body)) == "\n".join(lines).encode()


def test_numbers_are_what_python_reads() -> None:
    body = b"[123456789012345678901234567890, 1e2, -0.0, 0.1]"
    assert render(load(body)) == b"[\n  123456789012345678901234567890,\n  100.0,\n  -0.0,\n  0.1\n]\n"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"a": 1', b"NaN", b'{"a": Infinity}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_json_is_told_without_quoting_it(body: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        decode(body)
    assert caught.value.__context__ is None
    assert str(caught.value) == "the answer is not JSON"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_document_is_byte_for_byte_what_the_standard_library_would_write(value: object) -> None:
    assert render(value) == json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def test_what_is_nested_too_deeply_is_the_services_fault() -> None:
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ServerFault):
        render(value)


def test_a_lone_surrogate_is_kept_as_its_escape() -> None:
    value = decode(b'{"name": "\\ud800x"}')
    assert render(value) == b'{\n  "name": "\\ud800x"\n}\n'
    assert json.loads(render(value)) == value


def test_a_number_that_json_cannot_hold_is_the_services_fault() -> None:
    with pytest.raises(ServerFault):
        render(load(b"[1e999]"))
