"""Transfers in a process of their own: what is ordered comes into its file, whoever dies of it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import google_crc32c
import pytest

from pictofs.errors import ObjectGone, PictofsError, TransferError, UrlExpired
from pictofs.mirror.carriage import Carriage
from pictofs.mirror.freight import Order
from pictofs.mirror.policy import Limits, Policy
from pictofs.storage import Get, Got
from tests.unit.storage.host import Host, Treatment

LIMIT_S = 20.0
BODY = bytes(range(256)) * 200


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


class Sender:
    """A carriage, and what it told."""

    def __init__(self, carriage: Carriage, folder: Path) -> None:
        self.carriage = carriage
        self.folder = folder
        self.told: dict[int, Got | PictofsError] = {}
        self.came: list[tuple[int, int]] = []
        self._moved = asyncio.Event()

    def _arrived(self, outcomes: object) -> None:
        for number, outcome in outcomes:  # type: ignore[attr-defined]
            assert number not in self.told, "an outcome is told once"
            self.told[number] = outcome
        self._moved.set()

    def send(self, *urls: str, first: int = 1) -> None:
        self.carriage.send(
            Policy(timeout_s=5.0),
            [(n, Get(url, sink=str(self.path(n)))) for n, url in enumerate(urls, first)],
            self._arrived,
            self._came,
        )

    def _came(self, number: int, size_bytes: int) -> None:
        self.came.append((number, size_bytes))

    def path(self, number: int) -> Path:
        return self.folder / f"file.{number}"

    async def wait(self, count: int) -> None:
        async def enough() -> None:
            while len(self.told) < count:
                self._moved.clear()
                await self._moved.wait()

        await asyncio.wait_for(enough(), LIMIT_S)


@asynccontextmanager
async def sending(folder: Path, **limits: int) -> AsyncIterator[Sender]:
    carriage = Carriage(Limits(1 << 30, 0, **limits))
    sender = Sender(carriage, folder)
    carriage.prepare()
    try:
        yield sender
    finally:
        await carriage.stop()
        assert carriage.pid == 0


def run(folder: Path, scenario: Callable[[Sender], Awaitable[None]], **limits: int) -> None:
    async def within() -> None:
        async with sending(folder, **limits) as sender:
            await scenario(sender)

    asyncio.run(within())


def test_a_body_comes_into_the_file_that_was_named_and_its_checksum_comes_back(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.put(f"/{n}.jpg", BODY[n:], generation=n + 1) for n in range(20)]

    async def scenario(sender: Sender) -> None:
        sender.send(*urls, first=0)
        await sender.wait(20)
        for n in range(20):
            got = sender.told[n]
            assert isinstance(got, Got)
            assert (got.body, got.body_bytes, got.total_bytes) == (b"", len(BODY) - n, len(BODY) - n)
            assert (got.crc32c, got.generation) == (google_crc32c.value(BODY[n:]), str(n + 1))
            assert sender.path(n).read_bytes() == BODY[n:]
        assert sender.carriage.requests == 20
        assert sender.carriage.bytes_received == sum(len(BODY) - n for n in range(20))

    run(tmp_path, scenario)


FORKED = """
import asyncio, os, sys
from pathlib import Path
from pictofs.mirror import carter
from pictofs.mirror.carriage import Carriage
from pictofs.mirror.policy import Limits, Policy
from pictofs.storage import Get

lock = os.open(sys.argv[2] + ".lock", os.O_CREAT | os.O_RDWR)
spare = carter.fork_off(8, None)

async def main():
    carriage = Carriage(Limits(1 << 30, 0), spare)
    ended = asyncio.Event()
    for number in range(2):
        ended.clear()
        carriage.send(
            Policy(timeout_s=5.0), [(number, Get(sys.argv[1], sink=sys.argv[2] + str(number)))],
            lambda outcomes: ended.set(), lambda number, size_bytes: None,
        )
        await asyncio.wait_for(ended.wait(), 20)
        folder = f"/proc/{carriage.pid}/fd"
        opened = [os.readlink(f"{folder}/{each}") for each in os.listdir(folder)]
        print(carriage.pid == spare[0], sys.argv[2] + ".lock" in opened, flush=True)
        if number == 0:
            os.kill(carriage.pid, 9)
    await carriage.stop()

