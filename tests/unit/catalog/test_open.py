"""The file: how it begins, survives kills, is read while it is written, and is set aside when damaged."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pictofs.catalog import Catalog, CatalogReader, connected, schema
from pictofs.errors import CacheUnusable
from tests.unit.catalog.conftest import KEY, ORIGIN, World, image

WRITER = """
    import sys
    from pictofs.catalog import Catalog
    from tests.unit.catalog.conftest import image

    catalog = Catalog.open(sys.argv[1])
    number = 0
    for turn in range(int(sys.argv[2])):
        generation = catalog.begin_listing(1)
        for page in range(6):
            facts = [image(page * 500 + n, f"{turn}-{page}-{n}.jpg", f"/d{n % 3}") for n in range(500)]
            catalog.put_images(1, generation, facts)
            print(turn, page, flush=True)
        catalog.finish_listing(1, generation, "1", turn + 1)
"""


def writer(path: Path, turns: int) -> subprocess.Popen[str]:
    """Another process that lists the dataset again and again, each time with other names."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(turns)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def test_a_new_catalog_is_its_owners_alone(world: World) -> None:
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(f"{world.path}-wal").stat().st_mode) == 0o600


def test_there_is_nothing_to_read_before_the_writer_came(tmp_path: Path) -> None:
    with pytest.raises(CacheUnusable, match=r"no catalog at .*: mount first"):
        CatalogReader.open(tmp_path / "catalog.sqlite")
    assert not (tmp_path / "catalog.sqlite").exists()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacheUnusable, match="cache_dir"):
        Catalog.open(tmp_path / "none" / "catalog.sqlite")


def test_a_reader_can_open_a_catalog_that_nobody_has_open(world: World) -> None:
    world.list(image(1, "a.jpg"))
    world.catalog.close()
    assert not Path(f"{world.path}-wal").exists()
    reader = CatalogReader.open(world.path)
    assert [row.file_name for row in reader.images(world.root)] == ["a.jpg"]
    reader.close()


def test_a_reader_cannot_write(world: World) -> None:
    reader = CatalogReader.open(world.path)
    with pytest.raises(CacheUnusable, match="readonly"):
        reader._row("DELETE FROM image")
    reader.close()


def test_a_reader_sees_what_the_writer_commits_and_notices_cheaply(world: World) -> None:
    reader = CatalogReader.open(world.path)
    before = reader.data_version()
    assert reader.data_version() == before
    world.list(image(1, "a.jpg"))
    assert reader.data_version() != before
    assert [row.file_name for row in reader.images(world.root)] == ["a.jpg"]
    assert not reader.replaced()
    reader.close()


def test_a_snapshot_holds_one_state_for_several_questions(world: World) -> None:
    world.list(image(1, "a.jpg"))
    reader = CatalogReader.open(world.path)
    with reader.snapshot():
        before = reader.images(world.root)
        world.list(image(2, "b.jpg"))
        with reader.snapshot():
            assert reader.images(world.root) == before
        assert reader.images(world.root) == before
    assert [row.file_name for row in reader.images(world.root)] == ["b.jpg"]
    reader.close()


def test_readers_in_another_process_are_never_told_that_the_database_is_locked(world: World) -> None:
    world.catalog.close()
    process = writer(world.path, 2)
    reader = CatalogReader.open(world.path)
    pages, largest = 0, 0
    try:
        while process.poll() is None:
            for directory in reader.subdirectories(world.root):
                after = ""
                while rows := reader.images(directory.pk, after, 1000):
                    after = rows[-1].file_name
                    pages += 1
            largest = max(largest, os.path.getsize(f"{world.path}-wal"))
            reader.image_counts(world.organization)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert pages > 10
    assert reader.image_counts(world.organization)[0].images == 3000
    assert largest < 32 << 20, "short transactions let the log be emptied"
    reader.close()
    world.catalog = world.opened()


def test_a_writer_that_is_killed_leaves_whole_pages_and_no_lock(world: World) -> None:
    world.catalog.close()
    for pages in (1, 4, 9):
        process = writer(world.path, 100)
        try:
            assert process.stdout is not None
            for _ in range(pages):
                assert process.stdout.readline()
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        catalog = world.opened()
        counted = sum(directory.file_name != "" for directory in catalog.subdirectories(world.root))
        assert counted == 3
        images = 0
        for directory in catalog.subdirectories(world.root):
            after = ""
            while rows := catalog.images(directory.pk, after):
                images += len(rows)
                after = rows[-1].file_name
        assert images % 500 == 0
        assert catalog.image_counts(world.organization)[0].images == images
        assert catalog._value("PRAGMA integrity_check") == "ok"
        catalog.close()
    world.catalog = world.opened()


