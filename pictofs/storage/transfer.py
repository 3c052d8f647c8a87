"""What a transfer is asked for, and what it brings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

import msgspec

from pictofs.storage.address import described

Target: TypeAlias = "str | os.PathLike[str] | BinaryIO"


class Get(msgspec.Struct, frozen=True):
    """One object, or the bytes `first` to `last` of it (both inclusive; None: its beginning, its end).

    `if_match` is the ETag and `generation` the x-goog-generation that the object must still have;
    `expect_bytes` the length that the body must have by the host's own headers. Where one does not hold,
    the transfer ends in ObjectChanged before the body is read.
    `limit_bytes` bounds what is held in memory, also where the host sends more than was asked for. With a
    `sink` the body goes there instead and has no bound: a path gets it by rename once it is whole and
    checked (`<path>.part` until then), a file object at its present position. The transfer thread writes
    it, so it must not be slow; a file that cannot seek cannot begin again after a broken connection.
    With `headers` of its own it is a request that may hold a key: it is made once, to this URL and no other,
    and whatever is not the whole answer ends it.
    The repr shows host and path only: a signed URL is a secret.
    """

    url: str
    first: int | None = None
    last: int | None = None
    if_match: str | None = None
    expect_bytes: int | None = None
    limit_bytes: int = 64 << 20
    generation: str | None = None
    sink: Target | None = None
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if (self.first or 0) < 0 or (self.last is not None and self.last < (self.first or 0)):
            raise ValueError(f"no bytes from {self.first} to {self.last}")
        if self.if_match is not None and not (self.if_match.isascii() and self.if_match.isprintable()):
            raise ValueError("an ETag is printable ASCII")

    def __repr__(self) -> str:
        whole = self.first is None and self.last is None
        span = "" if whole else f", {self.first or 0}-{'' if self.last is None else self.last}"
        return f"Get({described(self.url)}{span})"


@dataclass(slots=True)
class Got:
    """The bytes, checked, and what the storage host says of the object.

    `md5` and `crc32c_object` are of the whole object, in base64 as the host sends them, empty where it does
    not; `crc32c` is of `body`, computed here. `whole` says that the body is the whole object, and then the
    host's checksum, where sent, was compared. `body` is empty and `body_bytes` says how much came where the
    transfer had a sink. `first_byte_s` is from the (last) request to the first byte of its answer,
    `elapsed_s` over all `attempts`. `told` are Date and what the host says of a budget of requests.
    """

    body: bytes | memoryview = field(repr=False)
    first: int
    total_bytes: int
    etag: str
    generation: str
    md5: str
    crc32c_object: str
    crc32c: int
    last_modified_ns: int
    whole: bool
    body_bytes: int
    attempts: int
    first_byte_s: float
    elapsed_s: float
    told: Mapping[str, str] = field(default_factory=dict)
