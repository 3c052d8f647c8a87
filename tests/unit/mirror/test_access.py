"""A mount's part in an organization: what it shares with other mounts, and what it does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pictofs.errors import Unreachable
from pictofs.mirror import availability
from pictofs.mirror.access import Membership
from pictofs.mirror.availability import Standing
from pictofs.mirror.policy import Policy
from pictofs.mirror.singleflight import Flight, SingleFlight


def member(standing: Standing) -> Membership:
    return Membership(cast(Any, None), cast(Any, SimpleNamespace(standing=standing)), Policy())


def run(own: Standing) -> tuple[str, int]:
    """What a mount gets that joined another one's run, whose connections then went with that mount."""
    begun = 0

    async def ends_with_its_mount(flight: Flight) -> str:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0)
        if begun == 1:
            raise Unreachable("the client was closed")
        return "bytes"

    async def scenario() -> str:
        flights = SingleFlight()
        gone = asyncio.ensure_future(flights.join("x", ends_with_its_mount))
        await asyncio.sleep(0)
        try:
            return await member(own).join(flights, "x", ends_with_its_mount)
        finally:
            await asyncio.gather(gone, return_exceptions=True)

    return asyncio.run(scenario()), begun


def test_what_ended_with_another_mount_s_connections_is_begun_once_more() -> None:
    assert run(Standing()) == ("bytes", 2)


def test_what_the_service_does_not_answer_is_not_begun_again() -> None:
    away = availability.unreachable(Standing(), 100.0, "no answer", 30.0, 0.0)
    with pytest.raises(Unreachable):
        run(away)
