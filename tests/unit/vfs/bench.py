"""vfs, tree and catalog without a kernel and without a socket: the link is a list, the clock a number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import Kind, node_kind
from pictofs.config import Settings
from pictofs.link import LinkLost
from pictofs.link.messages import Ask, Cancel, Look, Read, Want
from pictofs.tree import Root, Tree
from pictofs.vfs import Vfs
from pictofs.vfs.types import Attr, Bytes, DirEntry, Entry, Ticket
from tests.contract.world import BOOT_ID, World

START_NS = 1_800_000_000_000_000_000


class Clock:
    """Wall and monotonic time that move when told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s

    def wall_ns(self) -> int:
        return START_NS + int((self.s - 1000.0) * 1e9)


class Link:
    """What vfs sends is answered by the world when `deliver` is called, or kept while `holding`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.holding = False
        self.held: list[Any] = []
        self.sent: list[Any] = []
        self.unasked: list[Any] = []
        self.wants_write = False
        self.broken = False
        self.closed = False
        self._id = 0
        self._replies: list[Any] = []

    def fileno(self) -> int:
        return 7

    def next_id(self) -> int:
        self._id += 1
        return self._id

    def send(self, message: Any) -> None:
        if self.broken:
            raise LinkLost("the test broke it")
        self.sent.append(message)
        if isinstance(message, Look | Want | Ask) and self.holding:
            self.held.append(message)
        else:
            self._replies += self.world.answer(message)

    def send_all(self, messages: Iterable[Any]) -> None:
        for message in messages:
            self.send(message)

    def flush(self) -> None:
        self.wants_write = False

    def receive(self) -> list[Any]:
        if self.broken:
            raise LinkLost("the test broke it")
        replies = self.unasked + self._replies
        self.unasked, self._replies = [], []
        return replies

    def close(self) -> None:
        self.closed = True

    def let_go(self) -> None:
        self.holding = False
        held, self.held = self.held, []
        for message in held:
            self._replies += self.world.answer(message)

    def requests(self, of: type = Look) -> list[Any]:
        """What was asked, without what needs no answer."""
        return [message for message in self.sent if isinstance(message, of)]


class Outcome:
    """How an operation ended, if it did."""

    def __init__(self) -> None:
        self.value: Any = None
        self.errno = 0
        self.times = 0
        self.ticket: Ticket | None = None

    def done(self, value: Any) -> None:
        self.value = value
        self.times += 1

    def fail(self, errno: int) -> None:
        self.errno = errno
        self.times += 1

    @property
    def ended(self) -> bool:
        assert self.times <= 1, "answered more than once"
        return self.times == 1


class Bench:
    """One mount's vfs. `begin` starts an operation, `ask` sees it through."""

    def __init__(
        self, cache_dir: Path, *, sizes: bool = True, page_rows: int = 1000, **settings: Any
    ) -> None:
        self.clock = Clock()
        self.world = World(cache_dir, sizes=sizes, page_rows=page_rows, now_ns=self.clock.wall_ns)
        self.link = Link(self.world)
        self.settings = Settings(**{"cache_dir": str(cache_dir), "timeout_s": 20.0, **settings})
        self.told: list[tuple[list[tuple[int, str]], list[int]]] = []
        self.start()

    def start(self, boot: str = BOOT_ID, **more: Any) -> None:
        """A serving process, knowing nothing but the catalog."""
        reader = CatalogReader.open(self.world.cache_dir / "catalog.sqlite")
        self.tree = Tree(
            reader, [Root(self.world.organization)], self.settings, uid=12, gid=34,
            wall_ns=self.clock.wall_ns, clock=self.clock,
        )
        self.vfs = Vfs(self.tree, self.link, self.settings, self.clock, boot_id=boot, **more)
        self.vfs.on_changed = lambda entries, nodes: self.told.append((entries, nodes))

    def restart(self) -> None:
        """Another serving process takes over."""
        self.vfs.close()
        self.link = Link(self.world)
        self.start()

    def close(self) -> None:
        self.vfs.close()
        self.world.close()

    def begin(self, operation: Callable[..., Ticket | None], *arguments: Any) -> Outcome:
        outcome = Outcome()
        outcome.ticket = operation(*arguments, outcome.done, outcome.fail)
        assert (outcome.ticket is None) == outcome.ended
        return outcome

    def ask(self, operation: Callable[..., Ticket | None], *arguments: Any) -> Any:
        """The value; OSError for an errno."""
        outcome = self.begin(operation, *arguments)
        for _ in range(200):
            if outcome.ended:
                break
            self.vfs.deliver()
        assert outcome.ended, "it still waits"
        if outcome.errno:
            raise OSError(outcome.errno, os.strerror(outcome.errno))
        return outcome.value

    def begin_and_deliver(self, operation: Callable[..., Ticket | None], *arguments: Any) -> Outcome:
        """How an operation ends when everything is answered that it asks for."""
        outcome = self.begin(operation, *arguments)
        for _ in range(20):
            if not outcome.ended:
                self.vfs.deliver()
        assert outcome.ended, "it still waits"
        return outcome

    def pass_s(self, seconds: float) -> None:
        """Time goes by, and the driver's loop with it."""
        self.clock.s += seconds
        self.vfs.tick()

    # what a kernel would do

    def entry(self, path: str) -> Entry:
        """The last lookup of a walk from the root."""
        node, entry = 1, None
        for name in path.strip("/").split("/"):
            entry = self.ask(self.vfs.lookup, node, name)
            node = entry.attr.node if entry.attr else 0
        assert entry is not None
        return entry

    def node(self, path: str) -> int:
        entry = self.entry(path)
        assert entry.attr is not None, f"no {path}"
        return entry.attr.node

    def attr(self, path: str) -> Attr:
        return self.ask(self.vfs.getattr, self.node(path))

    def entries(self, node: int, limit: int = 1000, *, names_only: bool = False) -> list[DirEntry]:
        found: list[DirEntry] = []
        readdir = partial(self.vfs.readdir, names_only=names_only)
        while page := self.ask(readdir, node, found[-1].cookie if found else 0, limit):
            assert len(page) <= limit
            found += page
        return found

    def names(self, path: str, limit: int = 1000) -> list[str]:
        return [entry.name for entry in self.entries(self.node(path) if path else 1, limit)]

    def body(self, node: int, offset: int = 0, size: int = 1 << 40) -> bytes:
        found: Bytes = self.ask(self.vfs.read, node, offset, size)
        return found.data + b"".join(os.pread(p.fd, p.size_bytes, p.offset) for p in found.pieces)

    def looks(self, kind: Kind) -> int:
        """How often nodes of this kind were looked at."""
        return sum(1 for look in self.link.requests() if node_kind(look.node) is kind)

    def forget_requests(self) -> None:
        self.link.sent.clear()

    @property
    def requests(self) -> list[Any]:
        """Everything asked, but hints and cancellations."""
        return [m for m in self.link.sent if not isinstance(m, Read | Cancel)]
