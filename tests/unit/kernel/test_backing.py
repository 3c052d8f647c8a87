"""What can be passed through: an object that is one file, and nothing else."""

from __future__ import annotations

from pathlib import Path

from pictofs.drivers.kernel.backing import whole
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
