"""Annotation bodies that have come, kept together: one transaction for as many as wait for the writer.

A body alone takes a dozen statements and two transactions. The version is entered first and then its bytes,
both before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import google_crc32c

from pictofs.catalog import Catalog
from pictofs.catalog.model import AnnotationRow, BlockRow, Change, Kind, block_bytes, node_id
from pictofs.mirror.errands import Brought
from pictofs.mirror.writer import Block, Writer
from pictofs.store import Written

TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """A body in the store, and what its coming changed."""

    annotation: AnnotationRow
    change: Change


@dataclass(frozen=True, slots=True)
class _Waiting:
    image: int
    brought: Brought
    asked_ns: int
    future: asyncio.Future[Kept]


_Ended = tuple[asyncio.Future[Kept], "Kept | BaseException"]


class Deposit:
    """Keeps bodies. Lives in one event loop; `keep_blocks` is the room's, for the writer's thread."""

    def __init__(
        self,
        catalog: Catalog,
        writer: Writer,
        keep_blocks: Callable[[Sequence[Block]], list[BlockRow | BaseException]],
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._keep_blocks = keep_blocks
        self._lock = threading.Lock()  # guards the next two; a leaf
        self._waiting: list[_Waiting] = []
        self._posted = False

    async def keep(self, image: int, brought: Brought, asked_ns: int) -> Kept:
        """Enters the body that was asked for at `asked_ns`, as a new version if it is one. PictofsError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Kept] = loop.create_future()
        with self._lock:
            self._waiting.append(_Waiting(image, brought, asked_ns, future))
            posted, self._posted = self._posted, True
        if not posted:
            self._writer.post(lambda: self._write(loop))
        return await future

    # in the writer's thread

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            self._posted = again = bool(self._waiting)
        try:
            ended = self._enter(batch)
        except BaseException as error:  # noqa: BLE001 - it is the end of each of them
            ended = [(each.future, error) for each in batch]
        for each, (_, outcome) in zip(batch, ended, strict=True):
            if isinstance(outcome, BaseException) and isinstance(each.brought.body, Written):
                with contextlib.suppress(OSError):
                    os.unlink(each.brought.body.path)
        if again:
            self._writer.post(lambda: self._write(loop))
        try:
            loop.call_soon_threadsafe(_tell, ended)
        except RuntimeError:
            pass  # the loop has closed: nobody waits any more

    def _enter(self, batch: list[_Waiting]) -> list[_Ended]:
        entered = self._catalog.put_annotations(
            [(each.image, each.brought.version, len(each.brought.body), each.asked_ns) for each in batch]
        )
        blocks: list[Block] = []
        ends: list[int] = []
        for each, outcome in zip(batch, entered, strict=True):
            if not isinstance(outcome, LookupError):
                blocks += _blocks(node_id(outcome[0].pk, Kind.ANNOTATION), each.brought)
            ends.append(len(blocks))
        answers = self._keep_blocks(blocks) if blocks else []
        ended: list[_Ended] = []
        start = 0
        for each, outcome, end in zip(batch, entered, ends, strict=True):
            kept: Kept | BaseException = outcome if isinstance(outcome, LookupError) else Kept(*outcome)
            for answer in answers[start:end]:
                if isinstance(answer, BaseException):
                    kept = answer
            start = end
            ended.append((each.future, kept))
        return ended


def _blocks(node: int, brought: Brought) -> list[Block]:
    step = block_bytes(Kind.ANNOTATION)
    whole = Block(node, 0, brought.body, brought.crc32c)
    if len(brought.body) <= step:
        return [whole] if len(brought.body) else []
    body = whole.loaded().body
    assert not isinstance(body, Written)
    pieces = [bytes(body[at : at + step]) for at in range(0, len(body), step)]
    return [Block(node, n, piece, google_crc32c.value(piece)) for n, piece in enumerate(pieces)]


def _tell(ended: list[_Ended]) -> None:
    for future, outcome in ended:
        if future.cancelled():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
