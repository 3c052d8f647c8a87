"""Listings: what is there after a complete one, an interrupted one and a repeated one."""

from __future__ import annotations

import pytest

from pictofs.catalog.model import Kind, node_id
from tests.unit.catalog.conftest import World, image, image_node, remote_id


def test_a_listed_image_has_its_place_its_name_and_what_the_service_said(world: World) -> None:
    world.list(
        image(5, "a b.jpg", "/x/y", size_bytes=12, split="val", status="review", width=640, height=480,
              annotation_count=3, tags=("night", "rain"))
    )  # fmt: skip
    x = world.catalog.subdirectory(world.root, "x")
    assert x is not None
    y = world.catalog.subdirectory(x.pk, "y")
    assert y is not None
    assert (y.remote_path, y.parent, y.dataset) == ("/x/y", x.pk, world.dataset)
    row = world.catalog.image_named(y.pk, "a b.jpg")
    assert row is not None
    assert row == world.catalog.image(row.pk)
    assert row == world.catalog.image_of_annotation_name(y.pk, "a b.json")
    assert (row.remote_id, row.remote_name, row.size_bytes, row.created_ns) == (
        remote_id(5), "a b.jpg", 12, 5_000_000_000)  # fmt: skip
    assert (row.split, row.status, row.width, row.height, row.annotation_count, row.tags) == (
        "val", "review", 640, 480, 3, ("night", "rain"))  # fmt: skip
    assert (row.ino, row.annotation, row.directory) == (row.pk, row.pk, y.pk)


def test_pages_of_a_directory_go_on_behind_a_name_and_hold_each_image_once(world: World) -> None:
    world.list(*(image(number, f"{number:03d}.jpg") for number in range(1, 26)))
    seen, after = [], ""
    while page := world.catalog.images(world.root, after, 10):
        seen += [row.file_name for row in page]
        after = page[-1].file_name
    assert seen == [f"{number:03d}.jpg" for number in range(1, 26)]
    seen, after = [], ""
    while page := world.catalog.images_by_annotation_name(world.root, after, 10):
        seen += [row.annotation_name for row in page]
        after = page[-1].annotation_name
    assert seen == [f"{number:03d}.json" for number in range(1, 26)]


