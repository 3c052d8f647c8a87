"""The bytes behind storage objects, in memory, in a file or made on demand, and their checksums.

A `StoredObject` is one object of the storage host in one generation. Replacing an object makes a new one
under the same key with a higher generation; its checksums are computed once per generation, when first asked
for.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import google_crc32c

from pictofs.emulator.padding import PrefixedContent

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

    def pieces(self, start: int, end: int) -> list[bytes | memoryview]:
        """The same bytes in pieces that need no copy: for a socket. Raises OSError as `read` does."""


class BytesContent:
    """Bytes held in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size = len(body)

    def read(self, start: int, end: int) -> bytes:
        """A slice of the body; the body itself, uncopied, when all of it is asked for."""
        return self._body if start == 0 and end == self.size else self._body[start:end]

    def pieces(self, start: int, end: int) -> list[bytes | memoryview]:
        """The slice, uncopied."""
        return [memoryview(self._body)[start:end]]


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

    def pieces(self, start: int, end: int) -> list[bytes | memoryview]:
        """The bytes as they were read."""
        return [self.read(start, end)]


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
    hashes: Hashes | None = None  # once they were asked for
    head_lines: str | None = None  # header lines that are the same in every answer, once there was one

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.content.size


def hashes_of(stored: StoredObject) -> Hashes:
    """crc32c and md5 in base64, and the ETag, of the whole object; computed once."""
    if stored.hashes is None:
        crc, digest = _checksums(stored.content)
        stored.hashes = Hashes(
            base64.b64encode(struct.pack(">I", crc)).decode(),
            base64.b64encode(digest).decode(),
            f'"{digest.hex()}"',
        )
    return stored.hashes


def _checksums(content: Content) -> tuple[int, bytes]:
    if isinstance(content, PrefixedContent):
        return content.checksums()
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    for start in range(0, content.size, _PIECE):
        piece = content.read(start, min(start + _PIECE, content.size))
        md5.update(piece)
        crc = google_crc32c.extend(crc, piece)
    return crc, md5.digest()
