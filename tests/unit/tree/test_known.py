"""Images known from memory: pages of a directory, one after the other, until something changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pictofs.catalog.found import FoundImage
from pictofs.catalog.model import BlockRow, Kind
from pictofs.tree import known
from pictofs.tree.known import KnownBlocks, KnownImages, KnownSizes


class Counted:
    """A directory of images behind the reader's two questions, which it counts."""

    def __init__(self, count: int) -> None:
        self.images = {
            f"{n:04}.jpg": FoundImage(n, n, f"{n:04}.jpg", 10 * n, 0, b"\x01\x02\x03\x04", 10 * n, 7, 1)
            for n in range(1, count + 1)
        }
        self.asked = 0
        self.rows = 0

    def found_image(self, directory: int, name: str) -> FoundImage | None:
        self.asked += 1
        return self.images.get(name) if directory == 5 else None

    def found_images(self, directory: int, after: str, limit: int) -> list[FoundImage]:
        self.asked += 1
        found = [image for name, image in sorted(self.images.items()) if name > after][:limit]
        self.rows += len(found)
        return found


def named(images: KnownImages, reader: Any, name: str, count: int = 1000) -> FoundImage | None:
    return images.named(reader, 5, name, count)


def test_an_epoch_over_a_directory_asks_for_each_image_once() -> None:
    images, reader = KnownImages(), Counted(1000)
    for turn in (0, 1):
        for name in random.Random(turn).sample(sorted(reader.images), 1000):
            found = named(images, reader, name)
            assert found is not None
            assert found.file_name == name
    assert reader.rows == 1000
    assert reader.asked < 40


def test_in_a_dataset_larger_than_what_is_kept_no_page_is_taken() -> None:
    images, reader = KnownImages(), Counted(100)
    named(images, reader, "0007.jpg", known.MOST_KNOWN + 1)
    assert (reader.asked, reader.rows) == (1, 0)


def test_a_name_that_is_not_there_is_asked_for_every_time() -> None:
    images, reader = KnownImages(), Counted(3)
    for _ in range(10):
        assert named(images, reader, "train") is None
    reader.images["train"] = FoundImage(9, 9, "train", 1, 0, None, 0, 0, 0)
    assert named(images, reader, "train") is not None


def test_after_a_change_nothing_is_believed() -> None:
    images, reader = KnownImages(), Counted(10)
    before = named(images, reader, "0003.jpg")
    reader.images["0003.jpg"] = reader.images["0003.jpg"]._replace(pk=99)
    assert named(images, reader, "0003.jpg") is before
    images.forget()
    after = named(images, reader, "0003.jpg")
    assert after is not None
    assert after.pk == 99
    assert images.node(3 << 8 | Kind.IMAGE) is None


def test_a_version_that_was_looked_up_has_its_first_block_at_hand() -> None:
    images, reader = KnownImages(), Counted(3)
    named(images, reader, "0002.jpg")
    node = 2 << 8 | Kind.IMAGE
    block = images.block(node)
    assert block is not None
    assert (block.node, block.block, block.size_bytes, block.boot) == (node, 0, 20, 1)
    assert block.path.endswith("01020304")
    assert images.block(77 << 8 | Kind.IMAGE) is None


def test_the_sizes_that_were_told_last_are_at_hand_until_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known, "MOST_SIZES", 12)
    sizes = KnownSizes()
    for begin in range(0, 100, 5):
        sizes.told({node: 10 * node for node in range(begin, begin + 5)})
    assert {node: sizes.of(node) for node in range(100) if sizes.of(node) is not None} == {
        node: 10 * node for node in range(88, 100)
    }
    sizes.forget()
    assert sizes.of(99) is None


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST_KNOWN", 64)
    images, reader = KnownImages(), Counted(1000)
    for name in reader.images:
        named(images, reader, name, 60)
        assert len(images) <= 64


class Blocks:
    """Rows of blocks, and how often they were asked for."""

    def __init__(self, here: set[int]) -> None:
        self.here = here
        self.asked = 0

    def block(self, node: int, block: int) -> BlockRow | None:
        self.asked += 1
        return BlockRow(node, block, f"{node}.{block}", 1, 0, 1) if block in self.here else None

    def blocks_from(self, node: int, block: int, limit: int) -> list[BlockRow]:
        self.asked += 1
        return [BlockRow(node, n, f"{node}.{n}", 1, 0, 1) for n in sorted(self.here) if n >= block][:limit]

    def joined(self, node: int) -> BlockRow | None:
        self.asked += 1
        return None


def test_blocks_read_in_order_are_asked_for_by_the_page() -> None:
    blocks: Any = KnownBlocks()
    reader: Any = Blocks(set(range(640)) - {100})
    found = [blocks.block(reader, 9, n) for n in range(640)]
    assert [n for n, row in enumerate(found) if row is None or row.block != n] == [100]
    assert reader.asked <= 640 // known.PAGE_BLOCKS + 4
    reader.here.add(100)
    assert blocks.block(reader, 9, 100) is not None, "what is not here is never remembered"


def test_blocks_read_here_and_there_cost_one_row_each() -> None:
    blocks: Any = KnownBlocks()
    reader: Any = Blocks(set(range(1000)))
    for n in (5, 900, 3, 77):
        assert blocks.block(reader, 9, n).block == n
    assert reader.asked == 4