def test_a_listing_without_an_image_removes_it_and_says_so(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    gone = world.catalog.image_named(world.root, "a.jpg")
    assert gone is not None
    change = world.list(image(2, "b.jpg"))
    assert list(world.tree()) == ["b.jpg"]
    assert (node_id(world.root, Kind.IMAGES), "a.jpg") in change.entries
    assert (node_id(world.root, Kind.ANNOTATIONS), "a.json") in change.entries
    assert {node_id(world.root, Kind.IMAGES), node_id(world.root, Kind.ANNOTATIONS)} <= set(change.nodes)
    row = world.catalog.image(gone.pk)
    assert row is not None, "an open reader still finds the old version"
    assert (row.directory, row.file_name) == (0, "a.jpg")


def test_an_interrupted_listing_keeps_what_it_has_not_seen_and_shows_what_it_added(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    generation = world.catalog.begin_listing(world.dataset)
    world.catalog.put_images(world.dataset, generation, [image(3, "c.jpg")])
    world.restart()
    assert list(world.tree()) == ["a.jpg", "b.jpg", "c.jpg"]
    dataset = world.catalog.dataset(world.dataset)
    assert dataset is not None
    assert dataset.listed_ns > 0, "the last complete one is in force"
    with pytest.raises(LookupError):
        world.catalog.finish_listing(world.dataset, generation, "1", 9)
    world.list(image(1, "a.jpg"), image(3, "c.jpg"))
    assert list(world.tree()) == ["a.jpg", "c.jpg"]


def test_a_first_listing_that_was_interrupted_does_not_count_as_one(world: World) -> None:
    generation = world.catalog.begin_listing(world.dataset)
    world.catalog.put_images(world.dataset, generation, [image(1, "a.jpg")])
    world.restart()
    dataset = world.catalog.dataset(world.dataset)
    assert dataset is not None
    assert dataset.listed_ns == 0
    assert list(world.tree()) == ["a.jpg"], "a name already seen resolves"


def test_a_listing_that_another_one_replaced_can_no_longer_be_filled(world: World) -> None:
    old = world.catalog.begin_listing(world.dataset)
    new = world.catalog.begin_listing(world.dataset)
    assert new > old
    with pytest.raises(LookupError):
        world.catalog.put_images(world.dataset, old, [image(1, "a.jpg")])
    world.catalog.put_images(world.dataset, new, [image(1, "a.jpg")])


def test_an_unchanged_listing_writes_no_row_and_moves_no_mtime(world: World) -> None:
    facts = [image(number, f"{number}.jpg", "/x", tags=("t",)) for number in range(1, 40)]
    world.list(*facts)
    x = world.catalog.subdirectory(world.root, "x")
    before = world.catalog.images(x.pk)  # type: ignore[union-attr]
    changes = world.catalog._db.total_changes
    change = world.list(*facts)
    assert world.catalog._db.total_changes - changes <= 3, "the dataset's own row, begun and finished"
    assert not change
    assert world.catalog.subdirectory(world.root, "x") == x
    assert world.catalog.images(x.pk) == before  # type: ignore[union-attr]


def test_the_mtime_of_a_directory_moves_only_when_its_own_entries_change(world: World) -> None:
    world.list(image(1, "a.jpg", "/x"), image(2, "b.jpg", "/y"), now_ns=100)
    world.list(image(1, "a.jpg", "/x"), image(2, "b.jpg", "/y"), image(3, "c.jpg", "/y"), now_ns=200)
    x, y = world.catalog.subdirectory(world.root, "x"), world.catalog.subdirectory(world.root, "y")
    root = world.catalog.directory(world.root)
    assert x is not None
    assert y is not None
    assert root is not None
    assert (root.mtime_ns, x.mtime_ns, y.mtime_ns) == (100, 100, 200)


def test_a_change_that_an_interrupted_listing_made_moves_the_mtime_with_the_next_complete_one(
    world: World,
) -> None:
    world.list(image(1, "a.jpg"), now_ns=100)
    generation = world.catalog.begin_listing(world.dataset)
    world.catalog.put_images(world.dataset, generation, [image(2, "b.jpg")])
    world.restart()
    change = world.list(image(1, "a.jpg"), image(2, "b.jpg"), now_ns=300)
    assert world.catalog.directory(world.root).mtime_ns == 300  # type: ignore[union-attr]
    assert node_id(world.root, Kind.IMAGES) in change.nodes


def test_an_image_with_other_facts_of_the_same_version_keeps_its_row(world: World) -> None:
    world.list(image(1, "a.jpg"))
    before = world.catalog.image_named(world.root, "a.jpg")
    world.list(image(1, "a.jpg", status="complete", split="", annotation_count=9, tags=("x",)))
    row = world.catalog.image_named(world.root, "a.jpg")
    assert before is not None
    assert row is not None
    assert row.pk == before.pk
    assert (row.status, row.split, row.annotation_count, row.tags) == ("complete", "", 9, ("x",))


@pytest.mark.parametrize("facts", [{"size_bytes": 77}, {"created_ns": 99}])
def test_another_size_or_creation_time_is_another_version(world: World, facts: dict[str, int]) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    before = world.catalog.image_named(world.root, "a.jpg")
    assert before is not None
    world.store(image_node(before.pk))
    change = world.list(image(1, "a.jpg", **facts), image(2, "b.jpg"))
    row = world.catalog.image_named(world.root, "a.jpg")
    assert row is not None
    assert row.pk > before.pk
    assert (row.ino, row.annotation) == (before.pk, before.pk), "st_ino and the annotation are the object's"
    assert (node_id(world.root, Kind.IMAGES), "a.jpg") in change.entries
    assert node_id(world.root, Kind.IMAGES) not in change.nodes, "the directory lists the same names"
    old = world.catalog.image(before.pk)
    assert old is not None
    assert (old.directory, old.size_bytes) == (0, 1001)
    assert world.catalog.whole(image_node(before.pk))
    assert not world.catalog.whole(image_node(row.pk))


def test_what_an_earlier_listing_left_out_is_learned_without_a_new_version(world: World) -> None:
    world.list(image(1, "a.jpg", size_bytes=None, created_ns=0))
    before = world.catalog.image_named(world.root, "a.jpg")
    assert before is not None
    change = world.list(image(1, "a.jpg", size_bytes=5, created_ns=9))
    row = world.catalog.image_named(world.root, "a.jpg")
    assert row is not None
    assert (row.pk, row.size_bytes, row.created_ns) == (before.pk, 5, 9)
    assert image_node(row.pk) in change.nodes
    assert not world.list(image(1, "a.jpg", size_bytes=None, created_ns=0)), "and what is left out stays"


def test_an_image_that_was_renamed_or_moved_keeps_its_pk(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    before = world.catalog.image_named(world.root, "a.jpg")
    assert before is not None
    change = world.list(image(1, "c.jpg", "/x"), image(2, "b.jpg"))
    assert world.tree() == {"b.jpg": "b.json", "x/c.jpg": "x/c.json"}
    x = world.catalog.subdirectory(world.root, "x")
    assert x is not None
    row = world.catalog.image_named(x.pk, "c.jpg")
    assert row is not None
    assert (row.pk, row.remote_name) == (before.pk, "c.jpg")
    for entry in (
        (node_id(world.root, Kind.IMAGES), "a.jpg"),
        (node_id(world.root, Kind.ANNOTATIONS), "a.json"),
        (node_id(x.pk, Kind.IMAGES), "c.jpg"),
    ):
        assert entry in change.entries
    assert node_id(row.pk, Kind.IMAGE_LINK) in change.nodes, "its symbolic links lead elsewhere"


def test_two_images_may_swap_their_names(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    world.list(image(1, "b.jpg"), image(2, "a.jpg"))
    assert world.names() == {remote_id(1): "b.jpg", remote_id(2): "a.jpg"}
    assert world.tree() == {"a.jpg": "a.json", "b.jpg": "b.json"}


def test_pks_are_never_used_again(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    used = {row.pk for row in world.catalog.images(world.root)}
    for number in range(3, 8):
        world.list(image(number, "a.jpg", f"/d{number}"))
        while world.catalog.collect():
            pass
        world.restart()
        sub = world.catalog.subdirectories(world.root)[0]
        row = world.catalog.images(sub.pk)[0]
        assert row.pk not in used
        used.add(row.pk)
    assert sub.pk == world.root + 5, "five directories came and four went"


def test_without_ids_the_nth_image_of_a_name_stays_the_nth(world: World) -> None:
    facts = [image(n, "a.jpg", remote_id="", created_ns=0, size_bytes=n) for n in (1, 2, 3)]
    world.list(*facts, page=2)
    names = list(world.tree())
    assert len(names) == 3
    assert names[0] == "a.jpg"
    by_name = {row.file_name: row.pk for row in world.catalog.images(world.root)}
    change = world.list(*facts, page=1)
    assert not change
    assert {row.file_name: row.pk for row in world.catalog.images(world.root)} == by_name
    assert world.catalog.images(world.root)[0].remote_id == ""
    world.list(*facts[:2])
    assert len(world.tree()) == 2


def test_an_image_that_a_listing_brings_twice_counts_once(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"), image(1, "a.jpg"), page=2)
    world.list(image(1, "a.jpg"), image(1, "a.jpg"), image(2, "b.jpg"))
    assert list(world.tree()) == ["a.jpg", "b.jpg"]
    assert world.catalog.image_counts(world.organization)[0].images == 2


def test_directories_come_with_their_first_image_and_go_with_their_last(world: World) -> None:
    world.list(image(1, "a.jpg", "/x/y/z"), image(2, "b.jpg", "/x"))
    x = world.catalog.subdirectory(world.root, "x")
    assert x is not None
    assert (x.subdirectories, world.catalog.directory(world.root).subdirectories) == (1, 1)  # type: ignore[union-attr]
    change = world.list(image(2, "b.jpg", "/x"))
    assert world.catalog.subdirectories(x.pk) == []
    assert world.catalog.subdirectory(world.root, "x").subdirectories == 0  # type: ignore[union-attr]
    assert (node_id(x.pk, Kind.IMAGES), "y") in change.entries
    world.list(image(2, "b.jpg"))
    assert world.catalog.subdirectories(world.root) == []


def test_doubled_and_trailing_slashes_name_the_same_directory(world: World) -> None:
    world.list(
        image(1, "a.jpg", "/x/y"),
        image(2, "b.jpg", "//x//y/"),
        image(3, "c.jpg", "x/y"),
        image(4, "d.jpg", ""),
    )
    assert list(world.tree()) == ["d.jpg", "x/y/a.jpg", "x/y/b.jpg", "x/y/c.jpg"]


def test_remote_names_come_back_as_the_service_wrote_them(world: World) -> None:
    names = [
        "a/b.jpg",
        "100%.jpg",
        "%41.jpg",
        "..",
        "\0",
        "ü\u0308.png",
        "x" * 300 + ".jpg",
        "\udcff.jpg",
        "",
    ]
    world.list(*(image(number, name, "/a%2Fb/..") for number, name in enumerate(names, 1)))
    directory = world.catalog.subdirectories(world.catalog.subdirectories(world.root)[0].pk)[0]
    assert directory.remote_path == "/a%2Fb/.."
    assert sorted(row.remote_name for row in world.catalog.images(directory.pk)) == sorted(names)
    assert all(len(row.file_name.encode()) <= 255 for row in world.catalog.images(directory.pk))
    assert not world.list(*(image(number, name, "/a%2Fb/..") for number, name in enumerate(names, 1)))


def test_a_listing_of_nothing_empties_a_dataset(world: World) -> None:
    world.list(*(image(number, f"{number}.jpg", f"/{number % 7}") for number in range(1, 3000)))
    world.list()
    assert world.tree() == {}
    assert world.catalog.subdirectories(world.root) == []
    counts = world.catalog.image_counts(world.organization)[0]
    assert (counts.images, counts.cached) == (0, 0)
    assert world.catalog.views(world.dataset, "split") == []


def test_two_datasets_of_one_catalog_do_not_see_each_other(world: World) -> None:
    from tests.unit.catalog.conftest import dataset_facts

    world.list(image(1, "a.jpg"))
    other, _ = world.catalog.put_dataset(world.organization, dataset_facts(2, "other"), 1)
    generation = world.catalog.begin_listing(other.pk)
    world.catalog.put_images(other.pk, generation, [image(1, "a.jpg"), image(2, "b.jpg")])
    world.catalog.finish_listing(other.pk, generation, "1", 5)
    world.list()
    assert [row.file_name for row in world.catalog.images(other.root_directory)] == ["a.jpg", "b.jpg"]
    assert world.tree() == {}
