"""Who asks what: what the kernel knows it does not ask again."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import digest, finished, reader
from tests.mounting import run

pytestmark = pytest.mark.mount


def test_a_second_epoch_asks_nothing_and_goes_on_with_the_server_stopped(folder: Path, serve: Serve) -> None:
    for number in range(200):
        (folder / "empty" / f"{number:03}.jpg").write_bytes(os.urandom(20_000))
    served = serve(folder)
    names = sorted(os.listdir(folder / "empty"))
    code = (
        "import os,sys\n"
        "for name in sys.argv[2:]:\n"
        "    fd = os.open(sys.argv[1] + '/' + name, os.O_RDONLY)\n"
        "    while os.read(fd, 1 << 16): pass\n"
        "    os.close(fd)\n"
        "print(len(os.listdir(sys.argv[1])))\n"
    )
    for _ in range(2):  # a directory is cached by the kernel when it is read for the second time
        finished(reader(code, served.mountpoint / "empty", *names))
    before = served.requests()
    assert served.child is not None
    served.child.send_signal(signal.SIGSTOP)
    try:
        assert int(finished(reader(code, served.mountpoint / "empty", *names))) == len(names)
    finally:
        served.child.send_signal(signal.SIGCONT)
    assert served.requests() == before


def test_open_of_python_costs_one_request_at_most_and_is_no_terminal(folder: Path, serve: Serve) -> None:
    served = serve(folder)
    path = served.mountpoint / "60000.bin"
    path.read_bytes()
    before = served.requests()
    for _ in range(10):
        with path.open("rb") as file:
            assert not file.isatty()
            file.read()
    asked = {name: count - before.get(name, 0) for name, count in served.requests().items()}
    assert {name for name, count in asked.items() if count} <= {"IOCTL"}
    with path.open("rb") as file, pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
        fcntl.ioctl(file, 0x5401, bytearray(64))


def test_an_absent_name_is_remembered(folder: Path, serve: Serve) -> None:
    served = serve(folder)
    assert not (served.mountpoint / "nothing").exists()
    before = served.requests()["LOOKUP"]
    for _ in range(10):
        assert not (served.mountpoint / "nothing").exists()
    assert served.requests()["LOOKUP"] == before


def test_listing_with_attributes_makes_no_request_for_a_file(folder: Path, serve: Serve) -> None:
    for number in range(1000):
        (folder / "a" / f"{number:04}.jpg").write_bytes(b"x")
    served = serve(folder)
    run("ls", "-l", str(served.mountpoint / "a"))
    asked = served.requests()
    assert asked["LOOKUP"] < 20
    assert asked["GETATTR"] < 20
    assert asked.get("GETXATTR", 0) < 20, "ls must be told that there are no ACLs here"


def test_reads_are_asked_for_in_whole_mebibytes(folder: Path, serve: Serve) -> None:
    (folder / "big").write_bytes(os.urandom(16 << 20))
    served = serve(folder)
    assert digest((served.mountpoint / "big").read_bytes()) == digest((folder / "big").read_bytes())
    # only root may raise read-ahead above the kernel's 128 KiB
    assert served.requests()["READ"] <= (20 if os.geteuid() == 0 else 130)


def test_looking_names_up_leaves_nothing_behind_in_the_server(folder: Path, serve: Serve) -> None:
    for number in range(2000):
        (folder / "a" / f"{number:04}.jpg").write_bytes(b"x")
    served = serve(folder, valid_s=0.0)
    code = (
        "import os,sys\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    for number in range(2000): os.stat(f'{sys.argv[1]}/{number:04}.jpg')\n"
    )
    finished(reader(code, served.mountpoint / "a", 1))
    before = served.ask("state")["rss_bytes"]
    finished(reader(code, served.mountpoint / "a", 3), 60.0)
    assert served.requests()["LOOKUP"] >= 8_000
    assert served.ask("state")["rss_bytes"] - before < 1 << 20
