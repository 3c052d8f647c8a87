from __future__ import annotations

import json

import pytest

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


def test_a_lone_surrogate_is_kept_as_its_escape() -> None:
    value = decode(b'{"name": "\\ud800x"}')
    assert render(value) == b'{\n  "name": "\\ud800x"\n}\n'
    assert json.loads(render(value)) == value


def test_a_number_that_json_cannot_hold_is_the_services_fault() -> None:
    with pytest.raises(ServerFault):
        render(load(b"[1e999]"))
