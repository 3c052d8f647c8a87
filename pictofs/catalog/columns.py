"""How values lie in the catalog's columns: a million rows pay for every byte.

All pure, all reversible. A value that is not of the expected shape is stored as the text it is, so an
abbreviation never loses anything: `unpack(pack(x)) == x`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from functools import lru_cache

from pictofs import names


def storable(text: str) -> str:
    """`text` without what SQLite cannot hold (lone surrogates)."""
    return text.encode("utf-8", "replace").decode()


def pack_id(remote_id: str) -> bytes | str:
    """A canonical UUID as its 16 bytes, any other id as text."""
    if len(remote_id) == 36:
        try:
            raw = bytes.fromhex(remote_id.replace("-", ""))
        except ValueError:
            return storable(remote_id)
        if len(raw) == 16 and _uuid(raw) == remote_id:
            return raw
    return storable(remote_id)


def unpack_id(packed: bytes | str) -> str:
    """The id behind `pack_id`; "" for an object that the service gave none."""
    if isinstance(packed, str):
        return packed
    return _uuid(packed) if len(packed) == 16 else ""


def _uuid(raw: bytes) -> str:
    """What `str(uuid.UUID(bytes=raw))` is, at a tenth of its cost: every row of a listing pays it."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def identity(remote_id: str, directory: str, name: str, ordinal: int) -> bytes | str:
    """What an object is known by: its id, else 17 bytes of (directory, name, ordinal)."""
    if remote_id:
        return pack_id(remote_id)
    text = f"{directory}\0{name}\0{ordinal}"
    return b"\0" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def pack_digest(text: str) -> bytes | str | None:
    """Canonical base64 (x-goog-hash) as its bytes; hexadecimal digits happen to be base64 too."""
    if not text:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return storable(text)
    return raw if base64.b64encode(raw).decode() == text else storable(text)


def unpack_digest(packed: bytes | str | None) -> str:
    """The text behind `pack_digest`."""
    if packed is None:
        return ""
    return packed if isinstance(packed, str) else base64.b64encode(packed).decode()


def pack_number(text: str) -> int | str | None:
    """A decimal that fits 63 bits as an integer (x-goog-generation), other text (an ETag) as text."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 19 and str(int(text)) == text:
        return int(text)
    return storable(text)


def unpack_number(packed: int | str | None) -> str:
    """The text behind `pack_number`."""
    return "" if packed is None else str(packed)


def pack_path(node: int, block: int, path: str) -> bytes | str:
    """A block's path; `store/<pk / 1024>/<node>.<block>.<8 hex>` needs only its last four bytes."""
    last = path[-8:]
    try:
        raw = bytes.fromhex(last)
    except ValueError:
        return path
    return raw if _block_path(node, block, raw) == path else path


def unpack_path(node: int, block: int, packed: bytes | str) -> str:
    """The path behind `pack_path`."""
    return packed if isinstance(packed, str) else _block_path(node, block, packed)


def _block_path(node: int, block: int, raw: bytes) -> str:
    return f"store/{node >> 18:x}/{node:x}.{block:x}.{raw.hex()}"


def pack_tags(tags: tuple[str, ...]) -> str:
    """Tags as one interned word; "" for none."""
    return json.dumps(tags, ensure_ascii=True, separators=(",", ":")) if tags else ""


def unpack_tags(packed: str) -> tuple[str, ...]:
    """The tags behind `pack_tags`."""
    return tuple(json.loads(packed)) if packed else ()


@lru_cache(maxsize=4096)  # a page of a thousand images names a few
def pack_directory(remote_path: str) -> tuple[str, ...]:
    """The encoded components of a `directory_path`; what `/a//b` and `/a/b` have in common."""
    return tuple(names.encode(part) for part in names.directories(remote_path))


def unpack_directory(path: str) -> str:
    """The remote path behind joined encoded components."""
    if "%" not in path:
        return path
    return "/".join(names.decode(part) if part else "" for part in path.split("/"))


def key_digest(salt: bytes, origin: str, key: str) -> bytes:
    """What is kept of an API key: enough to know it again, useless to anybody who reads it."""
    material = f"{origin}\0{key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(material, digest_size=16, salt=salt, person=b"pictofs-key").digest()
