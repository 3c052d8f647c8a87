"""What is kept, what goes, and bytes that cannot be kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from pictofs.catalog import Catalog
from pictofs.catalog.model import SPILL, BlockRow, Kind, node_id, node_pk
from pictofs.errors import CacheUnusable, TransferError
from pictofs.mirror.plan import Fetch
from pictofs.mirror.room import FRESH_S, SPILL_S, Room
from pictofs.mirror.versions import Seen, Superseded
from pictofs.mirror.writer import Block
from pictofs.store import Store, Written

from .rows import dataset_facts, image_facts

SIZE = 1000


@dataclass
class Place:
    """A cache directory with images known to its catalog."""

    path: Path
    catalog: Catalog
    nodes: list[int]
    wall_s: list[float]
    clock_s: list[float] = field(default_factory=lambda: [0.0])
    stores: list[Store] = field(default_factory=list)
    free_bytes: int = 1 << 40

    def room(self, limit: int = 1 << 30, min_free: int = 0, eviction: str = "epoch", **given: Any) -> Room:
        store = Store(
            self.path,
            limit_bytes=limit,
            min_free_bytes=min_free,
            eviction=eviction,
            free_bytes=lambda: self.free_bytes,
        )
        store.open()
        self.stores.append(store)
        room = Room(
            str(self.path),
            self.catalog,
            store,
            1,
            clock=lambda: self.clock_s[0],
            wall_s=lambda: self.wall_s[0],
            **{"reserve_bytes": 0, **given},
        )
        room.open()
        return room

    def later(self, seconds: float) -> None:
        self.wall_s[0] += seconds
        self.clock_s[0] += seconds

    def bytes_of(self, node: int) -> bytes | None:
        row = self.catalog.block(node, 0)
        return (self.path / row.path).read_bytes() if row else None

    def kept(self) -> list[int]:
        """Which of the nodes lie in the store, by their number."""
        found = [(n, self.catalog.block(node, 0)) for n, node in enumerate(self.nodes)]
        return [n for n, row in found if row and row.path.startswith("store/")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    wall_s = [1_700_000_000.0]
    catalog = Catalog.open(tmp_path / "catalog.sqlite", clock_s=lambda: wall_s[0])
    organization = catalog.put_organization("http://h:1", "o", "O", "o", b"{}", "key")
    row, _ = catalog.put_dataset(organization.pk, dataset_facts(), 1)
    generation = catalog.begin_listing(row.pk)
    catalog.put_images(row.pk, generation, [image_facts(f"{n}.jpg", size_bytes=SIZE) for n in range(8)])
    catalog.finish_listing(row.pk, generation, "f1", 2)
    nodes = [node_id(image.pk, Kind.IMAGE) for image in catalog.images(row.root_directory)]
    made = Place(tmp_path, catalog, nodes, wall_s)
    yield made
    for store in made.stores:
        store.close()
    catalog.close()


def block(node: int, fill: int = 1, size: int = SIZE) -> Block:
    body = bytes([fill]) * size
    return Block(node, 0, body, google_crc32c.value(body))


def test_a_batch_of_blocks_is_stored_and_known_in_one_go(place: Place) -> None:
    room = place.room()
    answers = room.keep([block(node) for node in place.nodes[:3]])
    assert [type(answer) for answer in answers] == [BlockRow] * 3
    assert place.kept() == [0, 1, 2]
    assert place.bytes_of(place.nodes[0]) == b"\1" * SIZE


def file_of(place: Place, node: int, seen: Seen | None, fill: int = 1) -> Block:
    """The same bytes as a file that a transfer has left."""
    path = place.path / SPILL / f"arrived.{node:x}"
    path.write_bytes(bytes([fill]) * SIZE)
    return Block(node, 0, Written(str(path), SIZE), google_crc32c.value(bytes([fill]) * SIZE), seen)


def test_files_of_the_version_that_is_listed_are_taken_over_and_their_truth_is_entered(place: Place) -> None:
    room = place.room()
    batch = [file_of(place, node, Seen(SIZE, str(n + 1))) for n, node in enumerate(place.nodes[:3])]
    assert [type(answer) for answer in room.keep(batch)] == [BlockRow] * 3
    assert place.kept() == [0, 1, 2]
    assert place.bytes_of(place.nodes[2]) == b"\1" * SIZE
    images = [place.catalog.image(node_pk(node)) for node in place.nodes[:3]]
    assert [image.generation for image in images if image] == ["1", "2", "3"]
    assert os.listdir(place.path / SPILL) == []


def test_a_file_of_another_version_is_refused_and_the_others_of_its_batch_are_kept(place: Place) -> None:
    room = place.room()
    room.keep([file_of(place, place.nodes[0], Seen(SIZE, "1"))])
    room.forget(place.nodes[0])
    batch = [file_of(place, place.nodes[0], Seen(SIZE, "2")), file_of(place, place.nodes[1], Seen(SIZE, "1"))]
    assert [type(answer) for answer in room.keep(batch)] == [Superseded, BlockRow]
    assert place.bytes_of(place.nodes[1]) == b"\1" * SIZE
    assert os.listdir(place.path / SPILL) == [f"arrived.{place.nodes[0]:x}"]  # whoever sent for it removes it


def test_a_file_without_room_in_the_store_reaches_its_reader_by_the_spill(place: Place) -> None:
    room = place.room(limit=SIZE)
    batch = [file_of(place, node, Seen(SIZE, "1")) for node in place.nodes[:2]]
    assert [type(answer) for answer in room.keep(batch)] == [BlockRow] * 2
    assert [place.bytes_of(node) for node in place.nodes[:2]] == [b"\1" * SIZE] * 2
    assert room.spilled_bytes == SIZE


def test_under_epoch_what_is_there_stays_and_newcomers_reach_their_readers_by_the_spill(
    place: Place,
) -> None:
    room = place.room(limit=3 * SIZE)
    for node in place.nodes:
        (row,) = room.keep([block(node)])
        assert isinstance(row, BlockRow)
        assert place.bytes_of(node) == b"\1" * SIZE
        place.later(1)
    assert place.kept() == [0, 1, 2]
    assert room.spilled_bytes == 5 * SIZE
    place.later(SPILL_S)
    room.sweep_spill()
    assert room.spilled_bytes == 0
    assert os.listdir(place.path / SPILL) == []
    assert [place.catalog.block(node, 0) for node in place.nodes[3:]] == [None] * 5


@pytest.mark.parametrize(("eviction", "kept"), [("lru", [0, 6, 7]), ("fifo", [5, 6, 7])])
def test_other_policies_make_room_by_their_rule(eviction: str, kept: list[int], place: Place) -> None:
    room = place.room(limit=3 * SIZE, eviction=eviction)
    for node in place.nodes:
        assert isinstance(room.keep([block(node)])[0], BlockRow)
        place.later(FRESH_S + 1)
        if eviction == "lru":
            room.touch([Fetch(place.nodes[0], 0)])
            place.later(FRESH_S + 1)
    assert place.kept() == kept
    assert place.stores[-1].bytes == 3 * SIZE, "what the catalog forgot is not in the store"


def test_what_is_pinned_stays_and_what_is_superseded_goes_first(place: Place) -> None:
    room = place.room(limit=3 * SIZE, eviction="lru")
    room.keep([block(node) for node in place.nodes[:3]])
    place.catalog.pin(place.nodes[0])
    place.later(FRESH_S + 1)
    place.catalog.supersede_image(place.nodes[2] >> 8, SIZE + 1, "2")
    room.keep([block(place.nodes[3])])
    assert place.kept() == [0, 1, 3]
    for number in (4, 5, 6):
        place.later(FRESH_S + 1)
        room.keep([block(place.nodes[number])])
    assert place.kept() == [0, 5, 6]


def test_a_block_that_came_just_now_is_not_evicted_before_its_reader_had_it(place: Place) -> None:
    room = place.room(limit=2 * SIZE, eviction="lru")
    room.keep([block(node) for node in place.nodes[:2]])
    room.keep([block(place.nodes[2])])
    assert place.kept() == [0, 1]
    assert place.bytes_of(place.nodes[2]) == b"\1" * SIZE


def test_a_limit_that_was_lowered_holds_from_the_next_start_under_every_policy(place: Place) -> None:
    place.room().keep([block(node) for node in place.nodes])
    place.later(FRESH_S + 1)
    place.stores.pop().close()
    place.room(limit=3 * SIZE)
    assert len(place.kept()) <= 3


def test_a_disk_that_others_filled_is_given_back_what_min_free_promises(place: Place) -> None:
    room = place.room(min_free=10 * SIZE)
    room.keep([block(node) for node in place.nodes[:4]])
    place.later(FRESH_S + 1)
    place.free_bytes = 9 * SIZE
    (row,) = room.keep([block(place.nodes[4])])
    assert isinstance(row, BlockRow)
    assert place.bytes_of(place.nodes[4]) == b"\1" * SIZE
    assert len(place.kept()) < 4


def test_the_spill_is_bounded_and_the_oldest_goes_first(place: Place) -> None:
    room = place.room(limit=0, spill_bytes=2 * SIZE)
    for node in place.nodes[:3]:
        room.keep([block(node)])
    assert place.bytes_of(place.nodes[0]) is None
    assert place.bytes_of(place.nodes[1]) == place.bytes_of(place.nodes[2]) == b"\1" * SIZE
    assert len(os.listdir(place.path / SPILL)) == 2


def test_a_block_larger_than_the_spill_still_reaches_its_reader(place: Place) -> None:
    room = place.room(limit=0, spill_bytes=SIZE // 2)
    assert isinstance(room.keep([block(place.nodes[0])])[0], BlockRow)
    assert place.bytes_of(place.nodes[0]) == b"\1" * SIZE


def test_the_spill_takes_half_of_what_the_disk_has_left_at_most(place: Place) -> None:
    room = place.room(limit=0)
    place.free_bytes = 3 * SIZE
    for node in place.nodes[:4]:
        room.keep([block(node)])
        place.free_bytes = 4 * SIZE - room.spilled_bytes
    assert room.spilled_bytes == 2 * SIZE
    assert place.bytes_of(place.nodes[1]) is None
    assert place.bytes_of(place.nodes[2]) == place.bytes_of(place.nodes[3]) == b"\1" * SIZE


def test_on_a_full_disk_without_a_reserve_older_spills_give_their_place_to_newer_ones(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.room(limit=0)
    room.keep([block(node) for node in place.nodes[:2]])
    original = Room._write

    def full(self: Room, path: str, body: bytes) -> None:
        if len(os.listdir(place.path / SPILL)) > 1:
            raise OSError(28, "No space left on device")
        original(self, path, body)

    monkeypatch.setattr(Room, "_write", full)
    assert isinstance(room.keep([block(place.nodes[2])])[0], BlockRow)
    assert [place.bytes_of(node) for node in place.nodes[:3]] == [None, None, b"\1" * SIZE]


def test_spills_of_a_killed_process_go_at_the_next_start(place: Place) -> None:
    room = place.room(limit=0)
    room.keep([block(place.nodes[0])])
    room = place.room(limit=0)
    assert os.listdir(place.path / SPILL) == []
    assert not room.recheck(Fetch(place.nodes[0], 0)), "its row leads nowhere: fetched again"
    assert place.catalog.block(place.nodes[0], 0) is None


def test_a_store_that_fails_is_a_miss_and_the_bytes_pass_it_by(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.room()
    monkeypatch.setattr(Store, "put", lambda *_: None)
    assert isinstance(room.keep([block(place.nodes[0])])[0], BlockRow)
    assert place.bytes_of(place.nodes[0]) == b"\1" * SIZE
    assert place.kept() == []


def test_on_a_full_disk_the_reserve_gives_its_place_to_the_readers_bytes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.room(limit=0, reserve_bytes=4096)
    reserve = place.path / SPILL / "reserve"
    assert reserve.stat().st_size == 4096
    original = Room._write

    def full(self: Room, path: str, body: bytes) -> None:
        if reserve.exists():
            raise OSError(28, "No space left on device")
        original(self, path, body)

    monkeypatch.setattr(Room, "_write", full)
    assert isinstance(room.keep([block(place.nodes[0])])[0], BlockRow)
    assert place.bytes_of(place.nodes[0]) == b"\1" * SIZE
    place.later(SPILL_S)
    room.sweep_spill()
    assert reserve.exists(), "set aside again when there is room"


def test_where_nothing_can_be_written_at_all_each_block_has_its_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.room(limit=SIZE)

    def full(self: Room, path: str, body: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Room, "_write", full)
    stored, failed = room.keep([block(place.nodes[0]), block(place.nodes[1])])
    assert isinstance(stored, BlockRow)
    assert isinstance(failed, TransferError)
    assert "cache_dir" in str(failed)


def test_a_catalog_that_cannot_be_written_leaves_no_block_that_nobody_knows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.room()

    def full(*_: object) -> None:
        raise CacheUnusable("no room for the catalog")

    monkeypatch.setattr(Catalog, "put_blocks", full)
    (answer,) = room.keep([block(place.nodes[0])])
    assert isinstance(answer, CacheUnusable)
    assert place.stores[-1].bytes == 0


def test_recheck_trusts_right_bytes_in_this_boot_and_drops_wrong_ones(place: Place) -> None:
    room = place.room()
    room.keep([block(node) for node in place.nodes[:2]])
    place.catalog.verify_blocks([(place.nodes[0], 0), (place.nodes[1], 0)], 7)
    row = place.catalog.block(place.nodes[1], 0)
    assert row is not None
    (place.path / row.path).write_bytes(b"\2" * SIZE)
    assert room.recheck(Fetch(place.nodes[0], 0))
    assert not room.recheck(Fetch(place.nodes[1], 0))
    first = place.catalog.block(place.nodes[0], 0)
    assert first is not None
    assert first.boot == 1
    assert place.catalog.block(place.nodes[1], 0) is None
    assert place.stores[-1].bytes == SIZE


def test_forget_drops_every_block_of_a_node(place: Place) -> None:
    room = place.room()
    body = b"z" * SIZE
    crc = google_crc32c.value(body)
    room.keep([Block(place.nodes[0], number, body, crc) for number in range(3)] + [block(place.nodes[1])])
    room.forget(place.nodes[0])
    assert place.kept() == [1]
    assert place.stores[-1].bytes == SIZE
