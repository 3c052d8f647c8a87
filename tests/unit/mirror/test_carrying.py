"""Calls, writer, transfers and single flights: the ways out of the event loop and back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pictofs.catalog.model import BlockRow
from pictofs.errors import Damaged, PictofsError, RateLimited
from pictofs.link.messages import Priority
from pictofs.mirror.calls import Calls
from pictofs.mirror.singleflight import Flight, SingleFlight
from pictofs.mirror.transfer import Courier
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.writer import BATCH_BLOCKS, Block, Writer
from pictofs.storage import Get, Got


def test_calls_that_wait_for_a_thread_run_by_priority_then_in_order() -> None:
    async def scenario() -> list[str]:
        calls = Calls(threads=1)
        calls.start()
        gate, order = threading.Event(), []
        first = asyncio.ensure_future(calls.run(lambda: gate.wait(10)))
        await asyncio.sleep(0)
        others = [
            asyncio.ensure_future(calls.run(lambda name=name: order.append(name), priority))
            for name, priority in (
                ("fill", Priority.FILL),
                ("demand 1", Priority.DEMAND),
                ("ahead", Priority.LOOK_AHEAD),
                ("demand 2", Priority.DEMAND),
            )
        ]
        await asyncio.sleep(0)
        others[1].cancel()
        gate.set()
        await asyncio.gather(first, *others, return_exceptions=True)
        calls.stop()
        return order

    assert asyncio.run(scenario()) == ["demand 2", "ahead", "fill"]


def test_a_call_s_exception_is_its_awaiter_s() -> None:
    async def scenario() -> None:
        calls = Calls(threads=1)
        calls.start()
        with pytest.raises(ZeroDivisionError):
            await calls.run(lambda: 1 // 0)
        assert await calls.run(lambda: 5) == 5
        calls.stop()

    asyncio.run(scenario())


def row(block: Block) -> BlockRow:
    return BlockRow(block.node, block.block, "p", len(block.body), block.crc32c, 1)


def test_blocks_that_wait_are_kept_in_one_batch_between_the_calls_around_them() -> None:
    order: list[Any] = []

    def keep(blocks: Sequence[Block]) -> list[BlockRow | BaseException]:
        order.append([block.node for block in blocks])
        return [Damaged("no") if block.node == 13 else row(block) for block in blocks]

    async def scenario() -> None:
        writer = Writer(keep)
        writer.start()
        gate = threading.Event()
        waiting = asyncio.ensure_future(writer.run(lambda: gate.wait(10)))
        await asyncio.sleep(0)
        blocks = [asyncio.ensure_future(writer.store(Block(n, 0, b"x", 1))) for n in range(BATCH_BLOCKS + 10)]
        await asyncio.sleep(0)
        between = asyncio.ensure_future(writer.run(lambda: order.append("call")))
        await asyncio.sleep(0)
        last = asyncio.ensure_future(writer.store(Block(999, 0, b"x", 1)))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(waiting, between, last)
        answers = await asyncio.gather(*blocks, return_exceptions=True)
        assert isinstance(answers.pop(13), Damaged)
        assert all(isinstance(answer, BlockRow) for answer in answers)
        await writer.stop()

    asyncio.run(scenario())
    assert order == [[*range(BATCH_BLOCKS)], [*range(BATCH_BLOCKS, BATCH_BLOCKS + 10)], "call", [999]]


def test_what_the_writer_was_given_is_done_before_it_ends() -> None:
    done: list[int] = []

    async def scenario() -> None:
        writer = Writer(lambda blocks: [row(block) for block in blocks])
        writer.start()
        jobs = [asyncio.ensure_future(writer.run(lambda n=n: done.append(n))) for n in range(20)]
        stored = asyncio.ensure_future(writer.store(Block(1, 0, b"x", 1)))
        await asyncio.sleep(0)
        await writer.stop()
        await asyncio.gather(stored, *jobs)

    asyncio.run(scenario())
    assert done == list(range(20))


class Carrier:
    """Ends transfers when told, in a thread of its own."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes_received = 0
        self.submitted: list[tuple[Get, Any, Any]] = []
        self.cancelled: list[Any] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def submit(self, get: Get, done: Any, progress: Any = None) -> Any:
        self.submitted.append((get, done, progress))
        return len(self.submitted)

    def cancel(self, handle: Any) -> None:
        self.cancelled.append(handle)


