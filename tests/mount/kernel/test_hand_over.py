"""A server that dies is replaced on the same descriptor; files passed through outlive it."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import HASH, digest, finished, holding, reader

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
