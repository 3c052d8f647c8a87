"""Folders served by the kernel driver: nothing here needs a catalog or a service.

The server is a process of its own (`tests.benchmarks.served`), which a test may stop, kill and replace.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.served import Served

Serve = Callable[..., Served]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of every size that is an edge, in a tree with links and names that are not ASCII."""
    root = tmp_path / "folder"
    (root / "a" / "b").mkdir(parents=True)
    (root / "empty").mkdir()
    noise = random.Random(7)
    for size in (0, 1, 4095, 4096, 4097, 60_000, (1 << 20) - 1, 1 << 20, (3 << 20) + 17):
        (root / f"{size}.bin").write_bytes(noise.randbytes(size))
    (root / "a" / "ü ä 汉.jpg").write_bytes(noise.randbytes(70_000))
    (root / "a" / "b" / ("n" * 251 + ".jpg")).write_bytes(b"long")
    (root / "a" / "link").symlink_to("b/" + "n" * 251 + ".jpg")
    return root


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves folders, each at a mountpoint of its own, unmounted at the end whatever happens."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(folder: Path, **options: Any) -> Served:
            if options.get("io") == "passthrough" and os.geteuid() != 0:
                pytest.skip("NOT TESTED: passthrough takes CAP_SYS_ADMIN, so this test needs root")
            return stack.enter_context(Served(folder, tmp_path / f"mnt{next(count)}", **options))

        yield start


@pytest.fixture(params=["cache", "passthrough"])
def io(request: pytest.FixtureRequest) -> str:
    return str(request.param)
