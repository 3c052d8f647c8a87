"""Checksums of a body as it comes."""

from __future__ import annotations

import hashlib

import google_crc32c

from pictofs.storage.answer import Answer, base64_of

EMPTY_CRC32C: int = google_crc32c.value(b"")


class Checksum:
    """The host's checksum of the whole object, and ours of what comes: crc32c where it sent one, else md5."""

    __slots__ = ("_crc32c", "_md5", "_promised")

    def __init__(self, answer: Answer) -> None:
        self._crc32c = EMPTY_CRC32C
        self._md5 = None if answer.crc32c else hashlib.md5(usedforsecurity=False)
        self._promised = answer.crc32c or answer.md5

    def update(self, data: bytes) -> None:
        """The next bytes."""
        if self._md5 is None:
            self._crc32c = google_crc32c.extend(self._crc32c, data)
        else:
            self._md5.update(data)

    def agrees(self) -> bool:
        """Whether all that came is what the host promised."""
        digest = self._crc32c.to_bytes(4, "big") if self._md5 is None else self._md5.digest()
        return base64_of(digest) == self._promised
