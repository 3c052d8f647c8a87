from __future__ import annotations

import base64
import hashlib
import io
import struct
from pathlib import Path

import cv2
import google_crc32c
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pictofs.emulator.content import BytesContent, Content, FileContent, StoredObject, hashes_of
from pictofs.emulator.padding import Prefix, padded
from pictofs.emulator.picture import dimensions_of, picture


def template(kind: str) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 30, 40)).save(body, kind)
    return body.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("more", [0, 20, 21, 70, 65_535, 65_537, 65_540, 65_549, 131_080, 300_000])
def test_a_padded_picture_has_the_wanted_length_and_decodes_everywhere(kind: str, more: int) -> None:
    plain = template(kind)
    body = padded(plain, len(plain) + more, salt=7)
    assert len(body) == len(plain) + more
    with Image.open(io.BytesIO(body)) as opened:
        opened.load()
        assert opened.size == (20, 10)
    assert cv2.imdecode(numpy.frombuffer(body, numpy.uint8), cv2.IMREAD_COLOR).shape == (10, 20, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_cannot_be_padded_by_too_little(kind: str) -> None:
    plain = template(kind)
    for size in (len(plain) - 1, len(plain) + 1, len(plain) + 11):
        with pytest.raises(ValueError, match="bytes"):
            padded(plain, size, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@given(start=st.integers(0, 5000), end=st.integers(0, 5000), salt=st.integers(0, 2**40))
def test_any_slice_of_a_prefixed_picture_is_the_slice_of_its_whole(
    kind: str, start: int, end: int, salt: int
) -> None:
    content = Prefix(template(kind), 3000, 5).content(5000, salt)
    whole = content.read(0, 5000)
    assert len(whole) == content.size == 5000
    assert content.read(start, max(start, end)) == whole[start : max(start, end)]


def test_prefixed_pictures_of_different_salts_differ_and_are_valid() -> None:
    prefix = Prefix(template("JPEG"), 3000, 5)
    bodies = {prefix.content(5000, salt).read(0, 5000) for salt in range(50)}
    assert len(bodies) == 50
    for body in bodies:
        assert dimensions_of(body) == (20, 10)


def contents(tmp_path: Path) -> list[Content]:
    (tmp_path / "file").write_bytes(b"abc" * 1_000_000)
    return [
        BytesContent(b""),
        BytesContent(b"x" * 70_000),
        FileContent(tmp_path / "file"),
        Prefix(template("PNG"), 3000, 5).content(6000, 1),
    ]


def test_checksums_are_those_of_the_bytes_that_are_served(tmp_path: Path) -> None:
    for number, content in enumerate(contents(tmp_path)):
        body = content.read(0, content.size)
        found = hashes_of(StoredObject(f"checksums {number}", content, "image/png", 1, 1))
        assert found.md5 == base64.b64encode(hashlib.md5(body).digest()).decode()
        assert found.crc32c == base64.b64encode(struct.pack(">I", google_crc32c.value(body))).decode()
        assert found.etag == f'"{hashlib.md5(body).hexdigest()}"'


def test_a_file_that_shrank_is_an_error_and_never_a_short_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    content = FileContent(path)
    path.write_bytes(b"x" * 50)
    with pytest.raises(OSError, match="shorter"):
        content.read(0, 100)


def test_a_made_picture_has_the_size_and_kind_that_were_asked_for() -> None:
    assert len(picture("a.png", 1, 5000)) == 5000
    assert picture("a.png", 1, 5000).startswith(b"\x89PNG")
    assert picture("a.jpg", 1, None) != picture("a.jpg", 2, None)
    assert dimensions_of(b"no picture") == (0, 0)
