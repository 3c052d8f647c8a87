"""What every driver promises, over a real mount."""

from __future__ import annotations

import os

import pytest

from tests.contract.conftest import Mounting
from tests.contract.world import World
from tests.mounting import tree_of

pytestmark = pytest.mark.mount


def test_a_listing_holds_exactly_what_the_service_has(world: World, mounting: Mounting) -> None:
    world.dataset("Cars")
    truth = {f"a/b/{n}.jpg": os.urandom(5000 + n) for n in range(7)} | {"top.jpg": b"top", "ü ä/ß %.png": b"x"}
    for path, body in truth.items():
        world.image("Cars", path, body)
    mount = mounting()
    assert tree_of(mount.root / "Cars" / "images") == truth
