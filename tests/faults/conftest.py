"""An emulator over a folder of known bytes, one for each test that changes something in it."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

DATASET = "Faults"
IMAGES = 24
BIG_BYTES = 20 << 20
Start = Callable[..., Running]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATASET: IMAGES small images in three directories, every second with annotations, and an export."""
    root = tmp_path_factory.mktemp("served")
    draw = random.Random(7)
    images = root / DATASET / "images"
    for number in range(IMAGES):
        place = ("", "x", "y/zürich")[number % 3]
        path = images / place / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(10_000 + 37 * number))
        if number % 2:
            point = {"id": f"a{number}", "name": "cat", "type": "keypoint", "keypoint": {"x": 1, "y": 2}}
            body = {"annotations": [point]}
            described = root / DATASET / "annotations" / place / f"{number:03d}.json"
            described.parent.mkdir(parents=True, exist_ok=True)
            described.write_text(json.dumps(body))
    exports = root / DATASET / "exports"
    exports.mkdir()
    with zipfile.ZipFile(exports / "all.zip", "w", zipfile.ZIP_STORED) as archive:
        for number in range(3):
            archive.writestr(f"part{number}.bin", draw.randbytes(1 << 20))
    return root


@pytest.fixture(scope="session")
def big_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATASET with one image of three blocks."""
    root = tmp_path_factory.mktemp("big")
    (root / DATASET / "images").mkdir(parents=True)
    (root / DATASET / "images" / "big.jpg").write_bytes(random.Random(8).randbytes(BIG_BYTES))
    return root


@pytest.fixture
def emulator_of() -> Iterator[Start]:
    """Starts emulators that end with the test."""
    running: list[Running] = []

    def begin(**settings: Any) -> Running:
        running.append(start(EmulatorSettings(**{"rate_limit": 100_000, **settings})))
        return running[-1]

    yield begin
    for emulator in running:
        emulator.stop()


@pytest.fixture
def changing(emulator_of: Start, folder: Path) -> Running:
    """One in dialect C over `folder`, for a test that changes what it serves."""
    return emulator_of(data=folder)


@pytest.fixture(scope="module")
def _shared(folder: Path) -> Iterator[Running]:
    with start(EmulatorSettings(data=folder, rate_limit=100_000)) as running:
        yield running


@pytest.fixture
def emulator(_shared: Running) -> Iterator[Running]:
    """The same, shared by tests that only ask and provoke faults; each finds it whole and uncounted."""
    _shared.reset_counters()
    yield _shared
    _shared.clear_faults()
