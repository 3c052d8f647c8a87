"""Where a body goes: memory, a path (published by rename), or a file that the caller has opened."""

from __future__ import annotations

import os
from typing import BinaryIO, Protocol

from pictofs.storage.transfer import Target

PART = ".part"


class Sink(Protocol):
    """Takes a body in order. Every method may raise OSError."""

    def write(self, data: bytes) -> None:
        """The next bytes."""

    def restart(self) -> None:
        """Forget what was written: it comes again from its beginning."""

    def finish(self) -> bytes:
        """The body is whole and checked; what of it is in memory."""

    def suspend(self) -> None:
        """It may go on later: hold no descriptor until then."""

    def abandon(self) -> None:
        """It will not become whole. Raises nothing."""


class Memory:
    """Pieces, joined once at the end: a body that comes in one piece is never copied."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See Sink."""
        self._pieces.append(data)

    def restart(self) -> None:
        """See Sink."""
        self._pieces.clear()

    def finish(self) -> bytes:
        """See Sink."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def suspend(self) -> None:
        """See Sink."""

    def abandon(self) -> None:
        """See Sink."""
        self._pieces = []


class Published:
    """`<path>.part`, made when the first byte comes and renamed to `path` at the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._made = False

    def _open(self) -> BinaryIO:
        if self._file is None:
            # Unbuffered: libcurl hands over 16 KB at a time, and a suspended part must be whole on disk.
            self._file = open(self._path + PART, "ab" if self._made else "wb", buffering=0)  # noqa: SIM115
            self._made = True
        return self._file

    def write(self, data: bytes) -> None:
        """See Sink."""
        _write_all(self._open(), data)

    def restart(self) -> None:
        """See Sink."""
        if self._made:
            self._open().truncate(0)
            self._open().seek(0)

    def finish(self) -> bytes:
        """See Sink."""
        self._open().close()
        self._file = None
        os.replace(self._path + PART, self._path)
        self._made = False
        return b""

    def suspend(self) -> None:
        """See Sink."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def abandon(self) -> None:
        """See Sink."""
        try:
            self.suspend()
            if self._made:
                os.unlink(self._path + PART)
        except OSError:
            pass  # the disk that failed is the reason why we are here
        self._made = False


class Given:
    """The caller's file, from where it stands; left open, and left as it is when nothing comes of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = file.tell() if file.seekable() else 0
        self._written = False

    def write(self, data: bytes) -> None:
        """See Sink."""
        self._written = True
        _write_all(self._file, data)

    def restart(self) -> None:
        """See Sink."""
        if self._written:
            self._file.seek(self._start)
            self._file.truncate()

    def finish(self) -> bytes:
        """See Sink."""
        self._file.flush()
        return b""

    def suspend(self) -> None:
        """See Sink."""

    def abandon(self) -> None:
        """See Sink."""


def open_sink(target: Target | None) -> Sink:
    """The sink for `Get.sink`; opens nothing."""
    if target is None:
        return Memory()
    if isinstance(target, (str, os.PathLike)):
        return Published(os.fspath(target))
    return Given(target)


def _write_all(file: BinaryIO, data: bytes) -> None:
    # A raw file may take less than it is given.
    written = file.write(data)
    while written is not None and written < len(data):
        data = data[written:]
        written = file.write(data)
