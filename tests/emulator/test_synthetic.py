"""Synthetic datasets: any size at once, and every row and byte the same on every start."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pictofs.emulator.model import Dataset, ImageTable, Totals
from pictofs.emulator.settings import EmulatorSettings
from pictofs.emulator.synthetic import place, synthetic

MILLION = 1_000_000


def dataset(count: int, names: str = "hostile", **values: object) -> Dataset:
    return synthetic(0, EmulatorSettings(images=count, names=names, **values))  # type: ignore[arg-type]


def test_a_million_images_start_at_once_and_any_page_of_them_is_quick() -> None:
    began = perf_counter()
    table = dataset(MILLION).images
    assert table.totals.images == len(table.select()) == MILLION
    page = [table.at(at) for at in table.select()[500_000:501_000]]
    assert len({image.id for image in page}) == 1000
    assert len(table.select(status="review")) > 100_000
    assert perf_counter() - began < 5


@pytest.mark.parametrize("names", ["plain", "mixed", "hostile"])
def test_no_two_images_share_directory_and_filename(names: str) -> None:
    count = 20_000
    assert len({place(index, names) for index in range(count)}) == count


def test_sums_over_all_are_those_of_the_rows() -> None:
    source = dataset(2345)
    counted = Totals()
    for image in source.images:
        counted.count(image, 1)
    assert source.images.totals == counted


@given(st.integers(0, MILLION - 1))
@settings(max_examples=60)
def test_an_image_is_found_by_its_id_its_filename_and_its_path(index: int) -> None:
    table = TABLE
    image = table.at(index)
    by_id = table.get(image.id)
    assert by_id is not None
    assert by_id.stored.key == image.stored.key
    assert index in table.select(filename=image.filename)
    found = table.by_path(image.path)
    assert found is not None
    assert found.path == image.path


TABLE = dataset(MILLION).images


def test_bodies_are_valid_different_and_exactly_as_long_as_promised() -> None:
    table = dataset(150, image_bytes=5000).images
    bodies = {image.id: image.stored.content.read(0, image.stored.size) for image in table}
    assert len(set(bodies.values())) == 150
    for image in table:
        body = bodies[image.id]
        assert 5000 <= len(body) == image.stored.size <= 5256
        with Image.open(io.BytesIO(body)) as opened:
            opened.load()
            assert opened.size == (image.width, image.height)
            assert image.stored.content_type == f"image/{str(opened.format).lower()}"


def test_mixed_names_hold_every_kind_of_twin() -> None:
    places = [place(index, "mixed") for index in range(100)]
    stems = Counter((folder, name.rpartition(".")[0]) for folder, name in places)
    assert max(stems.values()) == 2
    assert max(Counter(name for _, name in places).values()) == 2
    assert max(Counter((folder, name.lower()) for folder, name in places).values()) == 2
    assert max(Counter((folder, unicodedata.normalize("NFC", name)) for folder, name in places).values()) == 2
    assert all(len(name.encode()) <= 245 and "/" not in name for _, name in places)
    hostile = [place(index, "hostile") for index in range(100)]
    assert any("/" in name for _, name in hostile)
    assert any(len(name.encode()) > 255 for _, name in hostile)


def test_proportions_are_those_of_the_settings() -> None:
    table = dataset(1000, statuses="new:1,complete:3", splits="train:1,none:1", annotated=10).images
    assert Counter(image.status for image in table) == {"new": 250, "complete": 750}
    assert Counter(image.split for image in table) == {"train": 500, None: 500}
    assert sum(image.annotation_count > 0 for image in table) == 100


def test_the_same_settings_make_the_same_dataset_and_another_seed_another() -> None:
    first, again, other = dataset(50), dataset(50), dataset(50, seed=1)
    assert [image.id for image in first.images] == [image.id for image in again.images]
    assert {image.id for image in first.images}.isdisjoint(image.id for image in other.images)
    assert [i.load_annotations() for i in first.images] == [i.load_annotations() for i in again.images]


class Reference:
    """What `ImageTable` does, over a plain list."""

    def __init__(self, table: ImageTable) -> None:
        self.rows = [table.at(at) for at in table.select()]

    def shown(self, **wanted: str) -> list[str]:
        return [
            i.id
            for i in self.rows
            if not i.is_archived and all(getattr(i, n) == v for n, v in wanted.items())
        ]


@given(
    st.lists(
        st.tuples(st.sampled_from(("remove", "review", "archive", "add", "move")), st.integers(0, 10**6)),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_a_changed_table_lists_what_a_plain_list_would(changes: list[tuple[str, int]]) -> None:
    table, extra = dataset(230).images, iter(dataset(100, seed=9).images)
    plain = Reference(table)
    for change, number in changes:
        chosen = plain.rows[number % len(plain.rows)]
        at = plain.rows.index(chosen)
        match change:
            case "remove":
                table.remove(chosen.id)
                del plain.rows[at]
            case "add":
                image = next(extra)
                table.add(image)
                plain.rows.append(image)
            case "review":
                plain.rows[at] = table.update(chosen.id, status="review")
            case "archive":
                plain.rows[at] = table.update(chosen.id, is_archived=True)
            case "move":
                plain.rows[at] = table.update(chosen.id, directory_path="/moved")
    for wanted in (
        {},
        {"status": "review"},
        {"directory_path": "/moved"},
        {"status": "new", "split": "train"},
    ):
        assert [table.at(at).id for at in table.select(**wanted)] == plain.shown(**wanted)  # type: ignore[arg-type]
    everything = table.select(archived=True)
    assert [table.at(at).id for at in everything] == [image.id for image in plain.rows]
    counted = Totals()
    for image in plain.rows:
        counted.count(image, 1)
    assert table.totals == counted
    found, counts = table.directories(), Counter(i.directory_path for i in plain.rows if not i.is_archived)
    assert {path: count for path, count in found.items() if count} == {
        p: c for p, c in counts.items() if p != "/"
    }
    parents = {path[:at] for path in counts for at, letter in enumerate(path) if at and letter == "/"}
    assert set(found) == (set(counts) | parents) - {"/"}
    assert list(found) == sorted(found)
