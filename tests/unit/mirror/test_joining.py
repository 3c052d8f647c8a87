"""Blocks of an archive become one file, or stay what they are."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import pytest

from pictofs.catalog import JOINED, Catalog, CatalogReader
from pictofs.catalog.model import EXPORT_BLOCK_BYTES, SPILL, BlockRow, ExportFacts, Kind, node_id
from pictofs.mirror.joining import Joining
from pictofs.mirror.plan import Fetch
from pictofs.mirror.room import Room
from pictofs.mirror.singleflight import SingleFlight
from pictofs.mirror.writer import Block, Writer
from pictofs.store import Store

from .rows import dataset_facts

BODY = random.Random(1).randbytes(3 * EXPORT_BLOCK_BYTES + 777)


@dataclass
class Place:
    """A cache directory that holds an archive in four blocks."""

    path: Path
    catalog: Catalog
    reader: CatalogReader
    store: Store
    room: Room
    node: int

    def files(self) -> list[str]:
        return [str(path.relative_to(self.path)) for path in sorted((self.path / "store").rglob("*.*.*"))]

    def bytes_there(self) -> bytes:
        row = self.reader.joined(self.node)
        assert row is not None
        return (self.path / row.path).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    organization = catalog.put_organization("http://h:1", "o", "O", "o", b"{}", "key")
    dataset, _ = catalog.put_dataset(organization.pk, dataset_facts(), 1)
    catalog.put_exports(dataset.pk, [ExportFacts("e", "e", "completed", len(BODY), 1, 2, b"{}")], 1)
    (export,) = catalog.exports(dataset.pk)
    store = Store(tmp_path, limit_bytes=3 * len(BODY), min_free_bytes=0)
    reader = CatalogReader.open(catalog.path)
    room = Room(str(tmp_path), catalog, store, 1, reserve_bytes=0)
    made = Place(tmp_path, catalog, reader, store, room, node_id(export.pk, Kind.EXPORT))
    yield made
    reader.close()
    catalog.close()


def fill(place: Place) -> None:
    bodies = [BODY[at : at + EXPORT_BLOCK_BYTES] for at in range(0, len(BODY), EXPORT_BLOCK_BYTES)]
    place.room.keep(
        [Block(place.node, n, body, google_crc32c.value(body)) for n, body in enumerate(bodies)]
    )


def join(
    place: Place, meanwhile: Callable[[Writer], Awaitable[None]] | None = None, stopped: bool = False
) -> int:
    """What the fetching process does: the store is the writer's thread's, the rest the loop's."""

    async def run() -> int:
        writer, flights = Writer(place.room.keep), SingleFlight()
        writer.start()
        joining = Joining(
            place.reader, place.catalog, place.store, writer, place.room, flights, str(place.path)
        )
        await writer.run(place.store.open)
        await writer.run(place.room.open)
        if not place.reader.blocks(place.node):
            await writer.run(lambda: fill(place))
        if stopped:
            joining.stop()
        if meanwhile is not None:
            await meanwhile(writer)
        joined = await joining.join([place.node])
        while len(flights):
            await asyncio.sleep(0.01)       # longer than its patience, on a slow disk
        await writer.run(place.store.close)
        await writer.stop()
        return max(joined, int(place.reader.joined(place.node) is not None))

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_an_archive_that_is_whole_becomes_one_file_that_the_store_accounts_for(place: Place) -> None:
    assert join(place) == 1
    assert place.bytes_there() == BODY
    row = place.reader.joined(place.node)
    assert row is not None
    assert (row.size_bytes, row.crc32c) == (len(BODY), google_crc32c.value(BODY))
    assert place.files() == [row.path], "the blocks are gone"
    assert place.store.bytes == len(BODY)
    assert place.catalog.block_totals() == (len(BODY), 1)
    assert os.listdir(place.path / SPILL) == []
    place.store.open()
    assert place.store.verify(place.node, JOINED, row.crc32c)
    assert sum(place.store.sweep(lambda node, block: (node, block) == (place.node, JOINED))) == 0
    place.store.close()
    assert join(place) == 1, "and once more changes nothing"
    assert place.reader.joined(place.node) == row


def test_what_is_not_whole_stays_in_blocks(place: Place) -> None:
    async def lose(writer: Writer) -> None:
        await writer.run(lambda: place.room.drop([Fetch(place.node, 2)]))

    assert join(place, lose) == 0
    assert len(place.files()) == 3


def test_a_block_whose_bytes_are_wrong_is_never_joined(place: Place) -> None:
    async def damage(writer: Writer) -> None:
        row = place.reader.block(place.node, 1)
        assert row is not None
        (place.path / row.path).write_bytes(b"x" * row.size_bytes)

    assert join(place, damage) == 0
    assert len(place.files()) == 4
    assert os.listdir(place.path / SPILL) == []


def test_nothing_is_evicted_to_join_and_without_room_it_stays_in_blocks(place: Place) -> None:
    place.store.limit_bytes = 2 * len(BODY) - 1
    assert join(place) == 0
    assert len(place.files()) == 4


def test_a_process_that_ends_joins_no_further(place: Place) -> None:
    assert join(place, stopped=True) == 0
    assert len(place.files()) == 4


def test_a_copy_of_blocks_that_are_others_by_now_is_not_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Joining._copy

    def slow(self: Joining, parts: Sequence[BlockRow], path: str, size_bytes: int) -> int | None:
        crc32c = copy(self, parts, path, size_bytes)
        self._writer.post(lambda: place.room.forget(place.node))    # before the copy is taken
        return crc32c

    monkeypatch.setattr(Joining, "_copy", slow)
    assert join(place) == 0
    assert place.files() == []
    assert place.reader.blocks(place.node) == []
    assert os.listdir(place.path / SPILL) == []


def test_a_joined_file_is_rechecked_as_a_block_is_and_goes_with_any_wrong_byte_in_it(place: Place) -> None:
    assert join(place) == 1
    place.store.open()
    assert place.room.recheck(Fetch(place.node, 3))
    row = place.reader.joined(place.node)
    assert row is not None
    with (place.path / row.path).open("r+b") as file:
        file.write(b"xxxx")
    assert not place.room.recheck(Fetch(place.node, JOINED))
    assert place.reader.block(place.node, 3) is None
    place.store.close()
    assert join(place) == 1
    place.store.open()
    place.room.drop([Fetch(place.node, 1)])     # a member's checksum was wrong
    assert place.reader.joined(place.node) is None
    assert place.store.bytes == 0
    place.store.close()
