"""The folder that a dataset is written into: one writer at a time, and files that appear whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pictofs.errors import TransferError, UsageError

PARTS = ".pictofs-part"  # what is still on its way; gone at the end


class Folder:
    """A context: made, and locked against a second download into it. UsageError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = path / PARTS
        self._lock = -1
        self._made: set[str] = set()
        self._count = 0

    def __enter__(self) -> Folder:
        try:
            while self._lock < 0:
                self._take()
            for left in self._parts.iterdir():
                left.unlink()  # of a download that was killed
        except BlockingIOError:
            self._close()
            raise UsageError(f"{self.path}: another download writes into this folder") from None
        except OSError as error:
            self._close()
            raise UsageError(f"{self.path}: {error.strerror}; name a folder that can be written") from None
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._parts, ignore_errors=True)
        self._close()

    def part(self) -> str:
        """A path for the next body, on the same file system and short enough for any name."""
        self._count += 1
        return str(self._parts / f"{self._count:x}")

    def publish(self, part: str, path: str) -> None:
        """Move a whole body to its place below the folder. TransferError where that cannot be."""
        target = os.path.join(self.path, path)
        try:
            parent = os.path.dirname(target)
            if parent not in self._made:
                os.makedirs(parent, exist_ok=True)
                self._made.add(parent)
            os.replace(part, target)
        except OSError as error:
            raise TransferError(f"cannot be written here: {error.strerror}") from None

    def write(self, body: bytes, path: str) -> None:
        """Put a body in its place. TransferError."""
        part = self.part()
        try:
            Path(part).write_bytes(body)
        except OSError as error:
            raise TransferError(f"cannot be written here: {error.strerror}") from None
        self.publish(part, path)

    def _take(self) -> None:
        """Lock the folder of parts, unless its last holder removes it at this moment."""
        self._parts.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = os.open(self._parts, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._lock), os.stat(self._parts)):
                self._close()
        except FileNotFoundError:
            self._close()

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
