"""Opening an archive: its central directory, read by a child (`central`), becomes rows of the catalog."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
from collections.abc import AsyncIterator, Callable

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import Change, ExportRow, Kind, OpenedRow, node_id
from pictofs.errors import ArchiveError, ArchiveTooLarge, Stale
from pictofs.link.frames import Frames, LinkLost
from pictofs.mirror.access import Membership
from pictofs.mirror.central import CPU_S, Ask, End, Found, Message, Page, Refused
from pictofs.mirror.excerpts import Excerpts
from pictofs.mirror.exports import Exports
from pictofs.mirror.singleflight import Flight, SingleFlight
from pictofs.mirror.writer import Writer

MOST_MEMBERS = 2_000_000
BEAT_S = 1.0              # who waits is told so often that the child is at work
PIPE_BYTES = 1 << 20


class Openings:
    """Opens archives, one child each. Lives in one event loop."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        flights: SingleFlight,
        exports: Exports,
        excerpts: Excerpts,
        push: Callable[[Change], None],
        *,
        most_members: int = MOST_MEMBERS,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._flights = flights
        self._exports = exports
        self._excerpts = excerpts
        self._push = push
        self._most_members = most_members

    async def opened(self, member: Membership, export: int, flight: Flight) -> None:
        """Returns when every member of the archive is in the catalog.

        ArchiveError: it is no ZIP, or has too many members; Stale: this version is gone.
        """
        if self._reader.opened(export) is not None:
            return
        row = self._reader.export(export)
        if row is not None and row.size_bytes is None:
            await member.join(
                self._flights, ("size", node_id(export, Kind.EXPORT)),
                lambda _: self._exports.measured(member, export),
            )  # fmt: skip
            row = self._reader.export(export)
        if row is None or row.gone or row.size_bytes is None:
            raise Stale("this version of an export is gone: list them again")
        while await self._writer.run(lambda: self._catalog.clear_members(export)):
            pass  # what a process that died meanwhile has left
        beating = asyncio.ensure_future(_beat(flight))
        try:
            await self._read(member, row, row.size_bytes, flight)
        finally:
            beating.cancel()

    async def _read(self, member: Membership, row: ExportRow, size_bytes: int, flight: Flight) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pictofs.mirror.central", str(self._most_members), str(size_bytes),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd="/", limit=PIPE_BYTES,
        )  # fmt: skip
        try:
            whole = await self._converse(member, row, child, flight)
            if not whole:
                code = await child.wait()
                assert child.stderr is not None
                said = (await child.stderr.read()).decode(errors="replace").strip().splitlines()
                why = said[-1] if said else f"code {code}"
                raise ArchiveError(
                    f"{row.file_name}.zip cannot be opened as a folder: reading it ended with {why}"
                )
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
            await child.wait()

    async def _converse(
        self, member: Membership, row: ExportRow, child: asyncio.subprocess.Process, flight: Flight
    ) -> bool:
        """Answers the child and takes what it finds; False when it fell silent before the end."""
        assert child.stdin is not None
        assert child.stdout is not None
        node = node_id(row.pk, Kind.EXPORT)
        opened: OpenedRow | None = None
        start = 0
        async for message in _messages(child.stdout):
            if isinstance(message, Ask):
                end = message.first + message.size_bytes
                with contextlib.suppress(ConnectionError):  # it has died: the loop ends
                    async for piece in self._excerpts.pieces(member, node, message.first, end, flight.moved):
                        child.stdin.write(piece)
                        await child.stdin.drain()
            elif isinstance(message, Found):
                count = message.count
                opened = await self._writer.run(lambda: self._catalog.begin_opening(row.pk, count))  # noqa: B023
            elif isinstance(message, Page) and opened is not None:
                at, page, into = start, message.members, opened
                start += len(page)
                await self._writer.run(lambda: self._catalog.put_members(into, at, page))  # noqa: B023
            elif isinstance(message, End) and opened is not None:
                done = opened
                self._push(await self._writer.run(lambda: self._catalog.finish_opening(done)))  # noqa: B023
                return True
            elif isinstance(message, Refused):
                kind = ArchiveTooLarge if message.errno == errno.EFBIG else ArchiveError
                raise kind(f"{row.file_name}.zip cannot be opened as a folder: {message.what}")
        return False


async def _messages(stream: asyncio.StreamReader) -> AsyncIterator[Message]:
    frames: Frames[Message] = Frames(Message)
    while data := await stream.read(PIPE_BYTES):
        try:
            messages = frames.feed(data)
        except LinkLost:
            return
        for message in messages:
            yield message


async def _beat(flight: Flight) -> None:
    for _ in range(int(CPU_S / BEAT_S)):
        await asyncio.sleep(BEAT_S)
        flight.moved()
