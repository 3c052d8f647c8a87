"""A server of the link in a thread of its own, with a receiver that records and can be told to answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pictofs.link import Peer, Server
from pictofs.link.messages import Request


class Recorder:
    """Keeps what was received; `answer` is called for every message in the loop's thread."""

    def __init__(self) -> None:
        self.answer: Callable[[Peer, Request], None] = lambda peer, message: None
        self.messages: list[Request] = []
        self.peers: list[Peer] = []
        self.gone: list[Peer] = []
        self.news = threading.Condition()

    def opened(self, peer: Peer) -> None:
        self._note(self.peers, peer)

    def received(self, peer: Peer, message: Request) -> None:
        self.answer(peer, message)
        self._note(self.messages, message)

    def closed(self, peer: Peer) -> None:
        self._note(self.gone, peer)

    def until(self, condition: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(condition, 10)

    def _note(self, where: list, what: object) -> None:
        with self.news:
            where.append(what)
            self.news.notify_all()


class Running:
    """A server that listens at `path` until `stop`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.recorder = Recorder()
        self.loop = asyncio.new_event_loop()
        self.server = Server(path, self.recorder)
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.server.start())
        self._ready.set()
        self.loop.run_forever()
        self.loop.run_until_complete(self._rest())
        self.loop.close()

    async def _rest(self) -> None:
        """A connection that was just accepted is made, and closed, in some turns more."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        for _ in range(4):
            await asyncio.sleep(0)

    def call(self, function: Callable[[], object]) -> None:
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.call(self.server.close)
            self.recorder.until(lambda: len(self.recorder.gone) == len(self.recorder.peers))
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(str(tmp_path / "fetch.sock"))
    yield server
    server.stop()
