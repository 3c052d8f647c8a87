"""The drivers, a world, and a mount of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.fetching import Fetching
from tests.contract.world import World
from tests.mounting import Mounted

Mounting = Callable[..., Mounted]


def drivers() -> list[Any]:
    """(driver, io) of every driver that is here; the kernel driver where its package offers one."""
    found = [pytest.param(("fusepy", "cache"), id="fusepy")]
    if importlib.util.find_spec("pictofs.drivers.kernel") is not None:
        from pictofs.drivers import kernel

        if hasattr(kernel, "KernelDriver"):
            found.append(pytest.param(("kernel", "cache"), id="kernel-cache"))
            found.append(pytest.param(("kernel", "passthrough"), id="kernel-passthrough"))
    return found


@pytest.fixture(params=drivers())
def driver(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Which driver, with which io."""
    return request.param


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A service without datasets."""
    made = World(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def fetching(world: World, tmp_path: Path) -> Iterator[Fetching]:
    """The world, listening."""
    made = Fetching(world, tmp_path / "fetch.sock")
    yield made
    made.stop()


@pytest.fixture
def mounting(fetching: Fetching, tmp_path: Path, driver: tuple[str, str]) -> Iterator[Mounting]:
    """Mounts the world: `mounting(ttl_s=1)`; as often as wanted, unmounted at the end."""
    with ExitStack() as stack:

        def mount(**settings: Any) -> Mounted:
            return stack.enter_context(
                Mounted(fetching, tmp_path / "mnt", driver[0], io=driver[1], **settings)
            )

        yield mount
