"""The parts of the fetching process, joined; what runs between requests; and the order in which it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from pictofs.api import Client
from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.connected import MARK
from pictofs.catalog.model import SPILL, BlockRow, Change, Kind, block_bytes, node_kind
from pictofs.errors import PictofsError, TransferError, UrlExpired
from pictofs.link import Server
from pictofs.link.messages import Account, Read, Want
from pictofs.mirror import directory
from pictofs.mirror.access import Access, Membership
from pictofs.mirror.allowance import Allowance
from pictofs.mirror.annotations import Annotations
from pictofs.mirror.archives import join
from pictofs.mirror.attach import Register
from pictofs.mirror.bodies import Bodies
from pictofs.mirror.bulk import Bulk
from pictofs.mirror.calls import Calls
from pictofs.mirror.carriage import Carriage, Freight
from pictofs.mirror.control import Control
from pictofs.mirror.convoy import Convoy, Landed
from pictofs.mirror.deposit import Deposit
from pictofs.mirror.dispatch import Dispatch
from pictofs.mirror.errands import Errands
from pictofs.mirror.explaining import Explaining
from pictofs.mirror.exports import Exports
from pictofs.mirror.fetch import Fetcher, Source
from pictofs.mirror.foresight import Foresight
from pictofs.mirror.images import Images
from pictofs.mirror.joining import Joining
from pictofs.mirror.listing import Listings
from pictofs.mirror.looks import Looks
from pictofs.mirror.memory import Memory
from pictofs.mirror.order import Orders
from pictofs.mirror.outward import carrier_of, client_of
from pictofs.mirror.pace import Pace
from pictofs.mirror.plan import Fetch, unreserved
from pictofs.mirror.policy import Limits, Policy
from pictofs.mirror.prefetch import Prefetch
from pictofs.mirror.readers import Readers
from pictofs.mirror.report import Report
from pictofs.mirror.room import Room
from pictofs.mirror.sights import Sights
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.stock import Stock
from pictofs.mirror.streams import Streams
from pictofs.mirror.transfer import Carrier, Courier
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.upkeep import Upkeep
from pictofs.mirror.usage import Usage
from pictofs.mirror.warmer import Warmer
from pictofs.mirror.writer import Block, Writer
from pictofs.storage import Got
from pictofs.store import Store

_log = logging.getLogger(__name__)
IDLE_S = 5.0           # after the last mount has gone: one that is mounted again at once finds us
FIRST_MOUNT_S = 60.0   # for the mount that had us started
DRAIN_S = 20.0         # for what is under way when a newer mount asks us to hand over
HOUSEKEEPING_S = 1.0
TOUCHES = 4096         # blocks seen by readers before they are written down
MEMORY_BYTES = 256 << 20  # asked for and not yet in the store
BODIES = 128           # API requests ahead of need: the carter makes 56 at once, others are being written


class Engine:
    """Everything of one cache directory, whose lock the caller holds. One event loop.

    `make_client`, `make_carrier`, `make_freight` and `wall_ns` (what ages are counted by) are for tests;
    `ended` is set when the process should end.
    """

    def __init__(
        self,
        cache_dir: str,
        limits: Limits,
        *,
        idle_s: float = IDLE_S,
        make_client: Callable[[Account, Policy], Client] | None = None,
        make_carrier: Callable[[Limits, Policy], Carrier] | None = None,
        make_freight: Callable[[Limits], Freight] = Carriage,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._cache_dir = cache_dir
        self._limits = limits
        self._idle_s = idle_s
        self._make_client = make_client or client_of
        self._make_carrier = make_carrier or carrier_of
        self._freight = make_freight(limits)
        self._wall_ns = wall_ns
        self._couriers: dict[tuple[str | None, str | None], Courier] = {}
        self._touched: set[Fetch] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle: asyncio.TimerHandle | None = None
        self.troubles = Troubles()
        self.ended = asyncio.Event()
        self.exit_code = 0

    async def start(self) -> None:
        """Opens what is on disk and listens. CacheUnusable or OSError when it cannot."""
        self.calls = Calls()
        self.calls.start()
        self.writer = Writer(self._keep)
        self.writer.start()
        await self.writer.run(self._open)
        self.reader = CatalogReader.open(self._catalog.path)
        self._join()
        self.upkeep = Upkeep(self._catalog, self._store, self.writer, lambda: self.dispatch.busy)
        self.server = Server(os.path.join(self._cache_dir, directory.SOCKET), self.dispatch)
        await self.server.start()
        self._tasks = [
            asyncio.ensure_future(self.dispatch.watch()),
            asyncio.ensure_future(self._keep_house()),
            asyncio.ensure_future(self.upkeep.run()),
        ]
        self._end_in(FIRST_MOUNT_S)

    async def stop(self) -> None:
        """Ends in order: nobody new, no waits, no transfers, the last writes, the files."""
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._idle is not None:
            self._idle.cancel()
        await self.dispatch.stop()
        await self.ordering.stop()
        await self.prefetch.stop()
        await self._freight.stop()
        await self.fetcher.stop()
        await self.looks.stop()
        await self.usage.stop()
        self.joining.stop()
        await self.flights.stop()
        for access in self.register.accesses:
            await access.close()
        for courier in self._couriers.values():
            courier.stop()
        self.calls.stop()
        await self.orders.close()
        await self.writer.run(self._close)
        await self.writer.stop()
        self.reader.close()

    # in the writer's thread

    def _open(self) -> None:
        self._catalog = Catalog.open(os.path.join(self._cache_dir, directory.CATALOG))
        self._store = Store(
            self._cache_dir,
            limit_bytes=self._limits.cache_size_bytes,
            min_free_bytes=self._limits.min_free_bytes,
            eviction=self._limits.eviction,
        )
        self._store.open()
        boot = self._catalog.boot_index(directory.boot_id())
        self._room = Room(self._cache_dir, self._catalog, self._store, boot)
        self._room.open()

    def _close(self) -> None:
        self._store.close()
        self._catalog.close()

    def _keep_allowance(self) -> None:
        try:
            self.allowance.keep()
        except OSError as error:
            self.troubles.note(f"what was fetched today cannot be written down: {error.strerror}")

    def _keep(self, blocks: Sequence[Block]) -> list[BlockRow | BaseException]:
        return self._room.keep(blocks)

    # in the event loop

    def _join(self) -> None:
        reader, catalog, writer, troubles = self.reader, self._catalog, self.writer, self.troubles
        self.flights = SingleFlight()

        def push(change: Change) -> None:
            self.dispatch.push(change)

        def doubt(member: Membership, dataset: int) -> None:
            self.looks.doubt(member, dataset)

        wall_ns = self._wall_ns
        foresight = Foresight(lambda: self.prefetch.prepare(), lambda *batch: images.renew(*batch))
        listings = Listings(
            reader, catalog, writer, self.flights, push, troubles, listing=foresight.listing, wall_ns=wall_ns
        )
        exports = Exports(
            reader, catalog, writer, self.flights, listings, self._courier, push, self._room.forget,
            jobs=self._limits.transfers, wall_ns=wall_ns,
        )  # fmt: skip
        archives = join(
            reader, catalog, writer, self.flights, listings, exports, self._room,
            lambda member, want, moved: self.fetcher.bring(member, want, moved), push, self._cache_dir,
            self._limits.cache_size_bytes, troubles, lambda dataset: self.bodies.unpark(), wall_ns=wall_ns,
        )  # fmt: skip
        images = Images(
            reader, catalog, writer, self.flights, listings, archives.bulk, self._courier, push, doubt,
            troubles, foresight.used, wall_ns=wall_ns,
        )  # fmt: skip
        errands = Errands(self._freight, os.path.join(self._cache_dir, SPILL))
        annotations = Annotations(
            reader, self.flights, listings, archives.bulk, errands, Deposit(catalog, writer, self._keep),
            push, doubt, wall_ns=wall_ns,
        )  # fmt: skip
        self.looks = Looks(
            reader, self.flights, listings, images, annotations, exports, archives.openings,
            archives.members, wall_ns=wall_ns,
        )  # fmt: skip
        sources: dict[Kind, Source] = {
            Kind.IMAGE: images,
            Kind.ANNOTATION: annotations,
            Kind.EXPORT: exports,
            Kind.MEMBER: archives.members,
        }

        async def recheck(fetch: Fetch) -> bool:
            return await writer.run(lambda: self._room.recheck(fetch))

        self.pace = Pace(self._limits.transfers, time.monotonic())
        self.memory = Memory(MEMORY_BYTES)
        self.allowance = Allowance(self._cache_dir, self._limits.max_fetch_bytes_day)
        self.fetcher = Fetcher(
            reader, sources, recheck, jobs=self.pace.jobs, memory=self.memory, permit=self.allowance.check
        )
        self.ordering = archives.ordering
        self._join_prefetch(images, annotations, archives.bulk)
        self.streams = Streams(reader, self.fetcher, self.allowance, self._room.spare_bytes, troubles)
        self.register = Register(reader, catalog, writer, self._limits, self._cache_dir, self._access)
        self.usage = Usage(catalog.path, troubles)
        self.report = Report(
            reader, self.register, self.fetcher, self._limits, self._cache_dir, troubles, self.usage,
            self._carried, self.prefetch.counts, lambda: self.pace.jobs,
        )  # fmt: skip
        stock = Stock(reader, catalog, writer, self._room, self._cache_dir, lambda: self.upkeep, push)
        self.joining = Joining(
            reader, catalog, self._store, writer, self._room, self.flights, self._cache_dir
        )
        explaining = Explaining(reader, catalog, writer, self.fetcher, self.allowance, images.pooled)
        control = Control(
            reader, catalog, writer, self.looks, stock, explaining, self.report,
            Warmer(reader, self.fetcher, self.prefetch, writer, self._room.release),
            self.joining,
            self.prefetch.advise,
        )  # fmt: skip
        self.dispatch: Dispatch = Dispatch(
            reader, self.register, self.looks, self.fetcher, control, troubles, self._read, self._missed,
            self.sights.looked, self._is_idle, self._drain,
        )  # fmt: skip

    def _join_prefetch(self, images: Images, annotations: Annotations, bulk: Bulk) -> None:
        """Look-ahead, over everything else."""

        def push(change: Change) -> None:
            self.dispatch.push(change)

        def landed(batch: Sequence[Landed]) -> None:
            saturated = self.fetcher.saturated or self.prefetch.hungry
            for each in batch:
                self._transferred(each.got or each.error, saturated)
                self.prefetch.landed(each)
            self._share(sum(each.got.body_bytes for each in batch if each.got), self._couriers.values())

        self.orders = Orders(
            self._catalog.path, lambda pk: self.sights.forget(pk), lambda pk: self.sights.built(pk)
        )
        self.bodies = Bodies(
            self.reader, self.flights, images, annotations, bulk, self.troubles,
            lambda: self.prefetch.pump(), jobs=BODIES,
        )  # fmt: skip
        self.prefetch = Prefetch(
            self.reader, self.fetcher, images, self.bodies, self.allowance, self._room, self.writer,
            self.troubles, partial=self._limits.eviction == "epoch",
        )  # fmt: skip
        self.sights = Sights(self.reader, self.orders, Readers(), self.prefetch, self._room.spare_bytes)
        self.prefetch.convoy = Convoy(
            self.reader, self.fetcher, images, self._freight, self.writer, self._keep, push, landed,
            self.prefetch.pump, memory=self.memory, folder=os.path.join(self._cache_dir, SPILL),
        )  # fmt: skip

    def _transferred(self, outcome: Got | BaseException | None, saturated: bool) -> None:
        """A transfer has ended: how many more may run at once follows."""
        got = outcome if isinstance(outcome, Got) else None
        if self.pace.ended(
            time.monotonic(),
            got.body_bytes if got else 0,
            got.first_byte_s if got else 0.0,
            troubled=got.attempts > 1 if got else _troubled(outcome),
            saturated=saturated,
        ):
            _log.debug("%d transfers at once from now on", self.pace.jobs)
            self.fetcher.set_jobs(self.pace.jobs)
            self._freight.set_connections(unreserved(self.pace.jobs))

    def _demanded(self, outcome: Got | PictofsError) -> None:
        if isinstance(outcome, Got):
            self.allowance.spend(outcome.body_bytes)
            self._share(outcome.body_bytes, [self._freight])
        self._transferred(outcome, self.fetcher.saturated or self.prefetch.hungry)

    def _share(self, size_bytes: int, others: Iterable[Courier | Freight]) -> None:
        """Bytes that came one way count against the bandwidth of the other."""
        if self._limits.bandwidth_bytes_s and size_bytes:
            for other in others:
                other.spend(size_bytes)

    def _access(self, account: Account, policy: Policy) -> Access:
        client = self._make_client(account, policy)
        return Access(client, self.calls, policy, self.troubles, self.dispatch.standing)

    def _courier(self, member: Membership) -> Courier:
        """Transfers by the certificates and proxy of a mount; nearly always one for all."""
        key = (member.policy.ca_file, member.policy.proxy)
        courier = self._couriers.get(key)
        if courier is None:
            courier = self._couriers[key] = Courier(
                self._make_carrier(self._limits, member.policy), self._demanded
            )
            courier.start()
        return courier

    def _carried(self) -> tuple[int, int]:
        ways: list[Courier | Freight] = [*self._couriers.values(), self._freight]
        return sum(way.requests for way in ways), sum(way.bytes_received for way in ways)

    def _missed(self, member: Membership, want: Want) -> None:
        self.sights.missed(member, want.node, want.pid)
        self.streams.missed(member, want)

    def _read(self, members: Mapping[int, Membership], message: Read) -> None:
        """A reader was seen on what is present: for its pattern, and for `lru`."""
        self.sights.read(members, message)
        self.streams.read(members, message)
        if self._limits.eviction != "lru" or message.size_bytes <= 0:
            return
        try:
            step = block_bytes(node_kind(message.node))
        except ValueError:
            return  # no node of ours
        last = (message.offset + message.size_bytes - 1) // step
        self._touched.update(Fetch(message.node, block) for block in range(message.offset // step, last + 1))

    async def _keep_house(self) -> None:
        mark = self._catalog.path + MARK
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            touched, self._touched = self._touched, set()
            if touched:
                await self.writer.run(lambda touched=touched: self._room.touch(touched))  # type: ignore[misc]
            await self.writer.run(self._room.sweep_spill)
            if self.allowance.limited:
                await self.writer.run(self._keep_allowance)
            if os.path.exists(mark):
                _log.error("the catalog is damaged: this process ends, and the next begins it anew")
                self.exit_code = 1
                self.ended.set()

    def _is_idle(self, idle: bool) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if idle:
            self._end_in(self._idle_s)

    def _end_in(self, wait_s: float) -> None:
        self._idle = asyncio.get_running_loop().call_later(wait_s, self._end)

    def _end(self) -> None:
        if self.dispatch.busy:  # a command without a mount
            self._end_in(HOUSEKEEPING_S)
        else:
            self.ended.set()

    def _drain(self) -> None:
        """A newer mount wants another process here: nobody new, and an end when nobody waits."""
        _log.info("a newer mount takes over: this process ends when nobody waits any more")
        self.server.stop_listening()
        self._tasks.append(asyncio.ensure_future(self._drained()))

    async def _drained(self) -> None:
        deadline_s = time.monotonic() + DRAIN_S
        await asyncio.sleep(HOUSEKEEPING_S)
        while self.dispatch.busy and time.monotonic() < deadline_s:
            await asyncio.sleep(HOUSEKEEPING_S / 10)
        self.ended.set()


def _troubled(outcome: Got | BaseException | None) -> bool:
    """Whether the storage host suffers. A URL that is over says nothing of that."""
    return isinstance(outcome, TransferError) and not isinstance(outcome, UrlExpired)
