"""What can be passed through: an object that is one file, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pictofs.drivers.kernel import backing, wire
from pictofs.drivers.kernel.backing import Passthrough, whole
from pictofs.drivers.kernel.shared import Shared
from pictofs.vfs.types import Bytes, Piece


def test_only_a_file_that_is_the_whole_object_is_passed_through(tmp_path: Path) -> None:
    with (tmp_path / "block").open("wb+") as file:
        file.write(b"x" * 100)
        file.flush()
        piece = Piece(file.fileno(), 0, 1)
        assert whole(Bytes(pieces=(piece,)), 100) == piece
        assert whole(Bytes(pieces=(piece,)), 101) is None, "a block of a larger object"
        assert whole(Bytes(pieces=(Piece(file.fileno(), 50, 1),)), 100) is None, "a part of a larger file"
        assert whole(Bytes(pieces=(piece, piece)), 100) is None
        assert whole(Bytes(data=b"text"), 4) is None, "a text that is in no file"
        assert whole(Bytes(), 0) is None


class Slow:
    """A vfs whose reads end when the test says so."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.answer = Bytes(pieces=(Piece(fd, 0, 1),))
        self.size_bytes = size_bytes
        self.waiting: list[Callable[[Bytes], None]] = []

    def getattr(self, node: int, done: Callable[[Any], None], fail: object) -> None:
        done(self)

    def in_one_file(self, node: int, done: Callable[[bool], None], fail: object) -> None:
        done(True)

    def read(self, node: int, offset: int, size: int, done: Callable[[Bytes], None], *_: object) -> None:
        self.waiting.append(done)


def test_an_open_that_waited_while_the_file_was_opened_and_closed_gets_the_same_backing_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel answers a reader with EIO where two ids of one file are open at once."""
    registered: list[int] = []

    def register(fd: int, file: int) -> int:
        registered.append(len(registered) + 1)
        return registered[-1]

    monkeypatch.setattr(backing, "open_backing", register)
    monkeypatch.setattr(backing, "close_backing", lambda fd, number: pytest.fail("it is kept"))
    answered: list[tuple[int, int]] = []

    def reply(unique: int, answer: bytes) -> bool:
        answered.append((unique, wire.OPEN_REPLY.unpack(answer)[-1]))
        return True

    with (tmp_path / "block").open("wb+") as file:
        file.write(b"x" * 100)
        file.flush()
        vfs: Any = Slow(file.fileno(), 100)
        passed = Passthrough(-1, vfs, Shared.create().words, reply)
        for unique in (2, 4, 6):
            passed.open(7, unique, 1, lambda number: pytest.fail(str(number)))
        first, *late = vfs.waiting
        first(vfs.answer)
        passed.release(7, 8)
        for done in late:
            done(vfs.answer)
    assert answered == [(2, 1), (4, 1), (6, 1)]
    assert registered == [1]
