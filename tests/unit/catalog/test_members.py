"""Members of archives in the catalog: drawn pks, names, what goes with an export, and older catalogs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pictofs.catalog import CatalogReader, schema
from pictofs.catalog.model import (
    BlockRow,
    ExportFacts,
    Kind,
    MemberFacts,
    OpenedRow,
    node_id,
    node_kind,
)
from tests.unit.catalog.conftest import World, image

FACTS = [
    MemberFacts(2, "b.txt", "", 8, False, 100, 30, 90, 7),
    MemberFacts(-1, "a~12345678", "a", 0, True, 0, 5, 5, 8),
    MemberFacts(-1, "d"),
    MemberFacts(2, "e"),
]


def export(world: World, size_bytes: int = 1 << 20, completed_ns: int = 2) -> int:
    facts = ExportFacts("e", "coco", "completed", size_bytes, 1, completed_ns, b"{}")
    world.catalog.put_exports(world.dataset, [facts], 5)
    (row,) = world.catalog.exports(world.dataset)
    return row.pk


def opened(world: World, pk: int) -> OpenedRow:
    row = world.catalog.begin_opening(pk, len(FACTS))
    world.catalog.put_members(row, 0, FACTS[:2])
    world.catalog.put_members(row, 2, FACTS[2:])
    world.catalog.finish_opening(row)
    return row


def test_an_archive_is_opened_when_its_last_member_is_here(world: World) -> None:
    pk = export(world)
    row = world.catalog.begin_opening(pk, len(FACTS))
    world.catalog.put_members(row, 0, FACTS)
    assert world.catalog.opened(pk) is None
    change = world.catalog.finish_opening(row)
    assert world.catalog.opened(pk) == row
    assert node_id(pk, Kind.EXPORT_OPENED) in change.nodes


def test_members_are_found_by_name_by_directory_and_by_pk(world: World) -> None:
    pk = export(world)
    row = opened(world, pk)
    top = world.catalog.members(pk, 0)
    assert [one.file_name for one in top] == ["a~12345678", "d"]
    twin, directory = top
    assert (twin.name, twin.encrypted, twin.method, twin.data) == ("a", True, 0, None)
    assert node_kind(directory.node) is Kind.MEMBER_DIRECTORY
    assert [one.file_name for one in world.catalog.members(pk, directory.pk)] == ["b.txt", "e"]
    assert [one.file_name for one in world.catalog.members(pk, directory.pk, "b.txt")] == ["e"]
    assert world.catalog.listed_members(pk, directory.pk) == [
        (one.pk, one.file_name, one.method, one.size_bytes) for one in world.catalog.members(pk, directory.pk)
    ]
    assert [one.file_name for one in world.catalog.listed_members(pk, directory.pk, "b.txt", 1)] == ["e"]
    found = world.catalog.member_named(pk, directory.pk, "b.txt")
    assert found is not None
    assert (found.pk, found.header, found.packed_bytes, found.size_bytes, found.crc32) == (
        row.first, 100, 30, 90, 7,
    )  # fmt: skip
    assert world.catalog.member(found.pk) == found
    assert world.catalog.size_bytes(found.node) == 90
    assert world.catalog.member_named(pk, 0, "b.txt") is None
    world.catalog.put_member_data([(twin.pk, 31)])
    again = world.catalog.member(twin.pk)
    assert again is not None
    assert again.data == 31


def test_a_member_never_has_the_pk_of_an_image(world: World) -> None:
    world.list(image(1, "a.jpg"))
    row = opened(world, export(world))
    world.list(image(1, "a.jpg"), image(2, "b.jpg"))
    pks = {one.pk for _, one in world.images()}
    assert not pks & set(range(row.first, row.first + row.count))


def test_what_is_in_an_archive_goes_with_its_export(world: World) -> None:
    pk = export(world)
    row = opened(world, pk)
    node = node_id(row.first, Kind.MEMBER)
    world.catalog.put_block(BlockRow(node, 0, "store/x", 90, 1, 1))
    assert world.catalog.blocks_of_the_gone() == []
    world.catalog.put_exports(world.dataset, [], 9)
    (age,) = world.catalog.blocks_of_the_gone()
    assert (age.node, age.current) == (node, False)
    world.catalog.collect()
    assert world.catalog.member(row.first) is not None, "while a block is left"
    world.catalog.drop_blocks(node)
    while world.catalog.collect(2):
        pass
    assert world.catalog.member(row.first) is None
    assert world.catalog.export(pk) is None


def test_an_opening_that_was_interrupted_leaves_nothing(world: World) -> None:
    pk = export(world)
    row = world.catalog.begin_opening(pk, len(FACTS))
    world.catalog.put_members(row, 0, FACTS[:2])
    world.restart()
    while world.catalog.clear_members(pk, 1):
        pass
    assert world.catalog.member(row.first) is None
    assert opened(world, pk).first > row.first, "no pk is given twice"


def test_a_pin_within_an_archive_holds_all_of_it(world: World) -> None:
    pk = export(world)
    row = opened(world, pk)
    archive, member = node_id(pk, Kind.EXPORT), node_id(row.first, Kind.MEMBER)
    world.catalog.put_blocks([BlockRow(node, 0, "store/x", 90, 1, 1) for node in (archive, member)])
    for pinned in (member, node_id(row.first + 2, Kind.MEMBER_DIRECTORY), node_id(pk, Kind.EXPORT_OPENED)):
        world.catalog.pin(pinned)
        assert [age.pinned for age in world.catalog.blocks_by_age()] == [True, True]
        world.catalog.unpin(pinned)
    assert not any(age.pinned for age in world.catalog.blocks_by_age())


def test_a_catalog_of_the_version_before_members_is_taken_over(world: World, tmp_path: Path) -> None:
    world.list(image(1, "a.jpg"))
    pk = export(world)
    (one,) = [node_id(row.pk, Kind.IMAGE) for _, row in world.images()]
    world.catalog.put_blocks(
        [BlockRow(node, 0, "store/x", 90, 1, 1) for node in (node_id(pk, Kind.EXPORT), one)]
    )
    world.catalog.close()
    db = sqlite3.connect(world.path)
    db.executescript("DROP TABLE opened; DROP TABLE member; PRAGMA user_version = 1")
    db.close()
    early = CatalogReader.open(world.path)
    world.catalog = world.opened()
    assert [row.node for row in world.catalog.blocks(node_id(pk, Kind.EXPORT))] == [], "of another length"
    assert world.catalog.block_totals() == (90, 1)
    assert world.catalog.block(one, 0) is not None
    opened(world, pk)
    assert early.opened(pk) is not None, "who had opened it before reads what is new"
    early.close()
    assert world.catalog._value("PRAGMA user_version") == schema.VERSION
