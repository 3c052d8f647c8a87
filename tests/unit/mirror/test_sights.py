"""From nodes to positions: what is missed while an order is being built counts all the same."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from pictofs.link.messages import Done

from .world import LIMIT_S, Service, world


def test_what_is_missed_before_the_order_is_there_begins_a_run_when_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = Service(images=60)
        service.page_rows = 100
        async with world(tmp_path, service) as w:
            mount = await w.mount(prefetch="auto")
            await w.listed(mount)
            gate = threading.Event()
            w.engine.orders._thread.submit(gate.wait, LIMIT_S)  # the order's turn comes later
            for name in ("10.jpg", "11.jpg"):
                assert isinstance(await mount.want(w.image_node(name)), Done)
            assert w.carrier.requests == 2, "nobody knows what comes next"
            gate.set()
            await w.until(lambda: w.carrier.requests == 2 + 32)
            await w.until(lambda: w.body(w.image_node("12.jpg")) is not None)

    asyncio.run(scenario())