def got(body: bytes = b"x") -> Got:
    return Got(body, 0, len(body), "", "", "", "", 0, 0, True, len(body), 1, 0.0, 0.0)


def test_transfers_end_for_their_awaiters_and_progress_is_passed_on_seldom() -> None:
    async def scenario() -> None:
        carrier, told, clock_s = Carrier(), [], [0.0]
        courier = Courier(carrier, clock=lambda: clock_s[0])
        courier.start()
        awaited = [asyncio.ensure_future(courier.get(Get(f"u{n}"), told.append)) for n in range(3)]
        await asyncio.sleep(0)

        def ends() -> None:
            for step in range(10):
                clock_s[0] = step * 0.2
                carrier.submitted[0][2](step)
            carrier.submitted[0][1](got(b"a"))
            carrier.submitted[1][1](Damaged("no"))

        thread = threading.Thread(target=ends)
        thread.start()
        thread.join()
        assert (await awaited[0]).body == b"a"
        with pytest.raises(Damaged):
            await awaited[1]
        assert told == [3, 6, 9]
        awaited[2].cancel()
        await asyncio.gather(awaited[2], return_exceptions=True)
        assert carrier.cancelled == [3]
        carrier.submitted[2][1](got())  # too late: nobody is told
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_flight_runs_once_for_all_who_join_and_outlives_each_of_them() -> None:
    async def scenario() -> None:
        flights, runs, gate = SingleFlight(), [], asyncio.Event()
        moved: list[str] = []

        async def run(flight: Flight) -> int:
            runs.append(flight)
            flight.moved()
            await gate.wait()
            flight.moved()
            return 7

        one = asyncio.ensure_future(flights.join("k", run, lambda: moved.append("one")))
        other = asyncio.ensure_future(flights.join("k", run, lambda: moved.append("other")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        gate.set()
        assert await other == 7
        assert len(runs) == 1
        assert moved == ["one", "other", "other"]
        assert len(flights) == 0

    asyncio.run(scenario())


def test_a_flight_that_fails_fails_for_all_and_the_next_begins_anew() -> None:
    async def scenario() -> None:
        flights, runs = SingleFlight(), 0

        async def run(flight: Flight) -> int:
            nonlocal runs
            runs += 1
            await asyncio.sleep(0)
            if runs == 1:
                raise PictofsError("no")
            return runs

        answers = await asyncio.gather(*(flights.join("k", run) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [PictofsError] * 3
        assert await flights.join("k", run) == 2

    asyncio.run(scenario())


def test_a_flight_that_nobody_waits_for_is_begun_once_and_joined_by_who_comes_later() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()

        async def run(flight: Flight) -> int:
            await gate.wait()
            return 7

        async def another(flight: Flight) -> int:
            raise AssertionError("there is one under way")

        task = flights.begin("k", run)
        assert flights.begin("k", another) is None
        joined = asyncio.ensure_future(flights.join("k", another))
        await asyncio.sleep(0)
        gate.set()
        assert await joined == 7
        assert task is not None
        assert task.result() == 7
        assert len(flights) == 0

    asyncio.run(scenario())


def test_who_joins_what_nobody_asked_for_does_not_pay_for_its_being_out_of_budget() -> None:
    async def scenario() -> None:
        flights = SingleFlight()

        async def broke(flight: Flight) -> int:
            await asyncio.sleep(0)
            raise RateLimited("only the reserve is left")

        async def run(flight: Flight) -> int:
            return 7

        assert flights.begin("k", broke) is not None
        assert await asyncio.gather(*(flights.join("k", run) for _ in range(3))) == [7, 7, 7]
        with pytest.raises(RateLimited):
            await asyncio.gather(flights.join("k", broke), flights.join("k", run))

    asyncio.run(scenario())


def test_a_line_that_a_crowd_causes_is_news_once_a_minute_and_the_ring_keeps_the_last() -> None:
    now_s = [0.0]
    troubles = Troubles(wall_s=lambda: now_s[0])
    assert troubles.note("a")
    assert not troubles.note("a")
    assert troubles.note("b")
    now_s[0] = 61.0
    assert troubles.note("a")
    assert troubles.recent() == [
        {"time": "1970-01-01T00:00:00Z", "what": "a"},
        {"time": "1970-01-01T00:00:00Z", "what": "b"},
        {"time": "1970-01-01T00:01:01Z", "what": "a"},
    ]
    for number in range(100):
        troubles.note(str(number))
    assert len(troubles.recent()) == 50
