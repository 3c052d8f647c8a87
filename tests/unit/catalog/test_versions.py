"""Versions: what storage tells of images, bodies of annotations, and what stays of old ones."""

from __future__ import annotations

import pytest

from pictofs.catalog.model import ImageRow, Kind, node_id
from tests.unit.catalog.conftest import World, image, image_node


def current(world: World, name: str = "a.jpg") -> ImageRow:
    row = world.catalog.image_named(world.root, name)
    assert row is not None
    return row


def assert_listed_as_looked_up(world: World) -> None:
    """What a listing takes of an image is what its whole row says."""
    rows = world.catalog.images(world.root)
    assert rows
    for listed, row in zip(world.catalog.listed_images(world.root), rows, strict=True):
        assert listed._asdict() == {name: getattr(row, name) for name in listed._fields}
    named: list[tuple[int, int, str]] = []
    while page := world.catalog.image_names(world.root, named[-1][2] if named else "", 2):
        named += page
    assert named == [(row.pk, row.ino, row.file_name) for row in rows]


def test_a_size_learned_from_storage_stays_through_listings_that_bring_none(world: World) -> None:
    facts = image(1, "a.jpg", size_bytes=None)
    world.list(facts)
    row = current(world)
    assert row.size_bytes is None
    world.catalog.put_image_truth(row.pk, 4321, "1700000000000001", "1B2M2Y8AsgTpgAmY7PhCfg==", "AAAAAA==")
    world.list(facts)
    world.restart()
    assert_listed_as_looked_up(world)
    again = current(world)
    assert (again.pk, again.size_bytes, again.generation, again.md5, again.crc32c) == (
        row.pk, 4321, "1700000000000001", "1B2M2Y8AsgTpgAmY7PhCfg==", "AAAAAA==")  # fmt: skip
    assert world.catalog.totals(world.organization).size_bytes == 4321


def test_truths_that_come_in_two_parts_complete_each_other(world: World) -> None:
    world.list(image(1, "a.jpg"))
    row = current(world)
    world.catalog.put_image_truth(row.pk, 1001, "7")
    world.catalog.put_image_truth(row.pk, 1001, "", "md5", '"etag"')
    row = current(world)
    assert (row.size_bytes, row.generation, row.md5, row.crc32c) == (1001, "7", "md5", '"etag"')


def test_a_stored_object_of_another_size_is_another_version_that_the_next_listing_leaves_alone(
    world: World,
) -> None:
    facts = image(1, "a.jpg", size_bytes=1000)
    world.list(facts)
    old = current(world)
    new, change = world.catalog.supersede_image(old.pk, 999, "8")
    assert new == current(world)
    assert (new.ino, new.size_bytes, new.generation, new.created_ns) == (old.ino, 999, "8", old.created_ns)
    assert (node_id(world.root, Kind.IMAGES), "a.jpg") in change.entries
    assert not world.list(facts), "what the listing says has not changed"
    assert current(world) == new
    world.list(facts, image(2, "b.jpg"), image(3, "c.jpg"))
    assert_listed_as_looked_up(world)
    assert_listed_as_looked_up(world)
    world.list(image(1, "a.jpg", size_bytes=1001))
    assert current(world).size_bytes == 1001
    assert current(world).generation == ""


def test_a_truth_of_another_size_does_what_superseding_does(world: World) -> None:
    world.list(image(1, "a.jpg", size_bytes=1000))
    old = current(world)
    change = world.catalog.put_image_truth(old.pk, 5)
    assert current(world).pk != old.pk
    assert (node_id(world.root, Kind.IMAGES), "a.jpg") in change.entries


def test_only_the_current_version_can_be_superseded(world: World) -> None:
    world.list(image(1, "a.jpg"))
    old = current(world)
    world.catalog.supersede_image(old.pk, 5)
    with pytest.raises(LookupError):
        world.catalog.supersede_image(old.pk, 6)
    with pytest.raises(LookupError):
        world.catalog.put_image_truth(10_000, 6)


