"""Adjacent blocks as one transfer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pictofs.errors import TransferError
from pictofs.mirror.runs import Runs

MEMBER: Any = SimpleNamespace(access=object())


class Host:
    """Counts transfers; each answers when it is let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.go = asyncio.Event()
        self.fails = False
        self.cancelled = 0

    async def transfer(self, member: Any, node: int, first: int, last: int, progress: Any) -> Any:
        self.asked.append((first, last))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        progress((last - first + 1) * 100)
        if self.fails:
            raise TransferError("as the test wishes")
        return (first, last)


async def ask(runs: Runs, *blocks: int, told: list[int] | None = None) -> list[asyncio.Task[Any]]:
    tasks = [
        asyncio.ensure_future(runs.get(MEMBER, 1, block, (told if told is not None else []).append))
        for block in blocks
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def test_blocks_that_start_together_and_lie_together_are_one_transfer() -> None:
    async def main() -> None:
        host = Host()
        runs = Runs(host.transfer, most_blocks=4)
        told: list[int] = []
        tasks = await ask(runs, 3, 1, 2, 9, 11, 10, 12, 13, told=told)
        assert sorted(host.asked) == [(1, 3), (9, 12), (13, 13)]
        host.go.set()
        got = await asyncio.gather(*tasks)
        assert got == [(1, 3), (1, 3), (1, 3), (9, 12), (9, 12), (9, 12), (9, 12), (13, 13)]
        assert told == [100] * 8, "each hears of its own part"

    asyncio.run(main())


def test_a_failure_is_everybody_s() -> None:
    async def main() -> None:
        host = Host()
        host.fails = True
        host.go.set()
        tasks = await ask(Runs(host.transfer), 1, 2)
        for task in tasks:
            with pytest.raises(TransferError):
                await task

    asyncio.run(main())


def test_a_transfer_goes_on_for_whoever_is_left_and_ends_when_nobody_is() -> None:
    async def main() -> None:
        host = Host()
        runs = Runs(host.transfer)
        first, second = await ask(runs, 1, 2)
        first.cancel()
        await asyncio.wait({first})
        assert not host.cancelled
        host.go.set()
        assert await second == (1, 2)
        host.go.clear()
        tasks = await ask(runs, 5, 6)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for _ in range(3):
            await asyncio.sleep(0)
        assert host.cancelled == 1

    asyncio.run(main())


def test_no_more_transfers_than_jobs_are_under_way_and_the_others_follow() -> None:
    async def main() -> None:
        host = Host()
        tasks = await ask(Runs(host.transfer, jobs=2), 1, 10, 20, 30)
        assert host.asked == [(1, 1), (10, 10)]
        tasks[2].cancel()
        host.go.set()
        assert await tasks[3] == (30, 30)
        assert host.asked == [(1, 1), (10, 10), (30, 30)], "nobody waits for the third"

    asyncio.run(main())
