"""A `World` that listens on the link's real socket, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from pictofs.catalog.model import node_kind
from pictofs.link import Peer, Server
from pictofs.link.messages import Changed, Look, Request, State, Want
from tests.contract.world import World


class Fetching:
    """Answers every mount that connects to `path`; can be told to hold answers back, and to be gone."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self._peers: list[Peer] = []
        self._holding: set[str] = set()
        self._held: list[tuple[Peer, Request]] = []
        self._news = threading.Condition()
        self.start()

    def start(self) -> None:
        """Listens, in a new thread."""
        self._loop = asyncio.new_event_loop()
        self._server = Server(str(self.path), self)
        self._thread = threading.Thread(target=self._run, name="fetching")
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)

    def stop(self) -> None:
        """Ends every connection, as a process that dies."""
        if not self._loop.is_running():
            return
        try:
            self._call(self._server.close)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
        self._peers.clear()
        self._held.clear()

    def hold(self, *what: str) -> None:
        """From now on requests like `look IMAGES` or `want IMAGE` are kept without an answer."""
        self._holding |= set(what)

    def await_held(self, count: int = 1) -> None:
        """Waits until so many requests are kept."""
        self.until(lambda: len(self._held) >= count)

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something that a request changes has become true."""
        with self._news:
            assert self._news.wait_for(condition, 20)

    def let_go(self) -> None:
        """Answers what was kept, and holds nothing any more."""
        self._holding.clear()
        held, self._held = self._held, []
        for peer, request in held:
            self._call(self._answer, peer, request)

    def tell(self, *replies: Changed | State) -> None:
        """Says something unasked to every mount."""
        for reply in replies:
            for peer in self._peers:
                self._call(peer.send, reply)

    # link.Receiver, in the loop's thread

    def opened(self, peer: Peer) -> None:
        self._peers.append(peer)

    def closed(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)

    def received(self, peer: Peer, message: Request) -> None:
        with self._news:
            if isinstance(message, Look | Want):
                verb = "look" if isinstance(message, Look) else "want"
                if f"{verb} {node_kind(message.node).name}" in self._holding:
                    self._held.append((peer, message))
                    self._news.notify_all()
                    return
            self._answer(peer, message)
            self._news.notify_all()

    def _answer(self, peer: Peer, message: Request) -> None:
        for reply in self.world.answer(message):
            peer.send(reply)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        done = threading.Event()

        def call() -> None:
            try:
                function(*arguments)
            finally:
                done.set()

        self._loop.call_soon_threadsafe(call)
        assert done.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
