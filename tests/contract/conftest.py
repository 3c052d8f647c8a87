"""The drivers, a world, and a mount of it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.fetching import Fetching
from tests.contract.world import World
from tests.mounting import Mounted

Mounting = Callable[..., Mounted]


only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: passthrough takes CAP_SYS_ADMIN, so these tests need root"
)


def drivers() -> list[Any]:
    """(driver, io) of every driver that is here; the kernel driver where its package offers one."""
    found = [pytest.param(("fusepy", "cache"), id="fusepy")]
    if importlib.util.find_spec("pictofs.drivers.kernel") is not None:
        from pictofs.drivers import kernel

        if hasattr(kernel, "KernelDriver"):
            found.append(pytest.param(("kernel", "cache"), id="kernel-cache"))
            found.append(pytest.param(("kernel", "passthrough"), id="kernel-passthrough", marks=only_root))
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


@pytest.fixture(scope="module", params=drivers())
def module_driver(request: pytest.FixtureRequest) -> tuple[str, str]:
    """As `driver`, for mounts that many tests share because they change nothing."""
    return request.param


@pytest.fixture(scope="module")
def shared_mount(
    module_driver: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    """A mount of what `tests.contract.test_drivers` furnishes, for tests that change nothing."""
    from tests.contract.test_drivers import furnish

    folder = tmp_path_factory.mktemp("shared")
    world = World(folder / "cache")
    furnish(world)
    yield from _mounted(world, folder, module_driver)


@pytest.fixture(scope="module")
def unsized_mount(
    module_driver: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    """A mount whose service tells no sizes: forty files, a fresh one for every test."""
    folder = tmp_path_factory.mktemp("unsized")
    world = World(folder / "cache", sizes=False)
    world.dataset("Unsized")
    for number in range(40):
        body = bytes([number]) * (10_000 + number)
        world.image("Unsized", f"{number}.jpg", body, annotation={"n": "x" * number})
    yield from _mounted(world, folder, module_driver)


def _mounted(world: World, folder: Path, driver: tuple[str, str]) -> Iterator[Mounted]:
    fetching = Fetching(world, folder / "fetch.sock")
    try:
        with Mounted(fetching, folder / "mnt", driver[0], io=driver[1]) as mount:
            yield mount
    finally:
        fetching.stop()
        world.close()
