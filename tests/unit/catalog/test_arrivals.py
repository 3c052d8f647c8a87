"""Batches of whole images, and the order in which a dataset is walked."""

from __future__ import annotations

import time

from pictofs.catalog.arrivals import Arrival
from pictofs.catalog.model import BlockRow, Kind, block_bytes, node_id
from tests.unit.catalog.conftest import World, image, image_node


def arrival(node: int, size_bytes: int, generation: str = "12", crc32c: str = "AAAAAA==") -> Arrival:
    path = f"store/{node >> 18:x}/{node:x}.0.0badcafe"
    return Arrival(BlockRow(node, 0, path, size_bytes, 7, 1), generation, "", crc32c)


def pks(world: World) -> list[int]:
    return [row.pk for _, row in sorted(world.images(), key=lambda each: each[1].file_name)]


def test_a_batch_says_what_single_blocks_and_truths_would_say(world: World) -> None:
    world.list(*(image(n, f"{n:03}.jpg") for n in range(150)))
    many = pks(world)
    left = world.catalog.put_arrivals([arrival(image_node(pk), 1000 + n) for n, pk in enumerate(many)])
    assert left == []
    assert world.catalog.block_totals() == (sum(1000 + n for n in range(150)), 150)
    count = world.catalog.image_counts(world.organization)[0]
    assert (count.images, count.cached) == (150, 150)
    row = world.catalog.image(many[5])
    assert row is not None
    assert (row.size_bytes, row.generation, row.crc32c) == (1005, "12", "AAAAAA==")
    block = world.catalog.block(image_node(many[5]), 0)
    assert block == arrival(image_node(many[5]), 1005).row
    world.catalog.drop_blocks(image_node(many[5]))
    assert world.catalog.image_counts(world.organization)[0].cached == 149


def test_what_is_not_plain_is_left_to_the_caller(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg", size_bytes=None), image(4, "d.jpg"))
    a, b, c, d = pks(world)
    world.store(image_node(b))
    large = block_bytes(Kind.IMAGE) + 1
    odd = [
        arrival(image_node(a), 999),                      # another size than the listing's
        arrival(image_node(b), 1002),                     # here already
        arrival(image_node(c), 1003),                     # of unknown size
        arrival(image_node(d), large),                    # more than a block
        arrival(node_id(a, Kind.ANNOTATION), 10),
        arrival(image_node(10**6), 10),
    ]  # fmt: skip
    before = world.catalog.block_totals()
    assert world.catalog.put_arrivals(odd) == odd
    assert world.catalog.block_totals() == before
    assert world.catalog.put_arrivals([arrival(image_node(d), 1004)] * 2) == [arrival(image_node(d), 1004)]


def test_a_generation_that_is_known_stays(world: World) -> None:
    world.list(image(1, "a.jpg"))
    (a,) = pks(world)
    world.catalog.put_image_truth(a, 1001, "7")
    assert world.catalog.put_arrivals([arrival(image_node(a), 1001, "12")]) == []
    row = world.catalog.image(a)
    assert row is not None
    assert row.generation == "7"


def test_the_walk_is_in_the_order_of_readdir(world: World) -> None:
    paths = ["/b", "/", "/a", "/a/z", "/", "/b", "/a"]
    world.list(*(image(n, f"{n}.jpg", path) for n, path in enumerate(paths)))
    by_pk = {row.pk: above + row.file_name for above, row in world.images()}
    walked = [by_pk[pk] for _, page in world.catalog.walk(world.dataset, page=1) for pk in page]
    assert walked == ["a/z/3.jpg", "a/2.jpg", "a/6.jpg", "b/0.jpg", "b/5.jpg", "1.jpg", "4.jpg"]
    assert list(world.catalog.walk(world.dataset + 100)) == []


def test_rows_come_by_the_handful_in_the_order_asked_for(world: World) -> None:
    world.list(*(image(n, f"{n:03}.jpg") for n in range(100)))
    many = pks(world)
    asked = [many[70], 10**6, many[3], *many[10:90]]
    assert [row.pk for row in world.catalog.images_at(asked)] == [pk for pk in asked if pk != 10**6]
    world.store(image_node(many[3]))
    assert world.catalog.held([image_node(pk) for pk in asked]) == {image_node(many[3])}
    assert world.catalog.images_at([]) == []


def test_an_arrival_costs_a_small_part_of_a_millisecond(world: World) -> None:
    world.list(*(image(n, f"{n:04}.jpg") for n in range(1000)))
    many = [arrival(image_node(pk), 1000 + n) for n, pk in enumerate(pks(world))]
    begun_s = time.thread_time()
    assert world.catalog.put_arrivals(many) == []
    assert time.thread_time() - begun_s < 0.2  # 0.02 measured
