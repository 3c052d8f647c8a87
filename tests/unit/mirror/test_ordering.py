"""Orders of exports: one at a time, seldom, and never a reason for an error."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pictofs.api import Export
from pictofs.errors import Forbidden, PictofsError
from pictofs.mirror.economy import FORMAT, Budget, Face
from pictofs.mirror.ordering import SPACING_S, Ordering
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.troubles import Troubles

from . import rows

SHORT = Budget(5000, 100)


class Service:
    """Answers orders; `ends` are the states that looks at one find, the last for good."""

    def __init__(self, *ends: str, refuses: PictofsError | None = None) -> None:
        self.ends = list(ends)
        self.refuses = refuses
        self.orders: list[tuple[str, Any]] = []
        self.listed_count = 0
        self.exports = self

    def create(self, dataset: Any, name: str, **given: Any) -> Export:
        self.orders.append((name, given))
        if self.refuses is not None:
            raise self.refuses
        return Export(name=name, status="pending")

    def get(self, dataset: Any, name: str) -> Export:
        status = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        return Export(name=name, status=status, error_message="disk full" if status == "failed" else "")

    # a mount's part in the organization

    async def ask(self, call: Any) -> Any:
        return call(self)

    async def join(self, flights: SingleFlight, key: Any, start: Any) -> Any:
        return await flights.join(key, start)

    async def listed(self, member: Any, dataset: int, flight: Any) -> None:
        self.listed_count += 1


class Ordered:
    """An `Ordering` with a clock to turn, and whom it told."""

    def __init__(self, service: Service) -> None:
        self.now_s = 1000.0
        self.done: list[int] = []
        self.service = service
        self.ordering = Ordering(
            SingleFlight(), service, Troubles(), self.done.append,  # type: ignore[arg-type]
            clock=lambda: self.now_s, wall_s=lambda: 1_700_000_000.0, first_look_s=0.0,
        )  # fmt: skip

    def order(self, face: Face = Face.ANNOTATIONS) -> None:
        row = rows.dataset(pk=7, total_bytes=3 * 10**9)
        self.ordering.order(self.service, row, face, SHORT, 90_000)  # type: ignore[arg-type]

    async def end(self) -> None:
        while self.ordering.pending(7):
            await asyncio.sleep(0)


def test_an_order_is_announced_placed_looked_after_and_listed(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        one = Ordered(Service("pending", "processing", "completed"))
        one.order()
        assert one.ordering.pending(7)
        await one.end()
        assert one.service.orders == [
            ("pictofs-20231114-221320", {"format": FORMAT, "include_images": False})
        ]
        assert one.service.listed_count == 1
        assert one.done == [7]

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert "90000 annotations would take a request each, of which 100 are left, some 18 hours" in caplog.text


def test_images_are_ordered_with_their_bytes_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        one = Ordered(Service("completed"))
        one.order(Face.IMAGES)
        await one.end()
        assert one.service.orders[0][1]["include_images"] is True

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert "3.0 GB" in caplog.text


def test_no_second_order_is_placed_for_hours_whatever_came_of_the_first() -> None:
    async def scenario() -> None:
        one = Ordered(Service("failed"))
        one.order()
        one.order()
        await one.end()
        one.order()
        assert len(one.service.orders) == 1
        one.now_s += SPACING_S
        one.order()
        await one.end()
        assert len(one.service.orders) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (Service("completed", refuses=Forbidden("your role may not", status=403)), "your role may not"),
        (Service("failed"), "disk full"),
    ],
)
def test_an_order_that_comes_to_nothing_is_one_line_and_lets_those_go_on_that_waited(
    service: Service, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        one = Ordered(service)
        one.order()
        await one.end()
        assert one.done == [7]
        assert service.listed_count == 0

    asyncio.run(scenario())
    assert [record.message for record in caplog.records if said in record.message]


def test_an_end_of_the_process_does_not_wait_for_an_order() -> None:
    async def scenario() -> None:
        one = Ordered(Service("pending"))
        one.order()
        await asyncio.wait_for(one.ordering.stop(), 5)
        assert not one.ordering.pending(7)

    asyncio.run(scenario())
