"""An engine on a temporary folder, with a service, a storage host and mounts that are played.

The fakes count their calls, fail once when told to, and hold a call until it is let go.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import google_crc32c

from pictofs.api import Budget, Dataset, Export, Image, Link, Links, Organization
from pictofs.api.paging import Pages, Rows, Walk
from pictofs.catalog.model import ImageRow, Kind, node_id
from pictofs.errors import KeyRefused, NotFound, ObjectChanged, ObjectGone, PictofsError
from pictofs.link.messages import (
    PROTOCOL,
    Account,
    Ask,
    Attach,
    Attached,
    Cancel,
    Changed,
    Done,
    Failed,
    Look,
    Moved,
    Read,
    State,
    Told,
    Want,
)
from pictofs.mirror.carter import write
from pictofs.mirror.engine import Engine
from pictofs.mirror.policy import Limits
from pictofs.storage import Get, Got

LIMIT_S = 10.0
MOUNTED_TTL_S = 60.0


class Scripted:
    """Counts calls by name; `fail` makes the next of a name fail, `hold` makes them wait for `let_go`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._failures: dict[str, list[PictofsError]] = {}
        self._gates: dict[str, tuple[int, threading.Event]] = {}

    def fail(self, name: str, error: PictofsError, times: int = 1) -> None:
        self._failures.setdefault(name, []).extend([error] * times)

    def hold(self, name: str, after: int = 0) -> None:
        """Calls wait from now on, the first `after` ever excepted."""
        self._gates[name] = (after, threading.Event())

    def let_go(self, name: str) -> None:
        self._gates.pop(name)[1].set()

    def called(self, name: str) -> None:
        self.calls[name] += 1
        after, gate = self._gates.get(name, (0, None))
        if gate is not None and self.calls[name] > after:
            assert gate.wait(LIMIT_S), f"nobody let {name} go"
        failures = self._failures.get(name)
        if failures:
            raise failures.pop(0)


def picture(number: int, **given: Any) -> Image:
    """An image as the service lists it."""
    facts = {
        "id": f"i{number}",
        "filename": f"{number}.jpg",
        "file_size": 100 + number,
        "status": "new",
        "created_ns": number + 1,
        "annotation_count": 1,
    }
    return Image(**{**facts, **given})


class Service(Scripted):
    """What the service and its storage host hold: one dataset, its images, annotations and exports."""

    def __init__(self, images: int = 3) -> None:
        super().__init__()
        self.dataset = Dataset(
            id="d1", name="D", slug="d", image_count=images, fingerprint="f1", document=b"{}\n"
        )
        self.images = [picture(n) for n in range(images)]
        self.objects = {f"http://s/i{n}": (bytes([n]) * (100 + n), "1") for n in range(images)}
        self.annotations = {f"i{n}": f'{{"annotations": [{n}]}}\n'.encode() for n in range(images)}
        self.exports: list[Export] = []
        self.page_rows = 2
        self.refused_keys: set[str] = set()
        self.budget: Budget | None = None
        self.dialect = "c"
        self.links_live_s: float | None = None
        self.background_calls = 0

    def replace(self, number: int, body: bytes, generation: str) -> None:
        self.objects[f"http://s/i{number}"] = (body, generation)

    def changed(self, **given: Any) -> None:
        """The dataset is another by now."""
        self.dataset = Dataset(
            **{
                **{field: getattr(self.dataset, field) for field in self.dataset.__struct_fields__},
                "fingerprint": self.dataset.fingerprint + "+",
                **given,
            }
        )


