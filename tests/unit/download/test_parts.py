"""The smaller pieces: the folder, the threads, when a host is given up."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pictofs.download.calling import Calling
from pictofs.download.folder import PARTS, Folder
from pictofs.download.setbacks import Setbacks
from pictofs.errors import KeyRefused, NotFound, ObjectGone, TransferError, Unreachable, UsageError


def test_a_file_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    with Folder(tmp_path / "new" / "d") as folder:
        folder.write(b"body", "images/x/a.jpg")
        part = Path(folder.part())
        part.write_bytes(b"half")
        assert part.parent == folder.path / PARTS
    assert [path.name for path in (tmp_path / "new" / "d").rglob("*") if path.is_file()] == ["a.jpg"]
    assert not (folder.path / PARTS).exists()


def test_two_downloads_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Folder(tmp_path):
        with pytest.raises(UsageError, match="another download"):
            Folder(tmp_path).__enter__()
        (tmp_path / PARTS / "1").touch()
    with Folder(tmp_path):
        assert list((tmp_path / PARTS).iterdir()) == []


def test_what_a_killed_download_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / PARTS).mkdir()
    (tmp_path / PARTS / "5").write_bytes(b"left")
    with Folder(tmp_path):
        assert list((tmp_path / PARTS).iterdir()) == []


def test_a_folder_that_cannot_be_is_usage_and_a_file_that_cannot_be_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        Folder(tmp_path / "file" / "below").__enter__()
    with Folder(tmp_path / "d") as folder:
        folder.write(b"1", "images/a")
        with pytest.raises(TransferError, match="cannot be written here"):
            folder.write(b"2", "images/a/b")


def test_calls_are_answered_with_what_they_return_or_raise() -> None:
    calling, told = Calling(2), SimpleQueue[Any]()
    calls = [lambda: 1, lambda: _fail(NotFound("gone")), lambda: _fail(ZeroDivisionError())]
    for call in calls:
        calling.submit(call, told.put)
    calling.close()
    found = {type(told.get_nowait()) for _ in calls}
    assert found == {int, NotFound, ZeroDivisionError}
    assert not [thread for thread in threading.enumerate() if thread.name == "pictofs-calls"]


def _fail(error: Exception) -> None:
    raise error


def test_a_host_is_given_up_after_so_many_failures_in_a_row() -> None:
    setbacks = Setbacks(3)
    for error in (Unreachable("1"), TransferError("2"), ObjectGone("of one file"), Unreachable("3")):
        setbacks.failure(error)
    setbacks.failure(TransferError("4"))
    setbacks.success()
    setbacks.failure(Unreachable("5"))
    assert setbacks.given_up is None
    for text in "678":
        setbacks.failure(Unreachable(text))
    assert str(setbacks.given_up) == "8"


def test_a_refused_key_is_believed_at_once() -> None:
    setbacks = Setbacks(100)
    setbacks.failure(KeyRefused("no"))
    assert isinstance(setbacks.given_up, KeyRefused)
