"""One run of a thing at a time, with any number that wait for it.

A waiter that gives up leaves the run to the others, and a run that nobody waits for goes on. Progress is told
to all who wait at that moment. What was begun with nobody waiting has no claim on the budget's reserve: where
that is what it fails for, who has joined it begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from pictofs.errors import RateLimited

T = TypeVar("T")
Progress = Callable[[], None]


def unheard() -> None:
    """A progress that nobody listens to."""


class Flight:
    """A run under way."""

    def __init__(self, *, unasked: bool = False) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.unasked = unasked
        self._listeners: dict[int, Progress] = {}
        self._next = 0

    def listen(self, progress: Progress) -> int:
        """Tell `progress` from now on; the ticket is for `leave`."""
        self._next += 1
        self._listeners[self._next] = progress
        return self._next

    def leave(self, ticket: int) -> None:
        """Tell it no more."""
        self._listeners.pop(ticket, None)

    def moved(self) -> None:
        """Something has arrived."""
        for progress in tuple(self._listeners.values()):
            progress()


class SingleFlight:
    """Runs by key. Lives in one event loop."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def join(
        self, key: Hashable, start: Callable[[Flight], Awaitable[T]], progress: Progress = unheard
    ) -> T:
        """The result of the run for `key`, or its exception; started here when none is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._begin(key, start)
        assert flight.task is not None
        ticket = flight.listen(progress)
        try:
            await asyncio.wait({flight.task})  # a waiter that is cancelled here cancels nothing else
            result: T = flight.task.result()
            return result
        except RateLimited:
            if not flight.unasked:
                raise
        finally:
            flight.leave(ticket)
        return await self.join(key, start, progress)

    def begin(self, key: Hashable, start: Callable[[Flight], Awaitable[T]]) -> asyncio.Task[T] | None:
        """Starts the run for `key` with nobody waiting for it yet; None when one is under way."""
        return None if key in self._flights else self._begin(key, start, unasked=True).task

    async def stop(self) -> None:
        """Cancels every run and waits until all have ended."""
        tasks = [flight.task for flight in self._flights.values() if flight.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, key: Hashable, start: Callable[[Flight], Awaitable[Any]], *, unasked: bool = False
    ) -> Flight:
        flight = self._flights[key] = Flight(unasked=unasked)
        flight.task = asyncio.ensure_future(_run(start, flight))
        flight.task.add_done_callback(lambda task: self._landed(key, task))
        return flight

    def _landed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._flights.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at: a failure that nobody waited for is not a warning


async def _run(start: Callable[[Flight], Awaitable[T]], flight: Flight) -> T:
    return await start(flight)