@pytest.mark.parametrize("harm", ["garbage", "truncated", "header"])
def test_a_damaged_catalog_is_set_aside_and_a_new_one_begun(
    world: World, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.list(*(image(number, f"{number}.jpg") for number in range(1, 2000)))
    row = world.catalog.images(world.root)[0]
    world.catalog.close()
    raw = world.path.read_bytes()
    world.path.write_bytes(
        {
            "garbage": os.urandom(len(raw)),
            "truncated": raw[: len(raw) // 3],
            "header": b"\0" * 100 + raw[100:],
        }[harm]
    )
    with caplog.at_level(logging.WARNING):
        world.catalog = world.opened()
    assert len(caplog.records) == 1
    assert "catalog.sqlite.damaged-1" in caplog.text
    assert Path(f"{world.path}.damaged-1").exists()
    assert world.catalog.organizations() == []
    organization = world.catalog.put_organization(ORIGIN, "o", "Org", "org", b"{}", KEY)
    assert organization.pk > row.pk, "what a kernel still knows never comes to mean another thing"
    assert organization.pk << 8 < 1 << 62


def test_damage_found_while_running_is_told_and_mended_at_the_next_start(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.list(*(image(number, f"{number:05d}.jpg") for number in range(1, 3000)))
    world.catalog.close()
    with world.path.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(os.urandom(world.path.stat().st_size - 41 * 4096))
    world.catalog = world.opened()
    reader = CatalogReader.open(world.path)
    with pytest.raises(CacheUnusable, match=r"damaged .*begun anew when the mount starts again"):
        reader.images(world.root, limit=3000)
    assert not reader.replaced()
    with caplog.at_level(logging.WARNING):
        world.restart()
    assert world.catalog.organizations() == []
    assert len(caplog.records) == 1
    assert reader.replaced()
    reader.close()
    world.restart()
    assert not Path(f"{world.path}.damaged-2").exists(), "the mark is gone with the damage"


def test_a_catalog_of_another_schema_is_refused_and_left_alone(world: World) -> None:
    world.catalog._run(f"PRAGMA user_version = {schema.VERSION + 1}")
    world.catalog.close()
    for opener in (Catalog.open, CatalogReader.open):
        with pytest.raises(
            CacheUnusable, match=rf"schema {schema.VERSION + 1}, this pictofs speaks {schema.VERSION}"
        ):
            opener(world.path)
    assert sqlite3.connect(world.path).execute("SELECT count(*) FROM dataset").fetchone() == (1,)


def test_a_strangers_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    for opener in (Catalog.open, CatalogReader.open):
        with pytest.raises(CacheUnusable, match="no catalog of pictofs"):
            opener(path)
    assert path.read_bytes() == before


def test_a_new_catalog_beside_an_old_store_does_not_count_from_one(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    assert catalog.put_organization(ORIGIN, "o", "Org", "org", b"{}", KEY).pk > 1 << 40
    catalog.close()


def test_an_sqlite_that_lacks_what_is_needed_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    for opener in (Catalog.open, CatalogReader.open):
        with pytest.raises(CacheUnusable, match=r"3\.35 is needed"):
            opener(world.path)


def test_a_lock_that_is_held_too_long_is_an_error_that_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connected, "BUSY_TIMEOUT_S", 0.05)
    world.restart()
    other = sqlite3.connect(world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(CacheUnusable, match="locked"):
        world.catalog.touch_dataset(world.dataset, 9)
    assert time.monotonic() - began < 5
    other.execute("ROLLBACK")
    other.close()
    world.catalog.touch_dataset(world.dataset, 9)
    assert world.catalog.dataset(world.dataset).checked_ns == 9  # type: ignore[union-attr]


def test_a_full_disk_takes_back_the_page_and_the_catalog_goes_on(world: World) -> None:
    world.list(image(1, "a.jpg"))
    pages = world.catalog._value("PRAGMA page_count")
    world.catalog._run(f"PRAGMA max_page_count = {pages + 2}")
    generation = world.catalog.begin_listing(world.dataset)
    with pytest.raises(CacheUnusable, match="no room for the catalog"):
        world.catalog.put_images(
            world.dataset, generation, [image(n, f"{n}.jpg", split=f"split-{n}") for n in range(2, 900)]
        )
    assert world.tree() == {"a.jpg": "a.json"}
    with pytest.raises(LookupError):
        world.catalog.finish_listing(world.dataset, generation, "1", 9)
    world.catalog._run("PRAGMA max_page_count = 1000000")
    world.list(image(1, "a.jpg"), image(2, "b.jpg", split="split-2"))
    assert [view.value for view in world.catalog.views(world.dataset, "split")] == ["split-2", "train"]
