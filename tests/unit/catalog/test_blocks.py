"""Blocks, sums, pins and candidates for eviction."""

from __future__ import annotations

import pytest

from pictofs.catalog import JOINED
from pictofs.catalog.model import (
    EXPORT_BLOCK_BYTES,
    MEDIA_BLOCK_BYTES,
    MEMBER_BLOCK_BYTES,
    ROOT_NODE,
    BlockRow,
    ExportFacts,
    Kind,
    node_id,
)
from tests.unit.catalog.conftest import World, dataset_facts, image, image_node


def node(world: World, name: str) -> int:
    row = world.catalog.image_named(world.root, name)
    assert row is not None
    return image_node(row.pk)


def block(of: int, number: int = 0, path: str = "store/x/y", size_bytes: int = 10) -> BlockRow:
    return BlockRow(of, number, path, size_bytes, 0xFFFFFFFF, 1)


@pytest.mark.parametrize(
    "path", ["store/0/110.0.00aabbcc", "store/elsewhere/110.0.00aabbcc", "store/ab/cd/xyz.val", "tmp/x", "ü"]
)
def test_a_block_comes_back_as_it_was_put(world: World, path: str) -> None:
    world.list(image(1, "a.jpg"))
    row = block(node(world, "a.jpg"), 0, path)
    world.catalog.put_block(row)
    assert world.catalog.block(row.node, 0) == row
    assert world.catalog.blocks(row.node) == [row]
    assert world.catalog.block(row.node, 1) is None


def test_a_node_is_whole_when_its_size_is_known_and_every_block_is_there(world: World) -> None:
    world.list(image(1, "a.jpg", size_bytes=2 * MEDIA_BLOCK_BYTES + 1), image(2, "b.jpg", size_bytes=None),
               image(3, "c.jpg", size_bytes=0))  # fmt: skip
    a, b, c = (node(world, name) for name in ("a.jpg", "b.jpg", "c.jpg"))
    world.catalog.put_blocks([block(a, 0), block(a, 2), block(b, 0)])
    assert [world.catalog.whole(one) for one in (a, b, c)] == [False, False, True]
    world.catalog.put_block(block(a, 1))
    assert world.catalog.whole(a)
    world.catalog.drop_block(a, 2)
    assert not world.catalog.whole(a)
    member = node_id(5, Kind.MEMBER)
    world.catalog.put_block(block(member, 0))
    assert not world.catalog.whole(member), "its size is nobody's here"
    assert world.catalog.whole(member, MEMBER_BLOCK_BYTES)
    assert not world.catalog.whole(member, MEMBER_BLOCK_BYTES + 1)


def test_sums_follow_what_is_put_replaced_and_dropped(world: World) -> None:
    world.list(image(1, "a.jpg", size_bytes=10), image(2, "b.jpg", size_bytes=20))
    a, b = node(world, "a.jpg"), node(world, "b.jpg")
    world.catalog.put_blocks([block(a, 0, size_bytes=10), block(b, 0, size_bytes=20)])
    world.catalog.put_blocks([block(a, 0, "elsewhere", size_bytes=11), block(a, 0, "there", size_bytes=12)])
    assert world.catalog.block_totals() == (32, 2)
    assert world.catalog.image_counts(world.organization)[0].cached == 2
    world.catalog.drop_blocks(a)
    world.catalog.drop_block(a, 0)
    assert world.catalog.block_totals() == (20, 1)
    assert world.catalog.image_counts(world.organization)[0].cached == 1
    world.restart()
    assert world.catalog.block_totals() == (20, 1)


def test_an_image_whose_size_is_learned_after_its_bytes_counts_as_cached(world: World) -> None:
    world.list(image(1, "a.jpg", size_bytes=None))
    a = node(world, "a.jpg")
    world.catalog.put_block(block(a, 0))
    assert world.catalog.image_counts(world.organization)[0].cached == 0
    world.catalog.put_image_truth(a >> 8, 10)
    assert world.catalog.image_counts(world.organization)[0].cached == 1


def test_blocks_come_by_the_time_of_their_last_use_in_pages(world: World) -> None:
    world.list(*(image(number, f"{number}.jpg") for number in range(1, 8)))
    nodes = [node(world, f"{number}.jpg") for number in range(1, 8)]
    for one in nodes:
        world.now_s += 1
        world.catalog.put_block(block(one))
    world.now_s += 10
    world.catalog.touch_blocks([(nodes[0], 0), (nodes[3], 0)])
    seen, last = [], None
    while page := world.catalog.blocks_by_age(2, last):
        seen += page
        last = page[-1]
    assert [age.node for age in seen] == [nodes[i] for i in (1, 2, 4, 5, 6, 0, 3)]
    assert seen[-1].used_s == seen[-1].stored_s + 13
    assert all(age.current and not age.pinned for age in seen)


