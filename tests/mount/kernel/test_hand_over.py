"""A server that dies is replaced on the same descriptor; files passed through outlive it."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.drivers.kernel import mounting, replies, wire
from pictofs.drivers.kernel.handshake import BUFFER_BYTES, negotiate
from pictofs.drivers.kernel.shared import gone
from pictofs.vfs.types import Attr
from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import HASH, ROOT, digest, finished, holding, reader

pytestmark = pytest.mark.mount


def test_a_killed_server_is_replaced_in_the_middle_of_a_read(folder: Path, serve: Serve, io: str) -> None:
    truth = os.urandom(3 << 20)
    (folder / "held-1").write_bytes(truth)
    served = serve(folder, io=io)
    hung = reader(HASH, served.mountpoint / "held-1")
    served.until(lambda: served.ask("state")["waiting"] >= 1)
    served.kill()
    assert hung.poll() is None
    served.start(resend=True)
    served.until(lambda: served.ask("state")["waiting"] >= 1)
    served.until(lambda: bool(served.ask("release")) or hung.poll() is not None)
    assert finished(hung).strip() == digest(truth)


def test_no_read_fails_while_servers_are_killed_at_random(folder: Path, serve: Serve, io: str) -> None:
    for number in range(300):
        (folder / "a" / f"{number:03}.jpg").write_bytes(os.urandom(random.Random(number).randrange(200_000)))
    truth = {path.name: digest(path.read_bytes()) for path in (folder / "a").glob("*.jpg")}
    served = serve(folder, io=io, valid_s=0.0)
    code = (
        "import hashlib,json,random,sys,time\n"
        "truth = json.loads(sys.stdin.read()); longest = 0.0\n"
        "for turn in range(int(sys.argv[3])):\n"
        "    names = sorted(truth); random.Random(int(sys.argv[2]) + turn).shuffle(names)\n"
        "    for name in names:\n"
        "        began = time.monotonic()\n"
        "        body = open(f'{sys.argv[1]}/{name}', 'rb').read()\n"
        "        longest = max(longest, time.monotonic() - began)\n"
        "        assert hashlib.sha1(body).hexdigest() == truth[name], name\n"
        "print(longest)\n"
    )
    readers = [reader(code, served.mountpoint / "a", seed, 3) for seed in range(3)]
    for process in readers:
        assert process.stdin is not None
        process.stdin.write(json.dumps(truth))
        process.stdin.close()
        process.stdin = None
    moments = random.Random(5)
    for _ in range(5):
        until_s = time.monotonic() + moments.uniform(0.05, 0.3)
        served.until(lambda until_s=until_s: time.monotonic() > until_s)
        served.kill()
        served.start(resend=True)
    pauses = [float(finished(process, 60.0)) for process in readers]
    assert max(pauses) < 15.0, pauses


def test_a_file_passed_through_is_read_without_the_server(folder: Path, serve: Serve) -> None:
    served = serve(folder, io="passthrough")
    truth = digest((folder / "60000.bin").read_bytes())
    with holding(served.mountpoint / "60000.bin", 1) as held:
        served.kill()
        assert held("hash") == truth
        served.start(resend=True)
        assert digest((served.mountpoint / "60000.bin").read_bytes()) == truth
    assert "READ" not in served.requests()


def test_opens_are_counted_across_a_hand_over(folder: Path, serve: Serve) -> None:
    served = serve(folder, io="passthrough")
    path, truth = served.mountpoint / "60000.bin", digest((folder / "60000.bin").read_bytes())
    with holding(path, 3) as held:
        served.kill()
        served.start(resend=True)
        for _ in range(2):
            held("open")
        for count in range(1, 5):
            held("close")
            served.until(lambda count=count: served.requests().get("RELEASE", 0) == count)
        assert held("hash") == truth
        held("close")
        served.until(lambda: served.requests().get("RELEASE", 0) == 5)
    assert digest(path.read_bytes()) == truth


def test_two_who_open_a_waiting_file_at_once_both_get_it(folder: Path, serve: Serve) -> None:
    (folder / "held-1").write_bytes(b"late" * 1000)
    served = serve(folder, io="passthrough")
    both = [reader(HASH, served.mountpoint / "held-1") for _ in range(2)]
    served.until(lambda: served.ask("state")["waiting"] == 2)
    served.ask("release")
    assert {finished(process).strip() for process in both} == {digest(b"late" * 1000)}


def test_a_file_that_is_not_whole_is_read_the_ordinary_way_by_all_who_have_it_open(
    folder: Path, serve: Serve
) -> None:
    truth = os.urandom(9 << 20)
    (folder / "slow-0-big").write_bytes(truth)  # larger than what OPEN waits for, and never "ready"
    served = serve(folder, io="passthrough")
    path = served.mountpoint / "slow-0-big"
    with path.open("rb") as first, path.open("rb") as second:
        assert first.read() == truth
        assert second.read(100) == truth[:100]
    assert served.requests()["READ"] > 1


def test_a_server_that_dies_in_a_notification_is_seen_to_be_gone(tmp_path: Path) -> None:
    """Its thread waits in the kernel for a LOOKUP that only a successor can answer: waitpid says nothing."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    fd = mounting.mount(str(mountpoint))
    server: subprocess.Popen[str] | None = None
    try:
        negotiate(fd)
        looking = subprocess.Popen(["stat", mountpoint / "name"], stderr=subprocess.DEVNULL)
        unique = _read_lookup(fd)
        code = (
            "import os,sys\n"
            "from pictofs.drivers.kernel import wire\n"
            "from threading import Thread\n"
            "tell = lambda: os.write(int(sys.argv[1]), wire.inval_entry(1, b'other'))\n"
            "Thread(target=tell, daemon=True).start()\n"
            "print('telling', flush=True)\n"
            "sys.stdin.read()\n"
        )
        server = subprocess.Popen(
            [sys.executable, "-c", code, str(fd)],
            pass_fds=[fd],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "telling\n"
        tasks = Path(f"/proc/{server.pid}/task")
        _until(lambda: any(" D " in (task / "stat").read_text() for task in tasks.iterdir()))
        assert not gone(server.pid)
        server.kill()
        _until(lambda: gone(server.pid))
        assert server.poll() is None
        os.write(fd, wire.error(unique, errno.ENOENT))
        server.communicate(timeout=20)
        assert looking.wait(20) == 1
        assert gone(server.pid)
    finally:
        mounting.unmount(str(mountpoint), lazy=True)
        os.close(fd)


def _read_lookup(fd: int) -> int:
    """Answer what comes before the first LOOKUP; its unique."""
    buffer = bytearray(BUFFER_BYTES)
    root = Attr(1, 1, 0o40555, 2, 0, 0, 0, 0, 60.0)
    while True:
        os.readv(fd, [buffer])
        _, opcode, unique, _, _ = wire.REQUEST.unpack_from(buffer)
        if opcode == wire.Opcode.LOOKUP:
            return int(unique)
        answer = replies.attributes(unique, root) if opcode == wire.Opcode.GETATTR else wire.error(unique, 38)
        os.write(fd, answer)


def _until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
