"""What a lookup and the read behind it take of a row, as it is in the database."""

from __future__ import annotations

from typing import NamedTuple


class FoundImage(NamedTuple):
    """The part of an `ImageRow`, with what is here of it.

    `stored`, `stored_bytes`, `crc32c` and `boot` are of its first block, None where that is not here.
    """

    pk: int
    ino: int
    file_name: str
    size_bytes: int | None
    created_ns: int
    stored: bytes | str | None
    stored_bytes: int
    crc32c: int
    boot: int


class FoundAnnotation(NamedTuple):
    """The part of an `AnnotationRow`, made up likewise if it was never fetched, and the dataset it is of."""

    pk: int
    ino: int
    dataset: int
    size_bytes: int | None
    mtime_ns: int
    fetched_ns: int
