"""Both clients under one fixture, and a patient way to ask them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pictofs.errors import PictofsError
from pictofs.storage import Carrier, Get, Got, Transfer, curl, plain
from tests.unit.storage.host import Host

LIMIT_S = 20.0
CLIENTS: dict[str, Callable[..., Carrier]] = {"curl": curl.Transfers, "plain": plain.Transfers}


class Outcome:
    """Takes the place of `done`; holds it to being called once."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.calls: list[Got | PictofsError] = []
        self.threads: list[str] = []

    def __call__(self, outcome: Got | PictofsError) -> None:
        self.calls.append(outcome)
        self.threads.append(threading.current_thread().name)
        self._ended.set()

    def wait(self) -> Got | PictofsError:
        assert self._ended.wait(LIMIT_S), "done was not called"
        assert len(self.calls) == 1
        return self.calls[0]


class Asked:
    """A started client, and what tests do with it all the time."""

    def __init__(self, client: Carrier) -> None:
        self.client = client

    def submit(self, get: Get, progress: Callable[[int], None] | None = None) -> tuple[Transfer, Outcome]:
        outcome = Outcome()
        return self.client.submit(get, outcome, progress), outcome

    def submit_slow(self, url: str, host: Host) -> tuple[Transfer, Outcome]:
        """Submit, and return when the host has begun to answer; for treatments that hold the answer."""
        before = len(host.seen)
        submitted = self.submit(Get(url))
        host.wait_asked(before + 1)
        return submitted

    def outcome(self, url: str, *span: int, **how: Any) -> Got | PictofsError:
        return self.submit(Get(url, *span, **how))[1].wait()

    def got(self, url: str, *span: int, **how: Any) -> Got:
        outcome = self.outcome(url, *span, **how)
        assert isinstance(outcome, Got), outcome
        return outcome

    def error(self, url: str, *span: int, **how: Any) -> PictofsError:
        outcome = self.outcome(url, *span, **how)
        assert isinstance(outcome, PictofsError), outcome
        return outcome


Make = Callable[..., Asked]


@pytest.fixture(params=list(CLIENTS))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes started clients of one kind; all are stopped, and their threads gone, at the end."""
    with ExitStack() as stack:

        def made(*, start: bool = True, **how: Any) -> Asked:
            client = CLIENTS[request.param](
                **{"connections": 8, "timeout_s": 10.0, "draw": lambda: 0.05, **how}
            )
            stack.callback(client.stop)
            if start:
                client.start()
            return Asked(client)

        yield made


@pytest.fixture
def asked(make: Make) -> Asked:
    return make()
