"""Members of archives: where the bytes of a stored one begin, and those of a deflated one inflated.

A stored member is read in place, out of the archive's own blocks. A deflated one is inflated once, whole, and
enters the store when its length and its CRC-32 are found right, never before.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import IO

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import (
    EXPORT_BLOCK_BYTES,
    MEMBER_BLOCK_BYTES,
    ExportRow,
    Kind,
    MemberRow,
    node_id,
    node_pk,
)
from pictofs.errors import ArchiveError, ArchiveTooLarge, Stale
from pictofs.mirror import versions
from pictofs.mirror.access import Membership
from pictofs.mirror.excerpts import Excerpts
from pictofs.mirror.plan import Fetch
from pictofs.mirror.singleflight import Flight, SingleFlight
from pictofs.mirror.singleflight import Progress as Moved
from pictofs.mirror.transfer import Progress
from pictofs.mirror.writer import Block, Writer

HEADER = struct.Struct("<4s5H3L2H")
HEADER_MARK = b"PK\x03\x04"
NAME_GUESS_BYTES = 512      # of name and extra fields in a local header: fetched with it
ALONG_BYTES = 4 << 20       # of a stored member, fetched with its header: who asks is about to read
NEIGHBOURS = 256
SMALL_BYTES = 64 << 10      # inflated in the event loop


class Members:
    """Reads members. `drop` removes blocks that turned out wrong; `limit_bytes` is the store's."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        flights: SingleFlight,
        excerpts: Excerpts,
        drop: Callable[[Sequence[Fetch]], None],
        cache_dir: str,
        limit_bytes: int,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._flights = flights
        self._excerpts = excerpts
        self._drop = drop
        self._tmp = os.path.join(cache_dir, "tmp")
        self._limit_bytes = limit_bytes

    async def located(self, member: Membership, pk: int, flight: Flight) -> None:
        """Learns where the bytes of a stored member begin; its first bytes come with its header."""
        row, export = self._rows(pk)
        if row.data is not None or row.method != zipfile.ZIP_STORED:
            return
        node = node_id(export.pk, Kind.EXPORT)
        most = row.header + HEADER.size + NAME_GUESS_BYTES + min(row.packed_bytes, ALONG_BYTES)
        end = min(most, export.size_bytes or 0)
        near = await self._excerpts.read(member, node, row.header, end, flight.moved)
        offsets = [(pk, self._data(row, export, near))]
        # Those that follow are read next more often than not, and their headers are in the same blocks.
        block_end = min(-(-end // EXPORT_BLOCK_BYTES) * EXPORT_BLOCK_BYTES, export.size_bytes or 0)
        if block_end > end:
            near += await self._excerpts.read(member, node, end, block_end, flight.moved)
        for other in self._reader.members_from(pk + 1, NEIGHBOURS):
            at = other.header - row.header
            if other.export != row.export or not 0 < at <= len(near) - HEADER.size:
                break
            if other.method == zipfile.ZIP_STORED and other.data is None:
                try:
                    offsets.append((other.pk, self._data(other, export, near[at:at + HEADER.size])))
                except ArchiveError:
                    continue  # whoever reads that one is told
        await self._writer.run(lambda: self._catalog.put_member_data(offsets))

    async def bring(
        self, member: Membership, fetch: Fetch, progress: Progress, nearly: Callable[[], None]
    ) -> None:
        """Makes a block of a deflated member present, and with it all of its blocks."""
        row, export = self._rows(node_pk(fetch.node))
        if row.size_bytes > self._limit_bytes:
            raise ArchiveTooLarge(f"{_called(row, export)} has {row.size_bytes} bytes, more than cache_size")
        await member.join(
            self._flights, ("inflate", fetch.node),
            lambda flight: self._inflated(member, row, export, flight), lambda: progress(0),
        )  # fmt: skip

    def _rows(self, pk: int) -> tuple[MemberRow, ExportRow]:
        row = self._reader.member(pk)
        export = self._reader.export(row.export) if row else None
        if row is None or export is None or export.gone or export.size_bytes is None:
            raise Stale("this version of an export is gone: list them again")
        if row.header < 0:
            raise ArchiveError(f"{_called(row, export)} begins before its archive does")
        return row, export

    def _data(self, row: MemberRow, export: ExportRow, near: bytes) -> int:
        """Where a member's bytes begin, by its local header, which `near` begins with."""
        try:
            mark, *_, name_bytes, extra_bytes = HEADER.unpack_from(near)
        except struct.error:
            mark, name_bytes, extra_bytes = b"", 0, 0
        data = row.header + HEADER.size + int(name_bytes) + int(extra_bytes)
        if mark != HEADER_MARK or data + row.packed_bytes > (export.size_bytes or 0):
            raise ArchiveError(f"{_called(row, export)} is not where the archive's directory says")
        if row.method == zipfile.ZIP_STORED and row.packed_bytes != row.size_bytes:
            raise ArchiveError(f"{_called(row, export)} is stored, and yet has two lengths")
        return data

    async def _inflated(self, member: Membership, row: MemberRow, export: ExportRow, flight: Flight) -> None:
        node = node_id(export.pk, Kind.EXPORT)
        try:
            await self._inflate(member, row, export, flight.moved)
        except ArchiveError:
            # It may be us: ranges come without a checksum. Once more, from the storage host.
            end = row.header + HEADER.size + NAME_GUESS_BYTES + row.packed_bytes
            blocks = range(row.header // EXPORT_BLOCK_BYTES, -(-end // EXPORT_BLOCK_BYTES))
            await self._writer.run(lambda: self._drop([Fetch(node, block) for block in blocks]))
            await self._inflate(member, row, export, flight.moved)

    async def _inflate(self, member: Membership, row: MemberRow, export: ExportRow, moved: Moved) -> None:
        node = node_id(export.pk, Kind.EXPORT)
        end = min(row.header + HEADER.size + NAME_GUESS_BYTES + row.packed_bytes, export.size_bytes or 0)
        near_end = min(row.header + HEADER.size, end)
        if end - row.header <= EXPORT_BLOCK_BYTES:
            near_end = end  # one read for all of it
        near = await self._excerpts.read(member, node, row.header, near_end, moved)
        data = self._data(row, export, near)
        with tempfile.SpooledTemporaryFile(MEMBER_BLOCK_BYTES, dir=self._tmp) as body:
            inflating = Inflating(row, body)
            held = near[data - row.header :][: row.packed_bytes]
            await self._feed(inflating, row, held)
            async for piece in self._excerpts.pieces(
                member, node, data + len(held), data + row.packed_bytes, moved
            ):
                await self._feed(inflating, row, piece)
                moved()
            if row.method != zipfile.ZIP_DEFLATED or not inflating.whole():
                raise ArchiveError(f"{_called(row, export)} is damaged: its checksum or its length is wrong")
            body.seek(0)
            for block in range(max(1, -(-row.size_bytes // MEMBER_BLOCK_BYTES))):
                content = body.read(MEMBER_BLOCK_BYTES)
                await self._writer.store(Block(row.node, block, content, versions.crc32c(content)))
                moved()


    async def _feed(self, inflating: Inflating, row: MemberRow, packed: bytes) -> None:
        if row.size_bytes <= SMALL_BYTES:
            inflating.feed(packed)  # a thread would cost more
        else:
            await asyncio.to_thread(inflating.feed, packed)


class Inflating:
    """A deflated member's bytes on their way into a file, counted and summed."""

    def __init__(self, row: MemberRow, body: IO[bytes]) -> None:
        self._row = row
        self._body = body
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._size_bytes = 0
        self._crc32 = 0
        self._broken = False

    def feed(self, packed: bytes) -> None:
        """More of the packed bytes; never more in memory than a block of what comes of them."""
        try:
            while packed and not self._broken and not self._inflate.eof:
                self._take(self._inflate.decompress(packed, MEMBER_BLOCK_BYTES))
                packed = self._inflate.unconsumed_tail
        except zlib.error:
            self._broken = True

    def whole(self) -> bool:
        """Whether what came is what the directory promised, to the last byte; nothing follows."""
        try:
            self._take(self._inflate.flush())  # some hundred bytes at most
        except zlib.error:
            self._broken = True
        return (
            not self._broken
            and self._inflate.eof
            and self._size_bytes == self._row.size_bytes
            and self._crc32 == self._row.crc32
        )

    def _take(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        self._broken = self._broken or self._size_bytes > self._row.size_bytes
        if not self._broken:
            self._crc32 = zlib.crc32(piece, self._crc32)
            self._body.write(piece)


def _called(row: MemberRow, export: ExportRow) -> str:
    return f"{row.file_name} in {export.file_name}.zip"