asyncio.run(main())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
"""


def test_a_carter_that_was_forked_off_holds_nothing_of_its_parents_and_is_replaced_when_it_dies(
    host: Host, tmp_path: Path
) -> None:
    url = host.put("/a.jpg", BODY)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, url, str(tmp_path / "file")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["True False", "False False", "no child is left"]
    assert (tmp_path / "file0").read_bytes() == (tmp_path / "file1").read_bytes() == BODY


def test_a_carter_that_may_hold_a_key_writes_no_core_file(host: Host, tmp_path: Path) -> None:
    url = host.put("/a.jpg", BODY)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (min(1, before[1]) if before[1] >= 0 else 1, before[1]))

    async def scenario(sender: Sender) -> None:
        sender.send(url)
        await sender.wait(1)
        assert resource.prlimit(sender.carriage.pid, resource.RLIMIT_CORE) == (0, 0)

    try:
        run(tmp_path, scenario)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def test_what_fails_ends_in_the_exception_that_the_transfers_raised(host: Host, tmp_path: Path) -> None:
    urls = [
        host.put("/gone.jpg", BODY, Treatment(status=404)),
        host.put("/over.jpg", BODY, Treatment(status=403)),
        host.put("/nowhere.jpg", BODY),
    ]

    async def scenario(sender: Sender) -> None:
        sender.path(3).mkdir()  # nothing can be written there
        sender.send(*urls)
        await sender.wait(3)
        assert [type(sender.told[n]) for n in (1, 2, 3)] == [ObjectGone, UrlExpired, TransferError]
        assert "Signature" not in "".join(str(error) for error in sender.told.values())
        assert not sender.path(1).exists()

    run(tmp_path, scenario)


def test_a_carter_that_is_killed_is_replaced_and_nothing_ordered_is_lost(host: Host, tmp_path: Path) -> None:
    urls = [host.put(f"/{n}.jpg", BODY, Treatment(hold=True, cut=100)) for n in range(5)]

    async def scenario(sender: Sender) -> None:
        sender.send(*urls)
        await asyncio.get_running_loop().run_in_executor(None, host.wait_asked, 5)
        before = sender.carriage.pid
        os.kill(before, signal.SIGKILL)
        await sender.wait(5)
        assert all(isinstance(each, Got) for each in sender.told.values())
        assert all(sender.path(n).read_bytes() == BODY for n in range(1, 6))
        assert sender.carriage.pid not in (0, before)

    run(tmp_path, scenario)


def test_what_two_carters_die_of_is_given_up(host: Host, tmp_path: Path) -> None:
    url = host.put("/a.jpg", BODY, Treatment(hold=True, cut=100), Treatment(hold=True, cut=100))

    async def scenario(sender: Sender) -> None:
        sender.send(url)
        for asked in (1, 2):
            await asyncio.get_running_loop().run_in_executor(None, host.wait_asked, asked)
            os.kill(sender.carriage.pid, signal.SIGKILL)
        await sender.wait(1)
        assert type(sender.told[1]) is TransferError
        sender.send(host.put("/b.jpg", BODY), first=2)
        await sender.wait(2)
        assert isinstance(sender.told[2], Got)

    run(tmp_path, scenario)


def test_what_comes_slowly_is_told_of_while_it_comes_and_what_stands_still_is_not(
    host: Host, tmp_path: Path
) -> None:
    slow = host.put("/slow.jpg", BODY, Treatment(drip=len(BODY) // 20, pause_s=0.05))
    still = host.put("/still.jpg", BODY, Treatment(hold=True, cut=0))

    async def scenario(sender: Sender) -> None:
        sender.send(slow, still)
        await sender.wait(1)
        assert isinstance(sender.told[1], Got)
        assert {number for number, _ in sender.came} == {1}
        sizes = [size_bytes for _, size_bytes in sender.came]
        assert sizes == sorted(set(sizes)), "more each time"
        assert 0 < sizes[0] < len(BODY)

    run(tmp_path, scenario)


def test_no_more_run_at_once_than_was_said_last(host: Host, tmp_path: Path) -> None:
    urls = [host.put(f"/{n}.jpg", BODY, Treatment(drip=len(BODY) // 2, pause_s=0.05)) for n in range(12)]

    async def scenario(sender: Sender) -> None:
        sender.carriage.set_connections(2)
        sender.send(*urls)
        await sender.wait(12)
        assert host.most_active <= 2

    run(tmp_path, scenario)


def test_bytes_that_came_another_way_count_against_the_bandwidth(host: Host, tmp_path: Path) -> None:
    url = host.put("/a.jpg", b"x" * 1000)

    async def scenario(sender: Sender) -> None:
        sender.send(url)
        await sender.wait(1)
        begun_s = asyncio.get_running_loop().time()
        sender.carriage.spend(70_000)  # 0.7 s of it, of which a quarter of a second may be saved up
        sender.send(url, first=2)
        await sender.wait(2)
        assert asyncio.get_running_loop().time() - begun_s >= 0.4

    run(tmp_path, scenario, bandwidth_bytes_s=100_000)


def test_an_order_shows_no_secret() -> None:
    order = Order(1, 0, "https://h/a.jpg?X-Goog-Signature=5ec2e7", "/tmp/f", None, None, None, None)
    assert "5ec2e7" not in repr(order)
