"""Exports: their list, their sizes, and their archives by range.

An archive is fetched in blocks over hours and restarts, and the list says nothing of its generation. So the
generation is remembered while this process lives; after a restart the last block on disk is the witness: it
is fetched again and compared (it holds the ZIP's directory, with a checksum of every member). Where it is
not on disk or differs, what is on disk goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pictofs.api import Client, Dataset, Export, Link
from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import Change, DatasetRow, ExportRow, Kind, block_bytes, node_id, node_pk
from pictofs.errors import (
    NotFound,
    ObjectChanged,
    ObjectGone,
    Stale,
    TransferError,
    Unprocessable,
    UrlExpired,
)
from pictofs.mirror import facts, versions
from pictofs.mirror.access import Membership
from pictofs.mirror.links import Scope, Signed
from pictofs.mirror.listing import Listings
from pictofs.mirror.plan import Extent, Fetch, extent, length
from pictofs.mirror.renamed import ask_by_name
from pictofs.mirror.runs import JOBS, Runs
from pictofs.mirror.singleflight import Flight, SingleFlight
from pictofs.mirror.transfer import Courier, Progress
from pictofs.mirror.versions import Seen
from pictofs.mirror.writer import Block, Writer
from pictofs.storage import Get, Got


class Exports:
    """Lists, sizes and blocks of exports. `forget` drops every block of a node; `jobs` bounds transfers."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        flights: SingleFlight,
        listings: Listings,
        courier: Callable[[Membership], Courier],
        push: Callable[[Change], None],
        forget: Callable[[int], None],
        *,
        jobs: int = JOBS,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._flights = flights
        self._listings = listings
        self._courier = courier
        self._push = push
        self._forget = forget
        self._wall_ns = wall_ns
        self._runs = Runs(self._run, jobs=min(jobs, JOBS))
        self._seen: dict[int, Seen] = {}  # node → the object that its blocks on disk are of

    async def listed(self, member: Membership, dataset: int, flight: Flight) -> None:
        """The whole list of a dataset's exports."""
        asked_ns = self._wall_ns()

        def ask(client: Client, meant: Dataset) -> list[Export]:
            return list(client.exports.iter(meant))

        found = await ask_by_name(self._reader, self._listings.renew, member, dataset, ask)
        rows = [facts.of_export(export, asked_ns) for export in found]
        self._push(await self._writer.run(lambda: self._catalog.put_exports(dataset, rows, asked_ns)))

    async def measured(self, member: Membership, export: int) -> None:
        """Learns the size of an archive that the list gave none, from one byte of it."""
        row, dataset = self._rows(export)
        got = await self._get(member, dataset, row, Extent(0, 0), None)
        self._push(
            await self._writer.run(lambda: self._catalog.put_export_truth(export, got.total_bytes))
        )

    async def bring(
        self, member: Membership, fetch: Fetch, progress: Progress, nearly: Callable[[], None]
    ) -> None:
        """Makes a block of an archive present. Stale when the archive is another by now."""
        row, dataset = self._rows(node_pk(fetch.node))
        if row.size_bytes is None:
            await member.join(
                self._flights, ("size", fetch.node), lambda flight: self.measured(member, row.pk)
            )
            row, dataset = self._rows(row.pk)
        await member.join(
            self._flights, ("witness", fetch.node), lambda flight: self._witnessed(member, row, dataset)
        )
        got = await self._runs.get(member, fetch.node, fetch.block, progress)
        nearly()
        await self._same(member, row, got)
        await self._store(row, fetch.block, got)

    async def part(
        self, member: Membership, export: int, first: int, last: int, moved: Callable[[], None]
    ) -> memoryview:
        """Bytes `first` to `last` of an archive, of the version that its row means; not kept."""
        row, dataset = self._rows(export)
        await member.join(
            self._flights, ("witness", node_id(export, Kind.EXPORT)),
            lambda flight: self._witnessed(member, row, dataset),
        )  # fmt: skip
        got = await self._get(member, dataset, row, Extent(first, last), lambda size_bytes: moved())
        await self._same(member, row, got)
        return memoryview(got.body)[first - got.first :][: last + 1 - first]

    async def _run(
        self, member: Membership, node: int, first: int, last: int, progress: Progress
    ) -> Got:
        """Blocks `first` to `last` in one transfer."""
        row, dataset = self._rows(node_pk(node))
        begin, end = (extent(Kind.EXPORT, row.size_bytes, block) for block in (first, last))
        return await self._get(member, dataset, row, Extent(begin.first, end.last), progress)

    def _rows(self, export: int) -> tuple[ExportRow, DatasetRow]:
        row = self._reader.export(export)
        dataset = self._reader.dataset(row.dataset) if row else None
        if row is None or dataset is None or row.gone:
            raise Stale("this version of an export is gone and not whole on disk: open it again")
        return row, dataset

    async def _witnessed(self, member: Membership, row: ExportRow, dataset: DatasetRow) -> None:
        """After a restart: what is on disk is of the object that is stored now, or goes."""
        node = node_id(row.pk, Kind.EXPORT)
        if node in self._seen or row.size_bytes is None:
            return
        kept = self._reader.blocks(node)
        if not kept:
            return
        last = (row.size_bytes - 1) // block_bytes(Kind.EXPORT)
        witness = next((block for block in kept if block.block == last), None)
        if witness is not None:
            got = await self._get(member, dataset, row, extent(Kind.EXPORT, row.size_bytes, last), None)
            if got.total_bytes == row.size_bytes and got.crc32c == witness.crc32c:
                self._seen[node] = _seen(got)
                return
        await self._writer.run(lambda: self._forget(node))

    async def _same(self, member: Membership, row: ExportRow, got: Got) -> None:
        """Holds every block of a node to one generation."""
        node = node_id(row.pk, Kind.EXPORT)
        before = self._seen.setdefault(node, _seen(got))
        if versions.same(row.size_bytes, before.generation, _seen(got)):
            return
        # The list is asked for the version that this is; where it tells none, the node begins anew.
        self._seen.pop(node, None)
        await self._writer.run(lambda: self._forget(node))
        await self._relisted(member, row)
        current = self._reader.export(row.pk)
        if current and not current.gone and current.size_bytes not in (None, got.total_bytes):
            raise TransferError(
                f"{row.file_name}.zip: the service says {current.size_bytes} bytes, "
                f"the storage host has {got.total_bytes}"
            )
        self._push(Change([(node_id(row.dataset, Kind.EXPORTS), f"{row.file_name}.zip")], [node]))
        raise Stale(f"{row.file_name}.zip was replaced by another version: open it again")

    async def _relisted(self, member: Membership, row: ExportRow) -> None:
        await member.join(
            self._flights, ("exports", row.dataset), lambda flight: self.listed(member, row.dataset, flight)
        )

    async def _store(self, row: ExportRow, block: int, got: Got) -> None:
        wanted = length(Kind.EXPORT, row.size_bytes or got.total_bytes, block)
        at = block * block_bytes(Kind.EXPORT) - got.first
        if at < 0 or at + wanted > len(got.body):
            raise TransferError(f"{len(got.body)} bytes from {got.first} came instead of block {block}")
        body, crc32c = got.body, got.crc32c
        if wanted != len(got.body):
            body = memoryview(got.body)[at : at + wanted]
            crc32c = versions.crc32c(body)
        await self._writer.store(Block(node_id(row.pk, Kind.EXPORT), block, body, crc32c))

    async def _get(
        self,
        member: Membership,
        dataset: DatasetRow,
        row: ExportRow,
        wanted: Extent,
        progress: Progress | None,
    ) -> Got:
        scope = Scope("export", row.pk)
        pool = member.partition.pool
        for last_try in (False, False, True):
            signed = pool.single(scope)
            if signed is None:
                signed = await member.join(
                    self._flights, ("links", scope), lambda flight: self._sign(member, dataset, row, scope)
                )
            try:
                got = await self._courier(member).get(Get(signed.url, wanted.first, wanted.last), progress)
                pool.worked(signed)
                return got
            except UrlExpired:
                if last_try:
                    raise
                pool.refused(signed)
            except (ObjectGone, ObjectChanged) as error:
                await self._relisted(member, row)
                raise Stale(f"{row.file_name}.zip is gone or was replaced: list them again") from error
        raise AssertionError("unreachable")

    async def _sign(self, member: Membership, dataset: DatasetRow, row: ExportRow, scope: Scope) -> Signed:
        export = facts.to_export(row)

        def ask(client: Client, meant: Dataset) -> Link:
            return client.exports.url(meant, export)

        try:
            link = await ask_by_name(self._reader, self._listings.renew, member, dataset.pk, ask)
        except Unprocessable as error:
            raise TransferError(f"{row.file_name}.zip is not ready: {error}") from error
        except NotFound as error:
            await self._relisted(member, row)
            raise Stale(f"{row.file_name}.zip was deleted or has expired: list them again") from error
        return member.partition.pool.keep(scope, link, link.expires_s)


def _seen(got: Got) -> Seen:
    return Seen(got.total_bytes, got.generation or got.etag, got.md5, got.crc32c_object)
