"""What is got ready while a dataset is listed for the first time, and what that may cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pictofs.api.governor import Budget
from pictofs.mirror import foresight
from pictofs.mirror.availability import Standing, refused, unreachable
from pictofs.mirror.foresight import Foresight
from pictofs.mirror.links import BATCH_LIMIT, Scope
from tests.unit.mirror.rows import dataset

ONLINE = Standing()


class World:
    """A key's budget, and what was asked for by it."""

    def __init__(self, budget: Budget | None = None, prefetch: str = "auto") -> None:
        self.prepared = 0
        self.signed: list[int] = []
        access = SimpleNamespace(client=SimpleNamespace(budget=budget), standing=ONLINE)
        self.member: Any = SimpleNamespace(access=access, policy=SimpleNamespace(prefetch=prefetch))
        self.foresight = Foresight(self._prepare, self._sign)

    def _prepare(self) -> None:
        self.prepared += 1

    def _sign(self, member: Any, pk: int, scope: Scope) -> None:
        assert scope == Scope("images", pk)
        self.signed.append(pk)

    def list(self, pk: int = 1, images: int = 100, listed_ns: int = 0) -> None:
        row = dataset(pk=pk, image_count=images, listed_ns=listed_ns)
        self.foresight.listing(self.member, row)


def test_the_first_listing_has_the_urls_on_their_way() -> None:
    world = World()
    world.list()
    assert (world.prepared, world.signed) == (1, [1])


@pytest.mark.parametrize(
    "listing", [{"listed_ns": 5}, {"images": foresight.LEAST_IMAGES - 1}, {"images": 0}], ids=str
)
def test_a_later_listing_and_one_of_few_images_cost_nothing(listing: dict[str, int]) -> None:
    world = World()
    world.list(**listing)
    assert (world.prepared, world.signed) == (0, [])


def test_no_urls_are_asked_for_where_the_service_was_out_of_reach_or_refused_the_key_a_moment_ago() -> None:
    world = World()
    for standing in (unreachable(ONLINE, 0.0, "", 10.0, 0.5), refused(ONLINE, 0.0, "", 10.0, 0.5)):
        world.member.access.standing = standing
        world.list()
    assert not world.signed
    world.member.access.standing = ONLINE
    world.list()
    assert world.signed == [1]


def test_nothing_is_got_ready_with_prefetch_off() -> None:
    world = World(prefetch="off")
    world.list()
    assert (world.prepared, world.signed) == (0, [])


def test_what_one_batch_does_not_reach_is_signed_when_it_is_read() -> None:
    world = World()
    world.list(images=BATCH_LIMIT + 1)
    assert (world.prepared, world.signed) == (1, [])


def test_whoever_only_lists_costs_two_requests_and_not_one_for_each_dataset() -> None:
    world = World()
    for pk in range(1, 50):
        world.list(pk)
    assert world.signed == [1, 2]
    world.foresight.used()
    world.list(60)
    assert world.signed == [1, 2, 60]


@pytest.mark.parametrize(("remaining", "signed"), [(5000, [1]), (2500, [1]), (2499, []), (0, [])])
def test_a_budget_that_is_half_used_is_kept_for_what_is_read(remaining: int, signed: list[int]) -> None:
    world = World(Budget(limit=5000, remaining=remaining, reset_s=0.0))
    world.list()
    assert world.signed == signed
