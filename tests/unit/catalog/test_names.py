"""Names: twins, annotations that share a stem, directories against images, and names that stay."""

from __future__ import annotations

import pytest

from pictofs.catalog.model import Kind, node_id
from tests.unit.catalog.conftest import World, image, remote_id

PAGES = [1, 2, 1000]


@pytest.mark.parametrize("page", PAGES)
def test_of_twins_the_first_by_creation_keeps_the_plain_name(world: World, page: int) -> None:
    world.list(image(3, "a.jpg"), image(1, "a.jpg"), image(2, "a.jpg"), page=page)
    assert world.names() == {
        remote_id(1): "a.jpg",
        remote_id(2): "a~00000002.jpg",
        remote_id(3): "a~00000003.jpg",
    }
    assert world.tree()["a~00000002.jpg"] == "a~00000002.json"


@pytest.mark.parametrize("page", PAGES)
def test_of_twins_created_at_once_the_first_by_id_keeps_the_plain_name(world: World, page: int) -> None:
    world.list(image(2, "a.jpg", created_ns=5), image(1, "a.jpg", created_ns=5), page=page)
    assert world.names()[remote_id(1)] == "a.jpg"


@pytest.mark.parametrize("page", PAGES)
def test_images_that_share_a_stem_have_annotations_with_the_whole_file_name(world: World, page: int) -> None:
    world.list(image(3, "a.png"), image(2, "a.tif"), image(1, "a.jpg"), image(4, "b.jpg"), page=page)
    assert world.tree() == {
        "a.jpg": "a.json",
        "a.tif": "a.tif.json",
        "a.png": "a.png.json",
        "b.jpg": "b.json",
    }


@pytest.mark.parametrize("page", PAGES)
def test_an_annotation_name_that_is_anothers_plain_one_gives_way(world: World, page: int) -> None:
    world.list(image(9, "a.jpg.png"), image(2, "a.jpg"), image(1, "a"), page=page)
    assert world.tree() == {"a": "a.json", "a.jpg": "a.jpg~00000002.json", "a.jpg.png": "a.jpg.json"}


@pytest.mark.parametrize("page", PAGES)
def test_a_mark_that_is_anothers_plain_name_gives_way(world: World, page: int) -> None:
    world.list(image(9, "a~00000002.jpg"), image(2, "a.jpg"), image(1, "a.jpg"), page=page)
    assert world.names() == {
        remote_id(1): "a.jpg",
        remote_id(2): "a~00000002-2.jpg",
        remote_id(9): "a~00000002.jpg",
    }


def test_ids_that_begin_alike_get_numbers_after_their_marks(world: World) -> None:
    ids = [f"00000001-0000-4000-8000-00000000000{n}" for n in range(3)]
    world.list(*(image(n, "a.jpg", remote_id=one) for n, one in enumerate(ids)))
    assert world.names() == {ids[0]: "a.jpg", ids[1]: "a~00000001.jpg", ids[2]: "a~00000001-2.jpg"}


def test_a_name_once_given_stays_when_an_older_twin_comes(world: World) -> None:
    world.list(image(5, "a.jpg"), image(6, "b.png"))
    world.list(image(5, "a.jpg"), image(6, "b.png"), image(1, "a.jpg"), image(2, "b.jpg"))
    assert world.names()[remote_id(5)] == "a.jpg"
    assert world.tree() == {
        "a.jpg": "a.json",
        "a~00000001.jpg": "a~00000001.json",
        "b.png": "b.json",
        "b.jpg": "b.jpg.json",
    }


def test_a_marked_name_stays_when_its_twin_is_deleted(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "a.jpg"))
    change = world.list(image(2, "a.jpg"))
    assert world.names() == {remote_id(2): "a~00000002.jpg"}
    assert (node_id(world.root, Kind.IMAGES), "a~00000002.jpg") not in change.entries


def test_an_image_that_replaces_a_deleted_one_in_the_same_listing_gets_its_name(world: World) -> None:
    world.list(image(1, "a.jpg"))
    change = world.list(image(2, "a.jpg"))
    assert world.names() == {remote_id(2): "a.jpg"}
    assert world.tree() == {"a.jpg": "a.json"}
    assert (node_id(world.root, Kind.IMAGES), "a.jpg") in change.entries


