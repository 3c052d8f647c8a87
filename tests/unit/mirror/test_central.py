"""What the child says of an archive: pages of members, or in one line why not."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import zipfile

import pytest

from pictofs.link.frames import Frames
from pictofs.mirror.central import PAGE_MEMBERS, Ask, End, Found, Message, Page, Refused, read


def archive(*names: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as made:
        for name in names:
            made.writestr(zipfile.ZipInfo(name), name)
    return body.getvalue()


def said(body: bytes, limit: int = 10_000) -> list[Message]:
    return list(read(io.BytesIO(body), limit))


def test_members_come_in_pages_that_a_frame_holds() -> None:
    names = [f"{number % 7}/{number}" for number in range(PAGE_MEMBERS + 1)]
    found, *pages, end = said(archive(*names))
    assert found == Found(len(names) + 7)
    assert end == End()
    members = [each for page in pages if isinstance(page, Page) for each in page.members]
    assert [each.file_name for each in members] == [name[2:] for name in names] + list("0123456")
    assert all(len(page.members) <= PAGE_MEMBERS for page in pages if isinstance(page, Page))


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a/b/c/",)], ids=["files", "folders"])
def test_more_than_can_be_shown_is_efbig(names: tuple[str, ...]) -> None:
    (only,) = said(archive(*names), limit=2)
    assert isinstance(only, Refused)
    assert only.errno == errno.EFBIG
    assert "2" in only.what


@pytest.mark.parametrize(
    "body", [b"", b"PK", archive("a")[:-5], b"\0" * 1000, archive("a").replace(b"PK\1\2", b"PK\1\3")],
    ids=["empty", "short", "cut", "zeros", "no directory"],
)  # fmt: skip
def test_what_is_no_archive_is_eio_with_the_reason(body: bytes) -> None:
    (only,) = said(body)
    assert isinstance(only, Refused)
    assert (only.errno, only.what.startswith("it is no ZIP")) == (errno.EIO, True)


def test_the_program_asks_its_parent_for_bytes_and_opens_nothing_itself() -> None:
    body = archive("images/a.jpg", "b.txt")
    child = subprocess.Popen(
        [sys.executable, "-m", "pictofs.mirror.central", "100", str(len(body))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
    )  # fmt: skip
    frames: Frames[Message] = Frames(Message)
    told: list[Message] = []
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        while not (told and isinstance(told[-1], End | Refused)):
            data = child.stdout.read1(1 << 16)  # type: ignore[attr-defined]
            assert data, told
            for message in frames.feed(data):
                if isinstance(message, Ask):
                    child.stdin.write(body[message.first : message.first + message.size_bytes])
                    child.stdin.flush()
                else:
                    told.append(message)
    assert child.returncode == 0
    assert told[0] == Found(3)
    (page,) = (each for each in told if isinstance(each, Page))
    assert [each.file_name for each in page.members] == ["a.jpg", "b.txt", "images"]
