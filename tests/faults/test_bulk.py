"""Files out of exports: the same bytes as one by one for fewer requests, and never those of another time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pictofs.api import Client
from pictofs.catalog.model import EXPORT_BLOCK_BYTES, ImageRow, Kind, node_id
from pictofs.emulator.launch import Running

from .conftest import Start
from .fetching import Mount, served

SCENES, IMAGES = "Street Scenes", "Synthetic"
CAP = 20


def exported(emulator: Running, dataset: str, **given: Any) -> None:
    facts = {"name": "all", "format": "pictograph", "include_images": False, **given}
    emulator.mutate("add_export", dataset=dataset, **facts)


@contextmanager
def mounted(cache_dir: Path, emulator: Running, dataset: str, **settings: Any) -> Iterator[Mount]:
    with served(cache_dir, emulator, **settings) as mount:
        mount.list(dataset)
        emulator.reset_counters()
        yield mount


def annotations(mount: Mount, rows: list[ImageRow]) -> list[bytes]:
    """As a walk with `cat` does it: look, then read."""
    bodies = []
    for row in rows:
        mount.look(node_id(row.annotation, Kind.ANNOTATION))
        now = mount.reader.image(row.pk)
        assert now is not None
        bodies.append(mount.read(node_id(now.annotation, Kind.ANNOTATION)))
    return bodies


def truth(emulator: Running, mount: Mount, dataset: str, rows: list[ImageRow]) -> list[bytes]:
    with Client(emulator.base_url, lambda: emulator.api_key) as client:
        found = mount.dataset(dataset)
        meant = client.datasets.get_by_id(found.remote_id)
        images = {image.id: image for page in client.images.pages(meant) for image in page}
        return [client.annotations.get(meant, images[row.remote_id]) for row in rows]


def requests(emulator: Running, route: str) -> int:
    routes = emulator.counters()["api"]["routes"]
    return sum(count for name, count in routes.items() if name.startswith(f"GET /{route}"))


@pytest.mark.parametrize("dialect", ["a", "b", "c"])
def test_annotations_out_of_an_export_equal_the_api_s_in_each_dialect(
    dialect: str, emulator_of: Start, tmp_path: Path
) -> None:
    """What comes out of an export equals what the API gives."""
    emulator = emulator_of(generate=60, dialect=dialect)
    exported(emulator, SCENES)
    with mounted(tmp_path, emulator, SCENES) as mount:
        rows = list(mount.images(SCENES))
        bodies = annotations(mount, rows)
        assert emulator.counters()["api"]["requests"] <= 12   # of 60; dialect a counts nothing as empty
        assert bodies == truth(emulator, mount, SCENES, rows)


@pytest.mark.parametrize("names", ["plain", "hostile"])
def test_images_that_no_signed_url_reaches_come_out_of_an_export_by_range(
    names: str, emulator_of: Start, tmp_path: Path
) -> None:
    emulator = emulator_of(images=120, image_bytes=10_000, names=names, batch_cap=CAP)
    exported(emulator, IMAGES, include_images=True)
    with mounted(tmp_path, emulator, IMAGES) as mount:
        rows = list(mount.images(IMAGES))
        for row in rows:
            mount.want(node_id(row.pk, Kind.IMAGE))
        counters = emulator.counters()
        # batches, the export's list and URL; one by one: the first two, and names that could be another's
        assert counters["api"]["requests"] <= (10 if names == "plain" else 16)
        # and the blocks that the archive's directory lies in
        directory_bytes = 2 * EXPORT_BLOCK_BYTES
        total_bytes = sum(row.size_bytes or 0 for row in rows)
        assert counters["storage"]["bytes_sent"] <= 1.02 * total_bytes + directory_bytes
        taken = [mount.read(node_id(row.pk, Kind.IMAGE)) for row in rows]
    with served(tmp_path / "single", emulator, bulk="off") as other:
        one_by_one = other.list(IMAGES)[::7]
        by_id = {row.remote_id: body for row, body in zip(rows, taken, strict=True)}
        for row in one_by_one:
            assert other.read(node_id(row.pk, Kind.IMAGE)) == by_id[row.remote_id]
        assert "out of export" not in (tmp_path / "single" / "fetch.log").read_text()


@pytest.mark.parametrize("bulk", ["auto", "off"])
def test_a_fill_goes_beyond_the_reach_of_urls_only_where_an_export_has_the_rest(
    bulk: str, emulator_of: Start, tmp_path: Path
) -> None:
    emulator = emulator_of(images=120, image_bytes=10_000, names="plain", batch_cap=CAP, statuses="new:1")
    exported(emulator, IMAGES, include_images=True)
    with mounted(tmp_path, emulator, IMAGES, prefetch="all", bulk=bulk) as mount:
        nodes = [node_id(row.pk, Kind.IMAGE) for row in mount.images(IMAGES)]
        read = iter(nodes[:20])

        def cached() -> int:
            return len(mount.reader.held(nodes))

        def step() -> bool:
            """One more reader, until the order of the dataset is known and the fill begins."""
            if "fetched ahead" not in (tmp_path / "fetch.log").read_text():
                mount.want(next(read))
            return "images were fetched ahead" in (tmp_path / "fetch.log").read_text()

        mount.until(step)
        if bulk == "auto":
            mount.until(lambda: cached() == len(nodes))
            assert emulator.counters()["api"]["requests"] <= 30  # a reader was faster now and then
        else:
            assert cached() < len(nodes) / 2


def test_what_an_export_will_cost_is_logged_before_it_is_spent(emulator_of: Start, tmp_path: Path) -> None:
    emulator = emulator_of(generate=20)
    exported(emulator, SCENES)
    with mounted(tmp_path, emulator, SCENES) as mount:
        annotations(mount, list(mount.images(SCENES)))
        (line,) = [line for line in (tmp_path / "fetch.log").read_text().splitlines() if "bulk=auto" in line]
        assert "2 API requests" in line


def test_an_export_ordered_before_a_change_is_not_used(emulator_of: Start, tmp_path: Path) -> None:
    """An export serves only when it was ordered after the last change of its dataset that is known."""
    emulator = emulator_of(generate=30)
    exported(emulator, SCENES)
    emulator.mutate("touch_dataset", dataset=SCENES)
    with mounted(tmp_path, emulator, SCENES) as mount:
        rows = [row for row in mount.images(SCENES) if row.annotation_count]
        annotations(mount, rows)
        assert requests(emulator, "annotations") == len(rows)


def test_a_change_while_an_export_is_in_use_ends_its_use(emulator_of: Start, tmp_path: Path) -> None:
    emulator = emulator_of(generate=40)
    exported(emulator, SCENES)
    with mounted(tmp_path, emulator, SCENES, ttl_s=0.2) as mount:
        rows = [row for row in mount.images(SCENES) if row.annotation_count]
        half = len(rows) // 2
        annotations(mount, rows[:half])
        edited = rows[half]
        emulator.mutate("edit_annotation", dataset=SCENES, image=edited.remote_id, keep_count=True)
        mount.look(node_id(mount.dataset(SCENES).pk, Kind.DATASET), force=True)
        assert annotations(mount, rows[half:]) == truth(emulator, mount, SCENES, rows[half:])


def test_an_edit_that_nothing_shows_makes_an_archive_that_contradicts_the_api_useless(
    emulator_of: Start, tmp_path: Path
) -> None:
    emulator = emulator_of(generate=30, freeze_updated_at=True)
    exported(emulator, SCENES)
    with mounted(tmp_path, emulator, SCENES) as mount:
        rows = [row for row in mount.images(SCENES) if row.annotation_count]
        for row in rows:
            emulator.mutate("edit_annotation", dataset=SCENES, image=row.remote_id, keep_count=True)
        assert annotations(mount, rows) == truth(emulator, mount, SCENES, rows)
        assert "does not say what the API says" in (tmp_path / "fetch.log").read_text()


def test_a_forced_look_asks_the_service_and_not_an_export(emulator_of: Start, tmp_path: Path) -> None:
    emulator = emulator_of(generate=30, freeze_updated_at=True)
    exported(emulator, SCENES)
    with mounted(tmp_path, emulator, SCENES) as mount:
        rows = [row for row in mount.images(SCENES) if row.annotation_count]
        annotations(mount, rows)
        last = rows[-1]
        emulator.mutate("edit_annotation", dataset=SCENES, image=last.remote_id, keep_count=True)
        mount.look(node_id(last.annotation, Kind.ANNOTATION), force=True)
        assert annotations(mount, [last]) == truth(emulator, mount, SCENES, [last])


def test_an_archive_that_is_damaged_costs_its_files_a_request_each_and_no_reader_an_error(
    emulator_of: Start, tmp_path: Path
) -> None:
    emulator = emulator_of(images=60, image_bytes=10_000, names="plain", batch_cap=CAP, hashes="none")
    exported(emulator, IMAGES, include_images=True)
    with mounted(tmp_path, emulator, IMAGES) as mount:
        emulator.fault("storage", "corrupt", "*/exports/*", skip=1, probability=0.5)
        rows = list(mount.images(IMAGES))
        taken = {row.remote_id: mount.read(node_id(row.pk, Kind.IMAGE)) for row in rows}
        assert requests(emulator, "images/") > 5
        emulator.clear_faults()
    with served(tmp_path / "again", emulator, bulk="off") as other:
        for row in other.list(IMAGES):
            assert other.read(node_id(row.pk, Kind.IMAGE)) == taken[row.remote_id]


def test_create_orders_an_export_where_the_budget_is_short_and_uses_it(
    emulator_of: Start, tmp_path: Path
) -> None:
    emulator = emulator_of(generate=150, rate_limit=100, export_pending_ms=50)
    emulator.mutate("delete_export", dataset=SCENES, export="baseline")
    with mounted(tmp_path, emulator, SCENES, bulk="create", prefetch="sequential") as mount:
        rows = list(mount.images(SCENES))
        log, walked = tmp_path / "fetch.log", iter(rows)

        def step() -> bool:
            """Of a walk: what follows is asked for ahead of it, until that waits for the export."""
            if "is ordered" not in log.read_text():
                annotations(mount, [next(walked)])
            return "is completed" in log.read_text()

        mount.until(step)
        assert "an export of Street Scenes is ordered: about 10 API requests, since" in log.read_text()
        assert emulator.counters()["api"]["routes"]["POST /exports/"] == 1
        bodies = annotations(mount, rows)
        assert emulator.counters()["api"]["requests"] <= 100
        emulator.switch(rate_limit=100_000)
        assert bodies == truth(emulator, mount, SCENES, rows)
