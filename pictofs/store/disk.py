"""How a block lies on disk: diskcache's `Disk` with our file names and our way of writing.

`<pk / 1024>/<node>.<block>.<8 random>`, all hexadecimal, below the store's folder. The name tells which entry
a file belongs to, so that one nobody knows (left by a kill between writing and recording) is found by
looking up one key; neighbours in a listing are neighbours on disk; and a folder holds some thousand files.

A file is written, closed and only then recorded, and other bytes of the same entry get another name. So
whoever was told a path opens a whole file, or none.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from diskcache import Disk
from diskcache.core import MODE_BINARY

Body = bytes | bytearray | memoryview


class Written(msgspec.Struct, frozen=True):
    """A body that lies in a file already, on the same file system, whole: it is moved into the store."""

    path: str
    size_bytes: int

    def __len__(self) -> int:
        return self.size_bytes


def key_of(node: int, block: int) -> str:
    """The entry's key: text, since diskcache pickles a tuple."""
    return f"{node}:{block}"


def parse_key(key: str) -> tuple[int, int]:
    """(node, block) behind `key_of`; ValueError for a key that is not ours."""
    node, _, block = key.partition(":")
    return int(node), int(block)


def parse_name(name: str) -> tuple[int, int] | None:
    """(node, block) that a file's name speaks of; None for a stranger's file."""
    parts = name.split(".")
    if len(parts) != 3:
        return None
    try:
        return int(parts[0], 16), int(parts[1], 16)
    except ValueError:
        return None


class BlockDisk(Disk):  # type: ignore[misc]
    """Writes a body in one go, without a copy, and leaves nothing behind when the disk is full.

    diskcache's own copies a body into a BytesIO, pickles what is no `bytes`, and leaves half a file when a
    write fails.
    """

    last = ""  # the name given last: what `Cache.set` does not tell

    def filename(self, key: Any = None, value: Any = None) -> tuple[str, str]:
        """(name relative to the store, full path) for a new file of this key."""
        return self._name(*parse_key(key))

    def _name(self, node: int, block: int) -> tuple[str, str]:
        name = f"{node >> 18:x}/{node:x}.{block:x}.{os.urandom(4).hex()}"
        return name, os.path.join(self._directory, name)

    def adopt(self, source: str, node: int, block: int) -> str:
        """Takes over a whole file by rename; its name relative to the store. OSError: it is where it was."""
        name, path = self._name(node, block)
        _move(source, path)
        return name

    def store(self, value: Body | Written, read: bool, key: Any = None) -> tuple[int, int, str, None]:
        """Writes the file; (size, mode, name, None) for the table. An OSError leaves no file."""
        name, path = self.filename(key)
        self.last = name
        if isinstance(value, Written):
            _move(value.path, path)
            return value.size_bytes, MODE_BINARY, name, None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            handle = os.open(path, flags, 0o600)
        try:
            try:
                _write_all(handle, value)
            finally:
                os.close(handle)
        except BaseException:
            os.unlink(path)
            raise
        return len(value), MODE_BINARY, name, None


def _move(source: str, path: str) -> None:
    try:
        os.rename(source, path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.rename(source, path)


def _write_all(handle: int, body: Body) -> None:
    rest = memoryview(body).cast("B")
    while rest:
        rest = rest[os.write(handle, rest) :]
