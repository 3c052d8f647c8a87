"""By what the API is asked for images of a dataset: from memory for a moment, from the catalog after that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pictofs.catalog.model import ImageRow
from pictofs.mirror import renamed
from pictofs.mirror.renamed import Names


class Catalog:
    """One dataset and its directories; counts who asks."""

    def __init__(self) -> None:
        self.name = "cells"
        self.asked = 0

    def dataset(self, pk: int) -> Any:
        self.asked += 1
        row = SimpleNamespace(remote_id="d", name=self.name, slug="s", image_count=3)
        return row if pk == 1 else None

    def directory(self, pk: int) -> Any:
        self.asked += 1
        return SimpleNamespace(remote_path=f"/{pk}") if pk < 10_000 else None


def row(directory: int) -> ImageRow:
    found = SimpleNamespace(directory=directory, remote_id="i", remote_name="a.jpg", size_bytes=5)
    return cast(ImageRow, found)


def names(catalog: Catalog, now_s: list[float]) -> Names:
    return Names(cast(Any, catalog), clock=lambda: now_s[0])


def test_a_dataset_is_known_by_its_new_name_a_second_after_it_was_renamed() -> None:
    catalog, now_s = Catalog(), [0.0]
    known = names(catalog, now_s)
    assert [known.dataset(1) for _ in range(100)] == [known.dataset(1)] * 100
    catalog.name = "cells 2"
    now_s[0] = renamed.NAMES_S
    found = known.dataset(1)
    assert found is not None
    assert found.name == "cells 2"
    assert catalog.asked == 2


def test_a_dataset_that_is_not_known_has_no_name() -> None:
    assert names(Catalog(), [0.0]).dataset(2) is None


def test_images_are_asked_for_by_their_directory_which_is_looked_up_once() -> None:
    catalog = Catalog()
    known = names(catalog, [0.0])
    assert [known.image(row(n % 2)).directory_path for n in range(6)] == ["/0", "/1"] * 3
    assert catalog.asked == 2
    for directory in range(3 * renamed.DIRECTORIES):
        known.image(row(directory % 20_000))
    assert len(known._directories) <= renamed.DIRECTORIES
