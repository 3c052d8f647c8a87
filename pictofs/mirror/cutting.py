"""A member cut out of an archive, checked against the archive's own directory. Pure."""

from __future__ import annotations

import struct
import zipfile
import zlib

from pictofs.catalog.model import MemberRow
from pictofs.errors import Damaged

HEADER = struct.Struct("<4s5H3L2H")
HEADER_MARK = b"PK\x03\x04"
EXTRA_BYTES = 256          # of extra fields, at most, where the next member does not say where this one ends


def end_of(row: MemberRow, following: MemberRow | None, archive_bytes: int) -> int:
    """Where what has to be fetched of a member that begins at its header ends."""
    name_bytes = len(row.name.encode("utf-8", "surrogatepass")) + 1024  # directories above it included
    guess = row.header + HEADER.size + name_bytes + EXTRA_BYTES + row.packed_bytes
    if following is not None and following.method is not None and following.header > row.header:
        guess = min(guess, following.header)
    return min(guess, archive_bytes)


def cut(row: MemberRow, piece: bytes | memoryview) -> bytes:
    """The member's content out of `piece`, which begins with its local header.

    Damaged where mark, length or CRC-32 are not what the directory says, or it is packed in another way than
    by deflate.
    """
    try:
        mark, *_, name_bytes, extra_bytes = HEADER.unpack_from(piece)
    except struct.error:
        raise Damaged(f"{row.file_name} is cut off in its archive") from None
    at = HEADER.size + name_bytes + extra_bytes
    packed = bytes(piece[at : at + row.packed_bytes])
    if mark != HEADER_MARK or len(packed) != row.packed_bytes or row.encrypted:
        raise Damaged(f"{row.file_name} is not where its archive's directory says")
    content = _unpacked(row, packed)
    if len(content) != row.size_bytes or zlib.crc32(content) != row.crc32:
        raise Damaged(f"{row.file_name} is not what its archive's directory says")
    return content


def _unpacked(row: MemberRow, packed: bytes) -> bytes:
    if row.method == zipfile.ZIP_STORED:
        return packed
    if row.method != zipfile.ZIP_DEFLATED:
        raise Damaged(f"{row.file_name} is packed by method {row.method}")
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflating.decompress(packed, row.size_bytes + 1)  # a bomb ends here
    except zlib.error:
        content = b""
    if not inflating.eof and len(content) != row.size_bytes:
        raise Damaged(f"{row.file_name} cannot be inflated")
    return content
