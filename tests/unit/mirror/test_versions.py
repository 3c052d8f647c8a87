"""Bytes and the version that they belong to, over a real catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pictofs.catalog import Catalog
from pictofs.catalog.model import ImageRow, Kind, node_id
from pictofs.mirror.versions import Seen, same, settle_image

from .rows import dataset_facts, image_facts


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.sqlite")
    yield opened
    opened.close()


def listed(catalog: Catalog, size_bytes: int | None) -> ImageRow:
    organization = catalog.put_organization("http://h:1", "o", "O", "o", b"{}", "key")
    row, _ = catalog.put_dataset(organization.pk, dataset_facts(), 1)
    generation = catalog.begin_listing(row.pk)
    catalog.put_images(row.pk, generation, [image_facts("a.jpg", size_bytes=size_bytes)])
    catalog.finish_listing(row.pk, generation, "f1", 2)
    found = catalog.image_named(row.root_directory, "a.jpg")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("size", "generation", "seen", "fits"),
    [
        (None, "", Seen(5, "1"), True),
        (5, "", Seen(5, "1"), True),
        (5, "1", Seen(5, "1"), True),
        (5, "1", Seen(5), True),
        (5, "1", Seen(5, "2"), False),
        (5, "1", Seen(6, "1"), False),
        (None, "1", Seen(6, "2"), False),
    ],
)
def test_a_version_is_contradicted_by_another_size_or_generation_only(
    size: int | None, generation: str, seen: Seen, fits: bool
) -> None:
    assert same(size, generation, seen) is fits


@pytest.mark.parametrize("size", [None, 5])
def test_the_first_bytes_settle_size_and_generation(size: int | None, catalog: Catalog) -> None:
    row = listed(catalog, size)
    settled = settle_image(catalog, row.pk, Seen(5, "77"))
    assert (settled.node, settled.stale) == (node_id(row.pk, Kind.IMAGE), False)
    known = catalog.image(row.pk)
    assert known is not None
    assert (known.size_bytes, known.generation) == (5, "77")


def test_two_that_see_another_version_at_once_make_one_of_it(catalog: Catalog) -> None:
    row = listed(catalog, 5)
    settle_image(catalog, row.pk, Seen(5, "1"))
    first = settle_image(catalog, row.pk, Seen(5, "2"))
    assert first.stale
    assert first.node not in (0, node_id(row.pk, Kind.IMAGE))
    assert first.change.entries
    second = settle_image(catalog, row.pk, Seen(5, "2"))
    assert (second.node, second.stale) == (0, True)
    assert settle_image(catalog, first.node >> 8, Seen(5, "2")).stale is False


def test_bytes_that_were_on_their_way_when_their_version_was_superseded_are_kept_if_they_are_its_own(
    catalog: Catalog,
) -> None:
    row = listed(catalog, 5)
    settle_image(catalog, row.pk, Seen(5, "1"))
    settle_image(catalog, row.pk, Seen(5, "2"))
    late = settle_image(catalog, row.pk, Seen(5, "1"))
    assert (late.node, late.stale) == (node_id(row.pk, Kind.IMAGE), False)


def test_an_image_that_does_not_exist_takes_nothing(catalog: Catalog) -> None:
    assert settle_image(catalog, 12345, Seen(5)).node == 0
