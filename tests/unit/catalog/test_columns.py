"""What lies in a column comes back as it went in."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictofs.catalog import columns


@given(st.uuids() | st.text())
def test_ids_come_back(value: uuid.UUID | str) -> None:
    text = str(value)
    assert columns.unpack_id(columns.pack_id(text)) == columns.storable(text)


def test_a_canonical_uuid_takes_sixteen_bytes_and_nothing_else_does() -> None:
    canonical = "6f3c2d1e-0000-4000-8000-00000000000a"
    assert len(columns.pack_id(canonical)) == 16
    for other in (
        canonical.upper(),
        canonical.replace("-", ""),
        "{" + canonical[2:] + "}",
        "img_1",
        "x" * 36,
    ):
        assert columns.pack_id(other) == other


def test_an_object_without_an_id_is_known_by_directory_name_and_ordinal() -> None:
    keys = {columns.identity("", path, name, n) for path in ("", "a") for name in ("a", "b") for n in (0, 1)}
    assert len(keys) == 8
    assert {columns.unpack_id(key) for key in keys} == {""}


@given(st.text() | st.integers(min_value=0).map(str))
def test_generations_come_back(text: str) -> None:
    assert columns.unpack_number(columns.pack_number(text)) == columns.storable(text)


@given(st.text() | st.binary(max_size=40).map(bytes.hex))
def test_digests_come_back(text: str) -> None:
    assert columns.unpack_digest(columns.pack_digest(text)) == columns.storable(text)


@given(st.lists(st.text()).map(tuple))
def test_tags_come_back(tags: tuple[str, ...]) -> None:
    assert columns.unpack_tags(columns.pack_tags(tags)) == tags


@given(st.integers(0, 2**62), st.integers(0, 2**30), st.binary(min_size=4, max_size=4))
def test_paths_of_the_store_take_four_bytes(node: int, block: int, raw: bytes) -> None:
    path = f"store/{node >> 18:x}/{node:x}.{block:x}.{raw.hex()}"
    assert columns.pack_path(node, block, path) == raw
    assert columns.unpack_path(node, block, raw) == path


@given(st.integers(0, 2**62), st.text())
def test_other_paths_come_back(node: int, path: str) -> None:
    assert columns.unpack_path(node, 0, columns.pack_path(node, 0, path)) == path


@pytest.mark.parametrize(
    ("path", "remote"), [("/", "/"), ("/a/b", "/a/b"), ("/a%252Fb", "/a%2Fb"), ("/%2E%2E/x", "/../x")]
)
def test_directories_come_back(path: str, remote: str) -> None:
    assert columns.unpack_directory(path) == remote
    assert "/" + "/".join(columns.pack_directory(remote)) == path


def test_a_key_leaves_only_a_salted_digest() -> None:
    digest = columns.key_digest(b"s" * 16, "https://a", "pk_live_x")
    assert digest != columns.key_digest(b"t" * 16, "https://a", "pk_live_x")
    assert digest != columns.key_digest(b"s" * 16, "https://b", "pk_live_x")
    assert b"pk_live" not in digest
