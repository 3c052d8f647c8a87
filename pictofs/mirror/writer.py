"""The one thread that writes catalog and store.

Jobs run in the order they were given. Blocks that wait next to each other are kept in one batch, hence in
one transaction: with 64 transfers under way a commit for each would cost more than the transfers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pictofs.catalog.model import BlockRow
from pictofs.errors import TransferError
from pictofs.mirror.versions import Seen
from pictofs.store import Written

T = TypeVar("T")
_log = logging.getLogger(__name__)
BATCH_BLOCKS = 64
BATCH_BYTES = 32 << 20


class Block(msgspec.Struct, frozen=True):
    """Checked bytes on their way into the store."""

    node: int
    block: int
    body: bytes | memoryview | Written
    crc32c: int
    seen: Seen | None = None   # of an image: its version is settled first, in the same job

    def loaded(self) -> Block:
        """The block with its bytes in memory, their file gone. TransferError when that cannot be read."""
        if not isinstance(self.body, Written):
            return self
        try:
            with open(self.body.path, "rb") as file:
                body = file.read()
            os.unlink(self.body.path)
        except OSError as error:
            raise TransferError(f"what arrived cannot be read again: {error.strerror}") from error
        return msgspec.structs.replace(self, body=body)


Keep = Callable[[Sequence[Block]], list[BlockRow | BaseException]]


@dataclass(slots=True)
class _Job:
    future: asyncio.Future[Any] | None   # None: nobody waits
    call: Callable[[], Any] | None       # None: keep `block`
    block: Block | None = None


_Outcome = tuple[asyncio.Future[Any] | None, Any, BaseException | None]


class Writer:
    """Runs jobs one after the other; `keep` stores a batch of blocks and answers for each."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins the thread; called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call()` in the writer's thread. What was given is done, even when nobody waits."""
        future = self._future()
        self._jobs.put(_Job(future, call))
        result: T = await future
        return result

    def post(self, call: Callable[[], object]) -> None:
        """`call()` in the writer's thread, in its turn; from any thread. Nobody waits; it must not raise."""
        self._jobs.put(_Job(None, call))

    async def store(self, block: Block) -> BlockRow:
        """Stores a block and enters it in the catalog. Raises what `keep` answers for it."""
        future = self._future()
        self._jobs.put(_Job(future, None, block))
        row: BlockRow = await future
        return row

    async def stop(self) -> None:
        """Finishes what was given and ends the thread."""
        if self._loop is not None:
            self._jobs.put(None)
            await self._loop.run_in_executor(None, self._thread.join)

    def _future(self) -> asyncio.Future[Any]:
        if self._loop is None:
            raise RuntimeError("the writer has not been started")
        return self._loop.create_future()

    def _serve(self) -> None:
        held: _Job | None = None
        while True:
            job, held = held or self._jobs.get(), None
            if job is None:
                return
            if job.call is not None:
                outcome = _run(job.future, job.call)
                if job.future is not None:
                    self._tell([outcome])
                elif outcome[2] is not None:
                    _log.error("a write failed in a way it should not", exc_info=outcome[2])
                continue
            batch = [job]
            size_bytes = _size(job)
            while len(batch) < BATCH_BLOCKS and size_bytes < BATCH_BYTES:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None or following.call is not None:
                    held = following
                    if following is None:
                        self._jobs.put(None)  # the end, kept for the next turn
                    break
                batch.append(following)
                size_bytes += _size(following)
            self._tell(self._stored(batch))
            del job, batch  # an idle thread keeps no bytes alive

    def _stored(self, batch: list[_Job]) -> list[_Outcome]:
        try:
            answers = self._keep([job.block for job in batch if job.block is not None])
        except BaseException as error:  # noqa: BLE001 - it is each awaiter's
            return [(job.future, None, error) for job in batch]
        return [
            (job.future, None, answer) if isinstance(answer, BaseException) else (job.future, answer, None)
            for job, answer in zip(batch, answers, strict=True)
        ]

    def _tell(self, outcomes: list[_Outcome]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(_settle, outcomes)
        except RuntimeError:
            pass  # the loop has closed: nobody waits any more


def _run(future: asyncio.Future[Any] | None, call: Callable[[], Any]) -> _Outcome:
    try:
        return future, call(), None
    except BaseException as error:  # noqa: BLE001 - it is the awaiter's
        return future, None, error


def _size(job: _Job) -> int:
    return len(job.block.body) if job.block else 0


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, failed in outcomes:
        if future is None or future.cancelled():
            continue
        if failed is None:
            future.set_result(result)
        else:
            future.set_exception(failed)
