"""Remote name ↔ file name, both ways pure.

A file name is at most 255 bytes of UTF-8, not `.` or `..`, without `/` and NUL. What a name cannot hold is
percent-encoded (`%2F`), and so is a `%` that would read as such an escape: `decode(encode(x)) == x`.
A name that is still too long is cut at a character and ends in `~<8 of the id>` and its extension; the
original is then in the xattr `user.pictofs.name`.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

LIMIT_BYTES = 255
_ESCAPE = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNUSUAL = re.compile("[/\0%\ud800-\udfff]")
_HEX = re.compile(r"[0-9a-fA-F]")


def encode(remote: str) -> str:
    """The file name for a remote name, not yet cut; reversible by `decode`."""
    if remote and remote not in (".", "..") and not _UNUSUAL.search(remote):
        return remote  # nearly every name of a million, and ten times as fast
    name = _ESCAPE.sub("%25", remote)
    name = "".join(_escape(c) if c in "/\0" or 0xD800 <= ord(c) <= 0xDFFF else c for c in name)
    if name in (".", ".."):
        name = name.replace(".", "%2E")
    return "%25" if name == "%" else name or "%"


def decode(name: str) -> str:
    """The remote name behind an encoded, uncut file name."""
    if name == "%":
        return ""
    raw = _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), name.encode("utf-8", "surrogatepass"))
    return raw.decode("utf-8", "surrogatepass")


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def tag(remote_id: str, *seed: object) -> str:
    """`~` and eight hex digits of the id; without an id, of a hash of `seed` (directory, name, ordinal)."""
    digits = "".join(_HEX.findall(remote_id))[:8].lower() if remote_id else ""
    if len(digits) < 8:
        text = remote_id or "\0".join(map(str, seed))
        digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"~{digits}"


def fit(name: str, mark: str, limit_bytes: int = LIMIT_BYTES) -> str:
    """`name` itself when it fits, else cut at a character, then `mark`, then the extension."""
    if len(name.encode()) <= limit_bytes:
        return name
    return marked(name, mark, limit_bytes)


def marked(name: str, mark: str, limit_bytes: int = LIMIT_BYTES) -> str:
    """`name` with `mark` before its extension, cut to fit: what a later twin is called."""
    stem, extension = split_extension(name)
    if len(extension.encode()) > 32:
        stem, extension = name, ""
    room = limit_bytes - len(mark.encode()) - len(extension.encode())
    raw = stem.encode()
    if len(raw) > room:
        stem = raw[:room].decode("utf-8", "ignore")
        while stem and unicodedata.combining(stem[-1]):
            stem = stem[:-1]
        stem = re.sub(r"%[0-9A-Fa-f]?$", "", stem)
    return stem + mark + extension


def split_extension(name: str) -> tuple[str, str]:
    """(stem, extension with its dot), as os.path does: a leading dot starts no extension."""
    stem, dot, extension = name.rpartition(".")
    if dot and "/" not in extension and stem.rpartition("/")[2].strip("."):
        return stem, dot + extension  # nearly every name, at a fifth of what it takes in general
    return os.path.splitext(name)


def directories(remote_path: str | None) -> tuple[str, ...]:
    """The remote components of a `directory_path`: `/`, empty and None are the root, doubled slashes one."""
    return tuple(part for part in (remote_path or "").split("/") if part)


def settle(wanted: list[tuple[str, str, str]], taken: set[str]) -> dict[str, str]:
    """Names for the twins of one directory.

    `wanted` holds (key, file name, mark) in the order of (created_at, id); `taken` the names already
    given. The first keeps the plain name, a later one carries its mark, and where that is taken too a
    number after it. Returns key → name.
    """
    given: dict[str, str] = {}
    used = set(taken)
    for key, plain, mark in wanted:
        name = fit(plain, mark)
        ordinal = 1
        while name in used:
            name = marked(plain, mark if ordinal == 1 else f"{mark}-{ordinal}")
            ordinal += 1
        used.add(name)
        given[key] = name
    return given
