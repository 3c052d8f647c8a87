"""Emulators for the tests, and the vendor's SDK releases installed once per machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.service import Switches
from pictofs.emulator.settings import EmulatorSettings
from tests.emulator.client import Api
from tests.installing import installed

_TURNS = 40  # datasets of the playground: more than a module has tests


@pytest.fixture
def launched() -> Iterator[Callable[..., Running]]:
    """Starts emulators from settings; all are stopped when the test ends."""
    running: list[Running] = []

    def launch(**settings: object) -> Running:
        running.append(start(EmulatorSettings(**settings)))  # type: ignore[arg-type]
        return running[-1]

    yield launch
    for emulator in running:
        emulator.stop()


@pytest.fixture(scope="module", params=["a", "b", "c"])
def shared(request: pytest.FixtureRequest) -> Iterator[Api]:
    """One emulator per module and dialect, for tests that only read."""
    with start(EmulatorSettings(dialect=request.param, generate=12, images=2300)) as emulator:
        yield Api(emulator, request.param)


@pytest.fixture
def api(launched: Callable[..., Running]) -> Callable[..., Api]:
    """Starts an emulator of its own for a test; dialect c with 300 images unless it says otherwise."""

    def make(**settings: object) -> Api:
        settings = {"dialect": "c", "images": 300, **settings}
        return Api(launched(**settings), str(settings["dialect"]))

    return make


@pytest.fixture(scope="module")
def _playground() -> Iterator[tuple[Running, Iterator[int]]]:
    with start(EmulatorSettings(images=300, datasets=_TURNS)) as emulator:
        yield emulator, iter(range(_TURNS))


@pytest.fixture
def played(_playground: tuple[Running, Iterator[int]]) -> Iterator[Api]:
    """An emulator in dialect c that a test may change at will; `name` is a dataset of its own."""
    emulator, turns = _playground
    settings = {each.name: getattr(EmulatorSettings(), each.name) for each in fields(Switches)}
    turn = next(turns)
    yield Api(emulator, "c", "Synthetic" if turn == 0 else f"Synthetic {turn + 1}")
    emulator.clear_faults()
    emulator.switch(**settings)
    for op, values in (("set_role", {"role": "owner"}), ("restore_key", {}), ("reset_rate_limit", {})):
        emulator.mutate(op, **values)


@pytest.fixture(scope="session")
def sdk_folder() -> Callable[[str], Path]:
    """The folder of a release of the SDK, installed once per machine and Python version."""
    return lambda version: installed("pictograph", version)
