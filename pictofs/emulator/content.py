"""The bytes behind storage objects: in memory, in a file, or made on demand; and their checksums.

A `StoredObject` is one object of the storage host in one generation. Replacing an object makes a new one under the
same key with a higher generation; its checksums are computed once per generation, when first asked for.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import google_crc32c

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".zip": "application/zip",
}
_PIECE = 1 << 20  # checksums of big objects are taken in pieces of 1 MiB
_KEPT_BYTES = 64 * 1024 * 1024  # bodies made on demand that stay in memory
_KEPT_HASHES = 100_000  # about 25 MB of digests


def content_type_of(filename: str) -> str:
    """The MIME type that the name's extension stands for."""
    return CONTENT_TYPES.get(os.path.splitext(filename)[1].lower(), "application/octet-stream")


class Content(Protocol):
    """A fixed run of bytes."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from start up to, not including, end. Raises OSError where they cannot be had."""


class BytesContent:
    """Bytes held in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size = len(body)

    def read(self, start: int, end: int) -> bytes:
        """A slice of the body; the body itself, uncopied, when all of it is asked for."""
        return self._body if start == 0 and end == self.size else self._body[start:end]


class FileContent:
    """A file on disk, opened per read; its size is taken once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def read(self, start: int, end: int) -> bytes:
        """Exactly the asked bytes; OSError when the file has shrunk or gone."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            body = os.pread(descriptor, end - start, start)
        finally:
            os.close(descriptor)
        if len(body) != end - start:
            raise OSError(f"{self._path.name}: shorter than when it was listed")
        return body


class _KeptBodies:
    """Least recently used bodies, bounded by their total length."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._bodies: OrderedDict[object, bytes] = OrderedDict()

    def get(self, key: object) -> bytes | None:
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def put(self, key: object, body: bytes) -> None:
        if len(body) > self._limit_bytes:
            return
        self._bodies[key] = body
        self._bytes += len(body)
        while self._bytes > self._limit_bytes:
            self._bytes -= len(self._bodies.popitem(last=False)[1])


_kept_bodies = _KeptBodies(_KEPT_BYTES)


class MadeContent:
    """Bytes that a function makes again whenever they are needed; equal `key` means equal bytes."""

    __slots__ = ("_key", "_make", "size")

    def __init__(self, key: object, size: int, make: Callable[[], bytes]) -> None:
        self._key, self.size, self._make = key, size, make

    def read(self, start: int, end: int) -> bytes:
        """The asked slice of what the function makes."""
        body = _kept_bodies.get(self._key)
        if body is None:
            body = self._make()
            if len(body) != self.size:
                raise OSError(f"made {len(body)} bytes where {self.size} were promised")
            _kept_bodies.put(self._key, body)
        return body if start == 0 and end == self.size else body[start:end]


# Incompressible filler: one block of 128 KiB, of which each image takes another slice.
_NOISE = hashlib.shake_256(b"pictofs emulator").digest(128 * 1024)
_SEGMENT = 65_533  # payload of a full JPEG comment segment (65,535 less its own length field)


def padded_jpeg(template: bytes, size: int, salt: int) -> bytes:
    """The JPEG grown to exactly `size` bytes by comment segments after its SOI marker: still a valid JPEG.

    Different salts give different bytes. `size` must be the template's or at least 12 more.
    """
    pad = size - len(template)
    if pad == 0:
        return template
    if pad < 12:
        raise ValueError("a comment segment with its salt takes at least 12 bytes")
    parts = [template[:2]]
    while pad:
        payload = min(_SEGMENT, pad - 4)
        if 0 < pad - 4 - payload < 12:  # what is left must hold another segment
            payload -= 12
        start = (salt * 0x9E3779B1 + pad) % (len(_NOISE) - _SEGMENT)
        parts.append(b"\xff\xfe" + struct.pack(">H", payload + 2))
        parts.append(struct.pack(">Q", salt & (1 << 64) - 1) + _NOISE[start : start + payload - 8])
        pad -= payload + 4
    parts.append(template[2:])
    return b"".join(parts)


def padded_png(template: bytes, size: int, salt: int) -> bytes:
    """The PNG grown to exactly `size` bytes by one private ancillary chunk after its header: still a valid PNG.

    `size` must be the template's or at least 20 more.
    """
    pad = size - len(template)
    if pad == 0:
        return template
    if pad < 20:
        raise ValueError("a chunk with its salt takes at least 20 bytes")
    length = pad - 12
    start = salt * 0x9E3779B1 % len(_NOISE)
    repeats = (start + length) // len(_NOISE) + 1
    payload = struct.pack(">Q", salt & (1 << 64) - 1) + (_NOISE * repeats)[start : start + length - 8]
    head = 8 + 25  # signature and IHDR
    kind = b"paDd"
    chunk = struct.pack(">I", length) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
    return template[:head] + chunk + template[head:]


class Hashes(NamedTuple):
    """Checksums of a whole object as the storage host writes them."""

    crc32c: str
    md5: str
    etag: str


@dataclass(slots=True)
class StoredObject:
    """One object in one generation; `key` is its path within the bucket, not percent-encoded."""

    key: str
    content: Content
    content_type: str
    generation: int
    modified_us: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.content.size


_hashes: OrderedDict[tuple[str, int], Hashes] = OrderedDict()


def hashes_known(stored: StoredObject) -> Hashes | None:
    """The checksums where they were computed before, without reading anything."""
    return _hashes.get((stored.key, stored.generation))


def hashes_of(stored: StoredObject) -> Hashes:
    """crc32c and md5 in base64, and the ETag, of the whole object; computed once per generation."""
    known = hashes_known(stored)
    if known is not None:
        return known
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    for start in range(0, stored.size, _PIECE):
        piece = stored.content.read(start, min(start + _PIECE, stored.size))
        md5.update(piece)
        crc = google_crc32c.extend(crc, piece)
    digest = md5.digest()
    found = Hashes(
        base64.b64encode(struct.pack(">I", crc)).decode(),
        base64.b64encode(digest).decode(),
        f'"{digest.hex()}"',
    )
    _hashes[(stored.key, stored.generation)] = found
    if len(_hashes) > _KEPT_HASHES:
        _hashes.popitem(last=False)
    return found