def test_a_renamed_image_gets_a_name_that_a_deleted_one_gave_back(world: World) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    world.list(image(2, "a.jpg"))
    assert world.names() == {remote_id(2): "a.jpg"}


def test_names_of_an_interrupted_first_listing_are_provisional(world: World) -> None:
    generation = world.catalog.begin_listing(world.dataset)
    world.catalog.put_images(world.dataset, generation, [image(5, "a.jpg"), image(6, "b.png")])
    world.restart()
    change = world.list(image(5, "a.jpg"), image(6, "b.png"), image(1, "a.jpg"), image(2, "b.jpg"), page=1)
    assert world.names()[remote_id(1)] == "a.jpg"
    assert world.tree()["b.jpg"] == "b.json"
    assert (node_id(world.root, Kind.IMAGES), "a.jpg") in change.entries, "it leads elsewhere now"


@pytest.mark.parametrize("page", PAGES)
def test_a_directory_keeps_the_plain_name_against_an_image(world: World, page: int) -> None:
    world.list(image(1, "a"), image(2, "b.jpg", "/a"), page=page)
    assert world.names() == {remote_id(1): "a~00000001", remote_id(2): "a/b.jpg"}


@pytest.mark.parametrize("page", PAGES)
def test_a_directory_keeps_the_plain_name_against_an_annotation(world: World, page: int) -> None:
    world.list(image(1, "a.jpg"), image(2, "b.jpg", "/a.json"), page=page)
    assert world.tree() == {"a.jpg": "a.jpg.json", "a.json/b.jpg": "a.json/b.json"}


def test_a_directory_that_comes_later_leaves_an_image_its_name(world: World) -> None:
    world.list(image(1, "a"))
    world.list(image(1, "a"), image(2, "b.jpg", "/a"))
    assert world.names()[remote_id(1)] == "a"
    directory = world.catalog.subdirectories(world.root)[0]
    assert directory.file_name.startswith("a~")
    assert directory.remote_path == "/a"
    world.list(image(1, "a"), image(2, "b.jpg", "/a"), image(3, "c.jpg", "/a"))
    assert [row.file_name for row in world.catalog.subdirectories(world.root)] == [directory.file_name]


def test_an_image_gets_the_name_of_a_directory_that_went_in_the_same_listing(world: World) -> None:
    world.list(image(1, "x.jpg", "/a"))
    world.list(image(2, "a"))
    assert world.tree() == {"a": "a.json"}


def test_names_that_differ_only_in_case_or_normal_form_are_different(world: World) -> None:
    world.list(image(1, "\u00fc.jpg"), image(2, "u\u0308.jpg"), image(3, "A.jpg"), image(4, "a.jpg"))
    assert set(world.tree()) == {"\u00fc.jpg", "u\u0308.jpg", "A.jpg", "a.jpg"}


def test_long_names_are_cut_and_marked_and_their_annotations_too(world: World) -> None:
    long = "x" * 251 + ".jpeg"
    other = "x" * 252 + ".jpg"
    stem = "y" * 251 + ".j"
    world.list(image(1, long), image(2, other), image(3, stem), image(4, "z" * 254 + "%"))
    tree = world.tree()
    assert len(tree) == len(set(tree.values())) == 4
    for name in (*tree, *tree.values()):
        assert len(name.encode()) <= 255
    assert all(
        row.remote_name in (long, other, stem, "z" * 254 + "%") for row in world.catalog.images(world.root)
    )


def test_without_ids_the_first_of_a_name_in_the_listing_keeps_it(world: World) -> None:
    world.list(*(image(1, "a.jpg", remote_id="", created_ns=0, size_bytes=n) for n in (10, 11, 12)), page=1)
    assert [row.size_bytes for row in world.catalog.images(world.root) if row.file_name == "a.jpg"] == [10]


def test_a_thousand_twins_in_small_pages_are_settled(world: World) -> None:
    world.list(*(image(number, "a.jpg") for number in range(1300, 0, -1)), page=100)
    names = world.names()
    assert names[remote_id(1)] == "a.jpg"
    assert len(set(names.values())) == 1300
    assert all(names[remote_id(n)] == f"a~{n:08x}.jpg" for n in range(2, 1301))
    assert len(set(world.tree().values())) == 1300