class FakeClient:
    """`api.Client` under one key, over a `Service`."""

    def __init__(self, service: Service, account: Account) -> None:
        self.service = service
        self.account = account
        self.requests = 0
        self.closed = False
        self.origin = "http://h:1"
        self.organization = self.datasets = self.images = self.annotations = self.exports = self
        self._background = threading.local()

    @property
    def dialect(self) -> str:
        return self.service.dialect

    @property
    def budget(self) -> Budget | None:
        return self.service.budget

    @contextmanager
    def call_class(self, priority: int) -> Iterator[None]:
        self._background.priority = priority
        yield
        self._background.priority = 0

    def _call(self, name: str) -> None:
        self.requests += 1
        self.service.background_calls += bool(getattr(self._background, "priority", 0))
        if self.account.api_key in self.service.refused_keys:
            self.service.calls[name] += 1
            raise KeyRefused("the key is refused", status=401)
        self.service.called(name)

    def me(self) -> Organization:
        self._call("me")
        return Organization(id="o1", name="Org", slug="org")

    def iter(self, *arguments: Any, **given: Any) -> Any:
        if arguments:
            self._call("exports")
            return iter(self.service.exports)
        self._call("datasets")
        return iter([] if given.get("archived") else [self.service.dataset])

    def get_by_id(self, remote_id: str) -> Dataset:
        self._call("dataset")
        if remote_id != self.service.dataset.id:
            raise NotFound("no such dataset", status=404)
        return self.service.dataset

    def walk(self, dataset: Dataset) -> Pages[Image]:
        def fetch(offset: int, limit: int) -> Rows[Image]:
            self._call("page")
            rows = self.service.images
            return Rows(rows[offset : offset + limit], len(rows), offset + limit < len(rows))

        step = self.service.page_rows
        return Pages(fetch, Walk(lambda image: image.id, page_size=step, newest_first=True))

    def links(self, dataset: Dataset, mode: str, status: str | None, limit: int) -> Links:
        self._call("links")
        if dataset.name != self.service.dataset.name:
            raise NotFound("no dataset of that name", status=404)
        images = self.service.images
        items = [Link(id=one.id, filename=one.filename, url=f"http://s/{one.id}") for one in images]
        life_s = self.service.links_live_s
        return Links(items=items, expires_s=None if life_s is None else time.time() + life_s)

    def read(self, image: Image, first: int | None, last: int | None) -> tuple[bytes, int]:
        self._call("read")
        if f"http://s/{image.id}" not in self.service.objects:
            raise NotFound("no such image", status=404)
        body = self.service.objects[f"http://s/{image.id}"][0]
        return (body if last is None else body[first : last + 1]), len(body)

    def request(self, dataset: Dataset, image: Image) -> None:
        """Never looked into: `hand_out` hands nothing out."""

    def hand_out(self, request: None) -> None:
        """Every request is made in the ordinary way."""

    def get(self, dataset: Dataset, image: Image) -> bytes:
        self._call("annotation")
        return self.service.annotations[image.id]

    def url(self, dataset: Dataset, export: Export) -> Link:
        self._call("export url")
        return Link(url=f"http://s/{export.id}")

    def close(self) -> None:
        self.closed = True


class FakeCarrier:
    """`storage.Transfers` over the same `Service`; `hold("get")` keeps transfers under way."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.requests = 0
        self.bytes_received = 0
        self.cancelled = 0
        self._held: list[Callable[[], None]] = []
        self.holding = False

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def submit(self, get: Get, done: Any, progress: Any = None) -> list[bool]:
        alive = [True]
        self.requests += 1

        def finish() -> None:
            if alive:
                alive.clear()
                done(self._outcome(get))

        if self.holding:
            self._held.append(finish)
        else:
            threading.Thread(target=finish).start()
        return alive

    def spend(self, size_bytes: int) -> None:
        pass

    def let_go(self) -> None:
        self.holding = False
        held, self._held = self._held, []
        for finish in held:
            finish()

    def cancel(self, alive: list[bool]) -> bool:
        self.cancelled += bool(alive)
        alive.clear()
        return True

    def _outcome(self, get: Get) -> Got | PictofsError:
        try:
            self.service.called("get")
        except PictofsError as error:
            return error
        if get.url not in self.service.objects:
            return ObjectGone("gone")
        whole, generation = self.service.objects[get.url]
        last = len(whole) - 1 if get.last is None else min(get.last, len(whole) - 1)
        body = whole[get.first or 0 : last + 1]
        if get.generation not in (None, generation) or get.expect_bytes not in (None, len(body)):
            return ObjectChanged("another version")
        self.bytes_received += len(body)
        crc32c = google_crc32c.value(body)
        told = ("", generation, "", "", crc32c, 0, len(body) == len(whole), len(body), 1, 0.0, 0.0)
        return Got(body, get.first or 0, len(whole), *told)


class FakeFreight:
    """`mirror.carriage.Carriage` without its process: a FakeCarrier that writes the files it is told."""

    requests = bytes_received = 0  # its carrier's are counted already

    def __init__(self, carrier: FakeCarrier) -> None:
        self._carrier = carrier
        self.underway: list[tuple[int, Any]] = []

    def prepare(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def spend(self, size_bytes: int) -> None:
        pass

    def set_connections(self, connections: int) -> None:
        pass

    def send(self, policy: Any, gets: Sequence[tuple[int, Get]], arrived: Any, moved: Any) -> None:
        loop = asyncio.get_running_loop()
        for number, get in gets:
            self.underway.append((number, moved))
            self._carrier.submit(get, functools.partial(self._done, loop, number, get, arrived))

    def _done(self, loop: Any, number: int, get: Get, arrived: Any, outcome: Got | PictofsError) -> None:
        if isinstance(outcome, Got):
            write(str(get.sink), outcome.body)
            outcome.body = b""
        loop.call_soon_threadsafe(arrived, [(number, outcome)])


class FakePeer:
    """A mount's end of the link, recording."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.who = (1, 1)

    def send(self, reply: Any) -> None:
        self.sent.append(reply)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]