def test_a_version_found_during_a_listing_survives_it(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    generation = world.catalog.begin_listing(world.dataset)
    world.catalog.put_images(world.dataset, generation, [image(1, "a.jpg"), image(2, "b.jpg")])
    new, _ = world.catalog.supersede_image(current(world).pk, 5)
    world.catalog.finish_listing(world.dataset, generation, "1", 9)
    assert current(world) == new


def test_an_annotation_that_was_never_fetched_is_made_up_from_its_image(world: World) -> None:
    world.list(image(1, "a.jpg"))
    row = current(world)
    annotation = world.catalog.annotation(row.annotation)
    assert annotation is not None
    assert (annotation.pk, annotation.ino, annotation.image) == (row.pk, row.pk, row.pk)
    assert (annotation.size_bytes, annotation.version, annotation.mtime_ns, annotation.fetched_ns) == (
        None, "", row.created_ns, 0)  # fmt: skip
    assert world.catalog.image_of_annotation(row.annotation) == row
    assert world.catalog.annotation(999) is None
    assert world.catalog.image_of_annotation(999) is None


def test_an_annotation_is_found_by_its_name_as_its_row_says_through_all_its_versions(world: World) -> None:
    world.list(image(1, "a.jpg"))
    first = current(world)
    assert_found_as_known(world)
    for version, at_ns in (("ab", 5_000), ("cd", 6_000)):
        world.catalog.put_annotation(first.pk, version, 20, at_ns)
        assert_found_as_known(world)
    world.catalog.supersede_image(first.pk, 5)
    assert_found_as_known(world)
    world.catalog.put_annotation(first.pk, "ef", 22, 7_000)
    assert_found_as_known(world)
    assert world.catalog.found_annotation(world.root, "b.json") is None


def assert_found_as_known(world: World) -> None:
    found = world.catalog.found_annotation(world.root, "a.json")
    image = current(world)
    row = world.catalog.annotation(image.annotation)
    assert found is not None
    assert row is not None
    assert found == (row.pk, row.ino, image.dataset, row.size_bytes, row.mtime_ns, row.fetched_ns)


def test_the_first_body_of_an_annotation_keeps_its_pk_and_its_mtime(world: World) -> None:
    world.list(image(1, "a.jpg"))
    row = current(world)
    annotation, change = world.catalog.put_annotation(row.pk, "ab" * 16, 20, 5_000)
    assert not change
    assert (annotation.pk, annotation.size_bytes, annotation.version) == (row.pk, 20, "ab" * 16)
    assert (annotation.mtime_ns, annotation.fetched_ns) == (row.created_ns, 5_000)


def test_an_unchanged_body_moves_only_the_time_of_its_fetch(world: World) -> None:
    world.list(image(1, "a.jpg"))
    row = current(world)
    before, _ = world.catalog.put_annotation(row.pk, "ab", 20, 5_000)
    after, change = world.catalog.put_annotation(row.pk, "ab", 20, 6_000)
    assert not change
    assert (after.pk, after.mtime_ns, after.fetched_ns) == (before.pk, before.mtime_ns, 6_000)


def test_a_changed_body_is_a_new_version_under_the_same_name_and_inode(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    row = current(world)
    first, _ = world.catalog.put_annotation(row.pk, "ab", 20, 5_000)
    second, change = world.catalog.put_annotation(row.pk, "cd", 21, 6_000)
    assert second.pk > current(world, "b.jpg").pk, "images and annotations draw from one sequence"
    assert (second.ino, second.mtime_ns, second.superseded) == (row.ino, 6_000, False)
    assert change.entries == [(node_id(world.root, Kind.ANNOTATIONS), "a.json")]
    assert current(world).annotation == second.pk
    old = world.catalog.annotation(first.pk)
    assert old is not None
    assert (old.superseded, old.size_bytes) == (True, 20)
    assert world.catalog.image_of_annotation(first.pk) == current(world)


def test_the_annotation_follows_an_image_into_its_new_version(world: World) -> None:
    world.list(image(1, "a.jpg"))
    old = current(world)
    world.catalog.put_annotation(old.pk, "ab", 20, 5_000)
    second, _ = world.catalog.put_annotation(old.pk, "cd", 21, 6_000)
    new, _ = world.catalog.supersede_image(old.pk, 5)
    assert new.annotation == second.pk
    annotation = world.catalog.annotation(second.pk)
    assert annotation is not None
    assert annotation.image == new.pk
    third, _ = world.catalog.put_annotation(old.pk, "ef", 22, 7_000)
    assert current(world).annotation == third.pk, "an old version's pk leads to the current one"


def test_what_is_old_stays_while_it_is_in_the_store_and_goes_after_that(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    old = current(world)
    world.store(image_node(old.pk))
    first, _ = world.catalog.put_annotation(old.pk, "ab", 20, 5)
    world.catalog.put_annotation(old.pk, "cd", 21, 6)
    new, _ = world.catalog.supersede_image(old.pk, 5)
    assert world.catalog.collect() == 1, "the first annotation, of which nothing is stored"
    assert world.catalog.annotation(first.pk) is None or first.pk == new.ino
    assert world.catalog.image(old.pk) is not None
    assert {(age.node, age.current) for age in world.catalog.blocks_of_the_gone()} == {
        (image_node(old.pk), False)
    }
    world.catalog.drop_blocks(image_node(old.pk))
    assert world.catalog.collect() == 1
    assert world.catalog.image(old.pk) is None
    assert world.catalog.current_image(old.pk) == new
    assert world.catalog.collect() == 0


def test_a_deleted_image_takes_its_annotation_along(world: World) -> None:
    world.list(image(1, "a.jpg"))
    row = current(world)
    world.catalog.put_annotation(row.pk, "ab", 20, 5)
    world.store(node_id(row.pk, Kind.ANNOTATION))
    world.list()
    assert [age.current for age in world.catalog.blocks_by_age()] == [False]
    while world.catalog.collect():
        pass
    assert world.catalog.image(row.pk) is None
    assert world.catalog.annotation(row.pk) is not None, "its body is in the store"
    assert [age.node for age in world.catalog.blocks_of_the_gone()] == [node_id(row.pk, Kind.ANNOTATION)]
    world.catalog.drop_blocks(node_id(row.pk, Kind.ANNOTATION))
    while world.catalog.collect():
        pass
    assert world.catalog.annotation(row.pk) is None
