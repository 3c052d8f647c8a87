"""Every way to read gives the same bytes, also of a file whose size nobody knew."""

from __future__ import annotations

import errno
import mmap
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.kernel import uring
from tests.mount.kernel.conftest import Serve
from tests.mounting import run

pytestmark = pytest.mark.mount


def test_every_way_to_read_gives_the_same_bytes(folder: Path, serve: Serve, io: str, tmp_path: Path) -> None:
    mount = serve(folder, io=io).mountpoint
    for path in sorted(folder.glob("*.bin")):
        truth, seen = path.read_bytes(), mount / path.name
        for name, way in WAYS.items():
            assert way(seen, len(truth), tmp_path) == truth, (name, path.name)


def _mapped(path: Path, size: int, _: Path) -> bytes:
    with path.open("rb") as file:
        if not size:
            return b""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return bytes(mapped)


def _direct(path: Path, size: int, _: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    room = mmap.mmap(-1, 1 << 20)
    found = b""
    while got := os.preadv(fd, [room], len(found)):
        found += room[:got]
        if got % 4096:
            break  # the end: an offset behind it would not be aligned
    os.close(fd)
    return found


def _sendfile(path: Path, size: int, scratch: Path) -> bytes:
    with path.open("rb") as source, (scratch / "copy").open("wb+") as target:
        sent = 0
        while got := os.sendfile(target.fileno(), source.fileno(), sent, 1 << 20):
            sent += got
        target.seek(0)
        return target.read()


def _copied(path: Path, size: int, scratch: Path) -> bytes:
    """By copy_file_range, as cp does: Linux refuses it between file systems of two kinds, never halfway."""
    with path.open("rb") as source, (scratch / "copy").open("wb+") as target:
        try:
            while os.copy_file_range(source.fileno(), target.fileno(), 1 << 20):
                pass
        except OSError as error:
            if error.errno != errno.EXDEV or target.tell():
                raise
            run("cp", str(path), str(scratch / "copy"))
        target.seek(0)
        return target.read()


def _backwards(path: Path, size: int, _: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        pieces = [os.pread(file.fileno(), 5000, at) for at in reversed(range(0, size, 5000))]
    return b"".join(reversed(pieces))


def _bytewise_edges(path: Path, size: int, _: Path) -> bytes:
    truth = path.read_bytes()
    with path.open("rb", buffering=0) as file:
        for at in {0, 4095, 4096, size - 1, size, size + 1, size + 5000} - {-1}:
            assert os.pread(file.fileno(), 2, at) == truth[at : at + 2]
    return truth


def _by_ring(path: Path, size: int, _: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return b"".join(uring.read(file.fileno(), 1 << 16, at) for at in range(0, size, 1 << 16))


WAYS: dict[str, Callable[[Path, int, Path], bytes]] = {
    "mmap": _mapped,
    "O_DIRECT": _direct,
    "sendfile": _sendfile,
    "copy_file_range": _copied,
    "pread, backwards": _backwards,
    "pread at the edges": _bytewise_edges,
}
if not uring.why_not():
    WAYS["io_uring"] = _by_ring


@pytest.mark.skipif(bool(uring.why_not()), reason=uring.why_not())
def test_io_uring_is_among_the_ways() -> None:
    assert "io_uring" in WAYS


def test_a_file_of_unknown_size_is_never_cut(folder: Path, serve: Serve, tmp_path: Path) -> None:
    truth = random.Random(3).randbytes(150_000)
    ways: dict[str, Callable[[Path], bytes]] = {
        "os.read without fstat": lambda path: _until_end(path),
        "pread": lambda path: _backwards(path, len(truth), tmp_path),
        "open().read()": lambda path: path.read_bytes(),
        "cat": lambda path: subprocess.run(["cat", path], capture_output=True, check=True, timeout=20).stdout,
        "cp": lambda path: _by_cp(path, tmp_path / "cp"),
        "tar": lambda path: _by_tar(path),
        "mmap": lambda path: _mapped(path, len(truth), tmp_path),
        "O_DIRECT": lambda path: _direct(path, len(truth), tmp_path),
    }
    for number in range(len(ways)):
        (folder / f"unsized-{number}").write_bytes(truth)
    mount = serve(folder).mountpoint
    for number, (name, way) in enumerate(ways.items()):
        assert way(mount / f"unsized-{number}") == truth, name


def _until_end(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    found = b""
    while got := os.read(fd, 1 << 16):
        found += got
    os.close(fd)
    return found


def _by_cp(path: Path, target: Path) -> bytes:
    run("cp", str(path), str(target))
    return target.read_bytes()


def _by_tar(path: Path) -> bytes:
    packed = subprocess.run(
        ["tar", "-C", path.parent, "-c", path.name], capture_output=True, check=True, timeout=20
    ).stdout
    return packed[512 : 512 + 150_000]


def test_a_file_of_unknown_size_is_listed_without_asking_for_it(folder: Path, serve: Serve) -> None:
    for number in range(50):
        (folder / "empty" / f"unsized-{number}").write_bytes(b"x" * number)
    served = serve(folder)
    assert len(os.listdir(served.mountpoint / "empty")) == 50
    before = served.requests().get("GETATTR", 0)
    sizes = {row.name: row.stat().st_size for row in os.scandir(served.mountpoint / "empty")}
    assert sizes == {f"unsized-{number}": number for number in range(50)}
    assert before <= 2
    assert served.requests()["GETATTR"] >= 50