class Mounted:
    """One mount of the engine."""

    def __init__(self, world: World, peer: FakePeer) -> None:
        self.world = world
        self.peer = peer
        self._next = 100

    def send(self, make: Callable[[int], Any]) -> int:
        self._next += 1
        self.world.engine.dispatch.received(self.peer, make(self._next))
        return self._next

    async def answer(self, number: int) -> Any:
        """The answer; a Failed is raised as AssertionError unless asked for by `failure`."""

        def found() -> Any:
            kinds = (Done, Failed, Told, Attached)
            return next((m for m in self.peer.sent if isinstance(m, kinds) and m.id == number), None)

        await self.world.until(lambda: found() is not None)
        return found()

    async def look(self, node: int, force: bool = False) -> Any:
        return await self.answer(self.send(lambda number: Look(number, node, force)))

    async def want(self, node: int, block: int = 0, lost: bool = False) -> Any:
        return await self.answer(self.send(lambda number: Want(number, node, block, block, lost=lost)))

    def start_want(self, node: int, first: int = 0, last: int = 0, priority: int = 0) -> int:
        return self.send(lambda number: Want(number, node, first, last, priority))

    async def ask(self, verb: str, **arguments: Any) -> Any:
        return await self.answer(self.send(lambda number: Ask(number, verb, arguments)))

    def cancel(self, number: int, *, late: bool = False) -> None:
        self.world.engine.dispatch.received(self.peer, Cancel(number, late))

    def read(self, node: int, offset: int = 0, size_bytes: int = 1) -> None:
        self.world.engine.dispatch.received(self.peer, Read(node, offset, size_bytes, 1))

    def leave(self) -> None:
        self.world.engine.dispatch.closed(self.peer)

    def moved(self, number: int) -> int:
        return sum(message.id == number for message in self.peer.of(Moved))

    @property
    def changed_entries(self) -> set[tuple[int, str]]:
        return {entry for message in self.peer.of(Changed) for entry in message.entries}

    @property
    def states(self) -> list[State]:
        return self.peer.of(State)


class World:
    """The engine and everything that is played around it."""

    def __init__(self, cache_dir: Path, service: Service, **limits: Any) -> None:
        self.cache_dir = cache_dir
        self.service = service
        self.carrier = FakeCarrier(service)
        self.freight = FakeFreight(self.carrier)
        self.clients: list[FakeClient] = []
        self._ahead_ns = 0
        self.engine = Engine(
            str(cache_dir),
            Limits(**{"cache_size_bytes": 1 << 30, "min_free_bytes": 0, **limits}),
            idle_s=1000.0,
            make_client=self._client,
            make_carrier=lambda limits, policy: self.carrier,
            make_freight=lambda limits: self.freight,
            wall_ns=lambda: time.time_ns() + self._ahead_ns,
        )

    def _client(self, account: Account, policy: Any) -> Any:
        self.clients.append(FakeClient(self.service, account))
        return self.clients[-1]

    def pass_s(self, seconds: float) -> None:
        """So much time passes, as far as the age of what is known is concerned."""
        self._ahead_ns += int(seconds * 1e9)

    async def until(self, condition: Callable[[], Any]) -> None:
        deadline = asyncio.get_running_loop().time() + LIMIT_S
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "it did not come about"
            await asyncio.sleep(0.002)

    async def attach(
        self, key: str = "pk_live_1", protocol: int = PROTOCOL, **settings: Any
    ) -> tuple[Mounted, Any]:
        peer = FakePeer()
        self.engine.dispatch.opened(peer)
        mounted = Mounted(self, peer)
        given = {"ttl_s": MOUNTED_TTL_S, "timeout_s": 8.0, **settings}
        account = Account("http://h:1", key, "", "auto", given)
        number = mounted.send(lambda n: Attach(n, protocol, "t", "/mnt", 1, [account]))
        return mounted, await mounted.answer(number)

    async def mount(self, **settings: Any) -> Mounted:
        mounted, answer = await self.attach(**settings)
        assert isinstance(answer, Attached), answer
        return mounted

    # what the catalog says

    @property
    def organization_node(self) -> int:
        (row,) = self.engine.reader.organizations()
        return node_id(row.pk, Kind.ORGANIZATION)

    @property
    def dataset(self) -> Any:
        (row,) = self.engine.reader.organizations()
        found = self.engine.reader.dataset_named(row.pk, self.service.dataset.name)
        assert found is not None
        return found

    @property
    def root(self) -> int:
        return node_id(self.dataset.root_directory, Kind.IMAGES)

    def image(self, name: str) -> ImageRow | None:
        return self.engine.reader.image_named(self.dataset.root_directory, name)

    def image_node(self, name: str) -> int:
        row = self.image(name)
        assert row is not None
        return node_id(row.pk, Kind.IMAGE)

    def annotation_node(self, name: str) -> int:
        row = self.image(name)
        assert row is not None
        return node_id(row.annotation, Kind.ANNOTATION)

    def body(self, node: int, block: int = 0) -> bytes | None:
        row = self.engine.reader.block(node, block)
        return (self.cache_dir / row.path).read_bytes() if row else None

    async def listed(self, mount: Mounted) -> None:
        """The datasets and the one dataset's images are known."""
        assert isinstance(await mount.look(1), Done)
        assert isinstance(await mount.look(self.root), Done)


@asynccontextmanager
async def world(cache_dir: Path, service: Service | None = None, **limits: Any) -> AsyncIterator[World]:
    """An engine that is running."""
    made = World(cache_dir, service or Service(), **limits)
    await made.engine.start()
    try:
        yield made
    finally:
        for name in list(made.service._gates):
            made.service.let_go(name)
        await made.engine.stop()