def test_a_pin_holds_what_is_below_it_in_every_version(world: World) -> None:
    world.list(image(1, "a.jpg", "/x/y"), image(2, "b.jpg", "/z"), image(3, "c.jpg"))
    catalog = world.catalog
    rows = {row.file_name: row for _, row in world.images()}
    for row in rows.values():
        world.store(image_node(row.pk))
    annotation = node_id(rows["a.jpg"].annotation, Kind.ANNOTATION)
    catalog.put_annotation(rows["a.jpg"].pk, "ab", 5, 5)
    world.store(annotation)

    def held() -> set[int]:
        return {age.node for age in catalog.blocks_by_age() if age.pinned}

    a, b, c = (image_node(rows[name].pk) for name in ("a.jpg", "b.jpg", "c.jpg"))
    x = catalog.subdirectory(world.root, "x")
    assert x is not None
    for pin, expected in (
        (a, {a}),
        (annotation, {annotation}),
        (node_id(x.pk, Kind.IMAGES), {a}),
        (node_id(x.pk, Kind.ANNOTATIONS), {annotation}),
        (node_id(world.root, Kind.IMAGES), {a, b, c}),
        (node_id(world.dataset, Kind.DATASET), {a, b, c, annotation}),
        (node_id(world.organization, Kind.ORGANIZATION), {a, b, c, annotation}),
        (ROOT_NODE, {a, b, c, annotation}),
    ):
        catalog.pin(pin)
        catalog.pin(pin)
        assert held() == expected
        catalog.unpin(pin)
        assert held() == set()
    new, _ = catalog.supersede_image(rows["b.jpg"].pk, 7)
    world.store(image_node(new.pk))
    catalog.pin(image_node(new.pk))
    assert held() == {image_node(new.pk)}
    assert catalog.pinned() == [b], "by its first version, so that the next one is held too"
    catalog.unpin(b)
    assert catalog.pinned() == []


def test_blocks_of_a_dataset_that_is_gone_are_current_no_more(world: World) -> None:
    world.list(image(1, "a.jpg"))
    world.store(node(world, "a.jpg"))
    world.catalog.put_datasets(world.organization, [dataset_facts(2, "other")], 5)
    assert [age.current for age in world.catalog.blocks_by_age()] == [False]


def test_blocks_of_an_export_follow_its_versions(world: World) -> None:
    facts = ExportFacts("e", "coco", "completed", EXPORT_BLOCK_BYTES + 1, 1, 2, b"{}")
    world.catalog.put_exports(world.dataset, [facts], 5)
    row = world.catalog.export_named(world.dataset, "coco")
    assert row is not None
    export = node_id(row.pk, Kind.EXPORT)
    world.store(export)
    world.catalog.pin(node_id(world.dataset, Kind.EXPORTS))
    assert [(age.block, age.current, age.pinned) for age in world.catalog.blocks_by_age()] == [
        (0, True, True),
        (1, True, True),
    ]
    world.catalog.put_exports(world.dataset, [], 6)
    assert [age.block for age in world.catalog.blocks_of_the_gone()] == [0, 1]
    assert world.catalog.collect() == 0
    world.catalog.drop_blocks(export)
    assert world.catalog.collect() == 1
    assert world.catalog.export(row.pk) is None


def test_a_boot_has_one_index_and_a_verified_block_the_newer_one(world: World) -> None:
    world.list(image(1, "a.jpg"))
    one, two = world.catalog.boot_index("boot-a"), world.catalog.boot_index("boot-b")
    assert one != two
    world.restart()
    assert (world.catalog.boot_index("boot-a"), world.catalog.boot("boot-b"), world.catalog.boot("c")) == (
        one,
        two,
        None,
    )
    a = node(world, "a.jpg")
    world.catalog.put_block(block(a))
    world.catalog.verify_blocks([(a, 0)], two)
    found = world.catalog.block(a, 0)
    assert found is not None
    assert found.boot == two


def test_a_joined_file_stands_for_every_block_and_is_seen_by_eviction(world: World) -> None:
    facts = ExportFacts("e", "e", "completed", 3 * EXPORT_BLOCK_BYTES - 7, 1, 2, b"{}")
    world.catalog.put_exports(world.dataset, [facts], 1)
    (row,) = world.catalog.exports(world.dataset)
    archive = node_id(row.pk, Kind.EXPORT)
    world.catalog.put_blocks([block(archive, number) for number in range(3)])
    joined = block(archive, JOINED, f"store/0/{archive:x}.-1.00aabbcc", row.size_bytes or 0)
    assert world.catalog.joined(archive) is None
    world.catalog.put_block(joined)
    assert [each.block for each in world.catalog.blocks(archive)] == [JOINED, 0, 1, 2]
    assert world.catalog.block(archive, 1) == block(archive, 1), "while there is one it comes first"
    world.catalog.drop_each([(archive, number) for number in range(3)])
    assert world.catalog.block(archive, 2) == world.catalog.joined(archive) == joined
    assert world.catalog.whole(archive)
    world.now_s += 50
    world.catalog.touch_blocks([(archive, 1)])
    (age,) = world.catalog.blocks_by_age()
    assert (age.block, age.size_bytes, age.used_s) == (JOINED, row.size_bytes, int(world.now_s))
    world.catalog.drop_blocks(archive)
    assert world.catalog.block_totals() == (0, 0)
    assert not world.catalog.whole(archive)
