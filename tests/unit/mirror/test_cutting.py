"""A member cut out of an archive: whole and checked, or Damaged."""

from __future__ import annotations

import io
import zipfile

import pytest

from pictofs.catalog.model import MemberRow
from pictofs.errors import Damaged
from pictofs.mirror.cutting import cut, end_of

BODY = bytes(range(256)) * 8


def archive(method: int) -> tuple[bytes, list[MemberRow]]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name in ("d/a.bin", "d/b.bin"):
            made.writestr(name, BODY)
        infos = made.infolist()
    rows = [
        MemberRow(
            number, 1, 0, info.filename.rpartition("/")[2], info.filename.rpartition("/")[2],
            info.compress_type, False, info.header_offset, info.compress_size, info.file_size, info.CRC, None,
        )
        for number, info in enumerate(infos, 1)
    ]  # fmt: skip
    return buffer.getvalue(), rows


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_cut_out_of_just_the_bytes_up_to_the_next_one(method: int) -> None:
    whole, (first, second) = archive(method)
    assert end_of(first, second, len(whole)) == second.header
    assert cut(first, whole[first.header : second.header]) == BODY
    end = end_of(second, None, len(whole))
    assert end <= len(whole)
    assert cut(second, memoryview(whole)[second.header : end]) == BODY


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_byte_anywhere_in_a_member_is_damage(method: int) -> None:
    whole, (first, second) = archive(method)
    piece = bytearray(whole[first.header : second.header])
    data = len(piece) - first.packed_bytes
    for at in (0, data, data + first.packed_bytes // 2):
        wrong = bytearray(piece)
        wrong[at] ^= 0x55
        with pytest.raises(Damaged):
            cut(first, wrong)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_lengths_that_do_not_agree_are_damage(method: int) -> None:
    whole, (first, second) = archive(method)
    piece = whole[first.header : second.header]
    for row in (
        first._replace(size_bytes=first.size_bytes - 1),
        first._replace(size_bytes=first.size_bytes + 1),
        first._replace(crc32=first.crc32 ^ 1),
        first._replace(method=zipfile.ZIP_BZIP2),
        first._replace(encrypted=True),
    ):
        with pytest.raises(Damaged):
            cut(row, piece)
    for short in (b"", piece[:10], piece[:-1]):
        with pytest.raises(Damaged):
            cut(first, short)
