from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vfs.bench import Bench


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Benches with settings of the test's choice."""
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(tmp_path / f"cache{len(made)}", **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(benches: Callable[..., Bench]) -> Bench:
    """A dataset "Cars" with nested directories, splits, statuses and annotations."""
    made = benches()
    furnish(made)
    return made


def furnish(bench: Bench) -> None:
    world = bench.world
    world.dataset("Cars", slug="cars-slug")
    for number in range(6):
        world.image(
            "Cars", f"a/b/{number}.jpg", b"%d" % number * 100, split="train" if number % 2 else "val",
            status="review" if number == 5 else "complete", tags=("x", "y"), annotation={"n": number},
        )
    world.image("Cars", "a/ü.png", b"u" * 7, split="train")
    world.image("Cars", "top.jpg", b"top")
