"""Downloads that go to a file: checked, resumed, published by rename, or gone without a trace."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from pictofs.errors import Damaged, ObjectGone, TransferError, UrlExpired
from pictofs.storage import Get, Got
from tests.unit.storage.clients import Asked, Make
from tests.unit.storage.host import Host, Treatment

DATA = random.Random(5).randbytes(300_000)


def test_a_path_gets_the_object_whole_by_rename(asked: Asked, host: Host, tmp_path: Path) -> None:
    target = tmp_path / "export.zip"
    target.write_bytes(b"the old one")
    got = asked.got(
        host.put("/x", DATA, Treatment(cut=90_000), Treatment(cut=50_000, reset=True)), sink=target
    )
    assert (bytes(got.body), got.body_bytes, got.whole, got.attempts) == (b"", len(DATA), True, 3)
    assert target.read_bytes() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["export.zip"]
    assert [seen.header("range") for seen in host.asked("/x")] == [None, "bytes=90000-", "bytes=140000-"]


def test_a_sink_has_no_bound_in_memory_and_may_take_a_range(asked: Asked, host: Host, tmp_path: Path) -> None:
    url = host.put("/x", DATA)
    got = asked.got(url, 1000, 199_999, sink=tmp_path / "part", limit_bytes=10)
    assert (got.body_bytes, got.whole) == (199_000, False)
    assert (tmp_path / "part").read_bytes() == DATA[1000:200_000]


def test_a_200_to_a_resumed_download_begins_the_file_anew(asked: Asked, host: Host, tmp_path: Path) -> None:
    url = host.put("/x", DATA, Treatment(cut=90_000), Treatment(no_range=True))
    assert asked.got(url, sink=str(tmp_path / "x")).whole
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("treatment", [Treatment(corrupt=200_000), Treatment(corrupt=0)])
def test_a_wrong_byte_begins_the_file_anew_and_is_never_published(
    asked: Asked, host: Host, tmp_path: Path, treatment: Treatment
) -> None:
    assert asked.got(host.put("/x", DATA, treatment), sink=tmp_path / "x").attempts == 2
    assert (tmp_path / "x").read_bytes() == DATA
    assert isinstance(asked.error(host.put("/y", DATA, treatment, treatment), sink=tmp_path / "y"), Damaged)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_an_empty_object_is_an_empty_file(asked: Asked, host: Host, tmp_path: Path) -> None:
    assert asked.got(host.put("/x", b""), sink=tmp_path / "x").whole
    assert (tmp_path / "x").read_bytes() == b""


def test_a_file_object_is_written_from_where_it_stands_and_left_open(
    asked: Asked, host: Host, tmp_path: Path
) -> None:
    with open(tmp_path / "x", "w+b") as file:
        file.write(b"header")
        url = host.put("/x", DATA, Treatment(cut=90_000), Treatment(no_range=True), Treatment(corrupt=7))
        assert asked.got(url, sink=file).body_bytes == len(DATA)
        file.seek(0)
        assert file.read() == b"header" + DATA


def test_a_pipe_takes_a_download_that_need_not_begin_anew(asked: Asked, host: Host) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *arguments: object) -> int:
            raise io.UnsupportedOperation("seek")

    pipe = Pipe()
    assert asked.got(host.put("/x", DATA, Treatment(cut=90_000)), sink=cast(BinaryIO, pipe)).attempts == 2
    assert pipe.getvalue() == DATA
    wrong = host.put("/x", DATA, Treatment(corrupt=7))
    assert "cannot write" in str(asked.error(wrong, sink=cast(BinaryIO, Pipe())))


@pytest.mark.parametrize("where", ["missing/x", "file/x", "folder"])
def test_a_disk_that_fails_is_an_error_of_its_transfer(
    asked: Asked, host: Host, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "full").touch()
    error = asked.error(host.put("/x", DATA), sink=tmp_path / where)
    assert type(error) is TransferError
    assert "cannot write" in str(error)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
    assert asked.got(host.put("/y", DATA)).whole


def test_a_disk_that_is_full_is_an_error_of_its_transfer(asked: Asked, host: Host) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        assert "No space left" in str(asked.error(host.put("/x", DATA), sink=full))


def test_a_file_that_its_owner_closes_is_an_error_of_its_transfer(asked: Asked, host: Host) -> None:
    file = io.BytesIO()
    url = host.put("/x", DATA, Treatment(cut=90_000, then=file.close))
    assert "closed" in str(asked.error(url, sink=file))
    assert asked.got(host.put("/y", DATA)).whole


def test_a_failed_or_cancelled_download_leaves_nothing(make: Make, host: Host, tmp_path: Path) -> None:
    asked = make(timeout_s=4.0)
    gone = Treatment(status=404)
    assert isinstance(
        asked.error(host.put("/x", DATA, Treatment(cut=90_000), gone), sink=tmp_path / "x"), ObjectGone
    )
    assert list(tmp_path.iterdir()) == []
    told: list[int] = []
    slow = Treatment(drip=20_000, pause_s=0.1)
    transfer, outcome = asked.submit(Get(host.put("/y", DATA, slow), sink=tmp_path / "y"), told.append)
    host.wait_asked(3)
    assert asked.client.cancel(transfer)
    asked.client.stop()
    assert outcome.calls == []
    assert list(tmp_path.iterdir()) == []


def test_stopping_removes_the_part(make: Make, host: Host, tmp_path: Path) -> None:
    asked = make(timeout_s=4.0)
    _, outcome = asked.submit(
        Get(host.put("/y", DATA, Treatment(cut=90_000, hold=True)), sink=tmp_path / "y")
    )
    host.wait_asked(1)
    asked.client.stop()
    assert type(outcome.wait()) is TransferError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hashes", [("crc32c",), ("md5",)])
def test_a_fresh_url_goes_on_at_the_same_byte(
    asked: Asked, host: Host, tmp_path: Path, hashes: tuple[str, ...]
) -> None:
    expired = Treatment(status=400, body=b"<Error><Code>ExpiredToken</Code></Error>")
    url = host.put("/x", DATA, Treatment(cut=90_000), expired, Treatment(cut=60_000), expired, hashes=hashes)
    for sink in (tmp_path / "x", None):
        host.put("/x", DATA, Treatment(cut=90_000), expired, Treatment(cut=60_000), expired, hashes=hashes)
        transfer, outcome = asked.submit(Get(url, sink=sink))
        error = outcome.wait()
        assert isinstance(error, UrlExpired)
        assert "ExpiredToken" in str(error)
        for fresh in ("second", "third"):
            outcome.calls.clear()
            outcome._ended.clear()
            assert asked.client.resume(transfer, f"{host.origin}/x?X-Goog-Signature={fresh}") is transfer
            last = outcome.wait()
        assert isinstance(last, Got)
        assert last.whole
        body = (tmp_path / "x").read_bytes() if sink else bytes(last.body)
        assert body == DATA
        assert [seen.header("range") for seen in host.asked("/x")][-5:] == [
            None,
            "bytes=90000-",
            "bytes=90000-",
            "bytes=150000-",
            "bytes=150000-",
        ]
        assert host.seen[-1].target.endswith("third")


def test_only_an_expired_transfer_can_be_resumed(asked: Asked, host: Host) -> None:
    url = host.put("/x", DATA, Treatment(status=404))
    transfer, outcome = asked.submit(Get(url))
    outcome.wait()
    with pytest.raises(ValueError, match="expired"):
        asked.client.resume(transfer, url)


def test_an_expired_download_that_is_given_up_leaves_nothing(
    asked: Asked, host: Host, tmp_path: Path
) -> None:
    url = host.put("/x", DATA, Treatment(cut=90_000), Treatment(status=403))
    transfer, outcome = asked.submit(Get(url, sink=tmp_path / "x"))
    assert isinstance(outcome.wait(), UrlExpired)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.part"]
    assert not asked.client.cancel(transfer)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="expired"):
        asked.client.resume(transfer, url)
