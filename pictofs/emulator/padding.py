"""Pictures grown to a wanted length by bytes that decoders skip: a small one stands for a big file.

The filler is incompressible and differs by salt. Synthetic images share prefixes: a `Prefix` holds a
picture's head with most of its filler and the running checksums of both, so that an image's own bytes and
checksums cost only its tail.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable

import google_crc32c

_NOISE = hashlib.shake_256(b"pictofs emulator").digest(128 * 1024)
_SEGMENT = 65_533  # payload of a full JPEG comment segment (65,535 less its own length field)
_JPEG_LEAST, _PNG_LEAST = 12, 20  # a segment or chunk with its salt
_PNG_HEAD = 8 + 25  # signature and IHDR
Filler = Callable[[int, int], bytes]


def _noise(start: int, length: int) -> bytes:
    start %= len(_NOISE)
    repeats = (start + length) // len(_NOISE) + 1
    return (_NOISE * repeats)[start : start + length] if repeats > 1 else _NOISE[start : start + length]


def jpeg_filler(length: int, salt: int) -> bytes:
    """Comment segments of exactly `length` bytes: 0, or at least 12. Raises ValueError for less."""
    if 0 < length < _JPEG_LEAST:
        raise ValueError(f"a JPEG grows by {_JPEG_LEAST} bytes or more")
    parts = []
    while length:
        payload = min(_SEGMENT, length - 4)
        if 0 < length - 4 - payload < _JPEG_LEAST:  # what is left must hold another segment
            payload -= _JPEG_LEAST
        own = struct.pack(">Q", salt & (1 << 64) - 1)
        parts.append(b"\xff\xfe" + struct.pack(">H", payload + 2) + own)
        parts.append(_noise(salt * 0x9E3779B1 + length, payload - 8))
        length -= payload + 4
    return b"".join(parts)


def png_filler(length: int, salt: int) -> bytes:
    """A private ancillary chunk of exactly `length` bytes: 0, or at least 20. Raises ValueError for less."""
    if not length:
        return b""
    if length < _PNG_LEAST:
        raise ValueError(f"a PNG grows by {_PNG_LEAST} bytes or more")
    payload = b"paDd" + struct.pack(">Q", salt & (1 << 64) - 1) + _noise(salt * 0x9E3779B1, length - 20)
    return struct.pack(">I", length - 12) + payload + struct.pack(">I", zlib.crc32(payload))


def padded(template: bytes, size: int, salt: int) -> bytes:
    """A JPEG or PNG grown to exactly `size` bytes. Raises ValueError where that is too short."""
    head, filler = split(template)
    if size < len(template):
        raise ValueError(f"the picture itself takes {len(template)} bytes")
    return template[:head] + filler(size - len(template), salt) + template[head:]


def split(template: bytes) -> tuple[int, Filler]:
    """Where filler goes into a JPEG or PNG, and the function that makes it."""
    return (_PNG_HEAD, png_filler) if template.startswith(b"\x89PNG") else (2, jpeg_filler)


class Prefix:
    """The first bytes that many pictures share, with their checksums so far."""

    def __init__(self, template: bytes, length: int, salt: int) -> None:
        head, self._filler = split(template)
        self._rest = template[head:]
        self.body = template[:head] + self._filler(length - head, salt)
        self._md5 = hashlib.md5(self.body, usedforsecurity=False)
        self._crc32c: int = google_crc32c.extend(0, self.body)
        self._last = (-1, -1, b"")  # the tail made last: its checksums and its bytes are asked for in one go

    def content(self, size: int, salt: int) -> PrefixedContent:
        """The picture of exactly `size` bytes whose tail has this salt."""
        return PrefixedContent(self, size, salt)

    def tail(self, size: int, salt: int) -> bytes:
        """What follows the prefix in that picture."""
        if self._last[:2] != (size, salt):
            own = self._filler(size - len(self.body) - len(self._rest), salt)
            self._last = (size, salt, own + self._rest)
        return self._last[2]

    def checksums(self, tail: bytes) -> tuple[int, bytes]:
        """crc32c and md5 of prefix and tail together."""
        md5 = self._md5.copy()
        md5.update(tail)
        return google_crc32c.extend(self._crc32c, tail), md5.digest()


class PrefixedContent:
    """A picture on demand: a shared prefix and a tail of its own."""

    __slots__ = ("_prefix", "_salt", "size")

    def __init__(self, prefix: Prefix, size: int, salt: int) -> None:
        self._prefix, self.size, self._salt = prefix, size, salt

    def read(self, start: int, end: int) -> bytes:
        """The asked slice."""
        return b"".join(self.pieces(start, end))

    def pieces(self, start: int, end: int) -> list[bytes | memoryview]:
        """The asked slice: of the prefix, of the tail, or one of each. The prefix is not copied."""
        shared = len(self._prefix.body)
        found: list[bytes | memoryview] = []
        if start < shared:
            found.append(memoryview(self._prefix.body)[start:end])
        if end > shared:
            tail = self._prefix.tail(self.size, self._salt)
            found.append(tail[max(0, start - shared) : end - shared])
        return found

    def checksums(self) -> tuple[int, bytes]:
        """crc32c and md5 of the whole."""
        return self._prefix.checksums(self._prefix.tail(self.size, self._salt))
