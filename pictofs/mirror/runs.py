"""Adjacent blocks of one archive that are fetched in the same moment, as one transfer.

Blocks of archives are small, so that a random read brings little that nobody asked for. Blocks that start
next to each other, because a reader asked for several or somebody reads ahead of it, are one ranged GET: few
requests for much. Each block keeps its own flight, with its waiters, its progress and its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pictofs.mirror.access import Membership
from pictofs.mirror.transfer import Progress
from pictofs.storage import Got

RUN_BLOCKS = 8  # 2 MiB: the first byte of a run waits for its last
JOBS = 32       # transfers

Transfer = Callable[[Membership, int, int, int, Progress], Awaitable[Got]]


@dataclass(eq=False, slots=True)
class _Wish:
    """A block that somebody awaits."""

    member: Membership
    block: int
    future: asyncio.Future[Got]
    progress: Progress


class Runs:
    """Gathers what is asked for in one turn of the event loop.

    `transfer` gets blocks `first` to `last` of a node: one `Got` that holds all of them; at most `jobs` of
    them at once.
    """

    def __init__(self, transfer: Transfer, *, jobs: int = JOBS, most_blocks: int = RUN_BLOCKS) -> None:
        self._transfer = transfer
        self._most_blocks = most_blocks
        self._gathering: dict[tuple[int, int], list[_Wish]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(max(1, jobs))  # first come, first served

    async def get(self, member: Membership, node: int, block: int, progress: Progress) -> Got:
        """A transfer that holds the block, maybe among others. PictofsError of the transfer."""
        loop = asyncio.get_running_loop()
        key = (id(member.access), node)
        wish = _Wish(member, block, loop.create_future(), progress)
        if key not in self._gathering:
            self._gathering[key] = []
            # Flights that start together come to this line one after the other within one turn.
            loop.call_soon(self._depart, key)
        self._gathering[key].append(wish)
        return await wish.future

    def _depart(self, key: tuple[int, int]) -> None:
        wishes = [wish for wish in self._gathering.pop(key) if not wish.future.cancelled()]
        for run in runs(sorted(wishes, key=lambda wish: wish.block), self._most_blocks):
            task = asyncio.ensure_future(self._run(key[1], run))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            for wish in run:
                wish.future.add_done_callback(lambda _, run=run, task=task: _abandon(run, task))  # type: ignore[misc]

    async def _run(self, node: int, run: Sequence[_Wish]) -> None:
        def progressed(size_bytes: int) -> None:
            for wish in run:
                wish.progress(size_bytes // len(run))

        try:
            async with self._slots:
                got = await self._transfer(run[0].member, node, run[0].block, run[-1].block, progressed)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it is each awaiter's
            for wish in run:
                if not wish.future.done():
                    wish.future.set_exception(error)
        else:
            for wish in run:
                if not wish.future.done():
                    wish.future.set_result(got)


def runs(wishes: Sequence[_Wish], most_blocks: int) -> list[list[_Wish]]:
    """Wishes in order of their blocks → those that lie next to each other, at most so many together."""
    found: list[list[_Wish]] = []
    for wish in wishes:
        last = found[-1] if found else None
        if last is not None and len(last) < most_blocks and wish.block == last[-1].block + 1:
            last.append(wish)
        else:
            found.append([wish])
    return found


def _abandon(run: Sequence[_Wish], task: asyncio.Task[None]) -> None:
    if all(wish.future.cancelled() for wish in run):
        task.cancel()
