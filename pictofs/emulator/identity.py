"""Ids, times and slugs that are the same on every start.

An id of a synthetic image is its index run through an invertible mixer, so that a dataset of a million images
keeps no table: `index_of(id_of(i)) == i`, and an id of another dataset is recognised by its second half.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from datetime import datetime, timezone
from functools import lru_cache

_MASK = (1 << 64) - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NAMESPACE = uuid.UUID("6f0b7c1e-8a55-5d7e-9d1c-1f2d0c2e7a10")
EPOCH_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z: the oldest thing the emulator knows


def named_id(*parts: object) -> str:
    """A uuid that depends on its parts alone."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(str(part) for part in parts)))


def looks_like_id(text: str) -> bool:
    """Whether the text has the shape of a uuid."""
    return _UUID.fullmatch(text) is not None


def _mix(value: int) -> int:
    # The finalizer of splitmix64: a bijection of 64-bit numbers.
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _unmix(value: int) -> int:
    value = value ^ (value >> 31) ^ (value >> 62)
    value = (value * 0x319642B2D24D8EC3) & _MASK
    value = value ^ (value >> 27) ^ (value >> 54)
    value = (value * 0x96DE1B173F119089) & _MASK
    return value ^ (value >> 30) ^ (value >> 60)


class IndexedIds:
    """A reversible numbering: `id_of(index)` is a uuid (version 8), `index_of` its inverse."""

    def __init__(self, key: str) -> None:
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        self._key = int.from_bytes(digest[:8], "big")
        self._check = int.from_bytes(digest[8:], "big")

    def id_of(self, index: int) -> str:
        """The id of this index, 0 <= index < 2**64."""
        mixed = _mix(index ^ self._key)
        check = _mix(mixed ^ self._check)
        # A uuid fixes 4 bits of version and 2 of variant: the 64 mixed bits are spread around them.
        first = f"{mixed:016x}"
        fourth = 0x8000 | (mixed & 0xF) << 10 | check >> 54
        return f"{first[:8]}-{first[8:12]}-8{first[12:15]}-{fourth:04x}-{check & 0xFFFFFFFFFFFF:012x}"

    def index_of(self, text: str) -> int | None:
        """The index behind an id; None where the id is not one of this numbering."""
        if not looks_like_id(text):
            return None
        groups = text.lower().split("-")
        fourth = int(groups[3], 16)
        mixed = (
            int(groups[0], 16) << 32
            | int(groups[1], 16) << 16
            | int(groups[2][1:], 16) << 4
            | (fourth >> 10) & 0xF
        )
        index = _unmix(mixed) ^ self._key
        return index if self.id_of(index) == text.lower() else None


def slug_of(name: str, identity: str) -> str:
    """A slug that never equals the name: lower case ASCII words joined by '-'."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "dataset"
    return slug if slug != name else f"{slug}-{identity[:4]}"


def iso(time_us: int) -> str:
    """RFC 3339 in UTC with a Z; the fraction only where there is one."""
    seconds, fraction = divmod(time_us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    moment = f"{_to_the_minute(minutes)}:{second:02d}"
    return f"{moment}.{fraction:06d}Z" if fraction else f"{moment}Z"


@lru_cache(maxsize=4096)  # rows beside each other were created beside each other: a quarter of a page's cost
def _to_the_minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, timezone.utc).strftime("%Y-%m-%dT%H:%M")
