"""A catalog in a temporary folder, and short ways to write down what a service says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pictofs.catalog import Catalog
from pictofs.catalog.model import (
    BlockRow,
    Change,
    DatasetFacts,
    ImageFacts,
    ImageRow,
    Kind,
    block_bytes,
    node_id,
    node_kind,
)

ORIGIN = "https://api.example.test"
KEY = "pk_live_not_a_real_key"


def remote_id(number: int) -> str:
    """The id of object `number`; ids sort like numbers."""
    return str(uuid.UUID(int=number << 96 | 0x4000_8000_0000_0000_0000))


def image(number: int, name: str, path: str = "/", **facts: object) -> ImageFacts:
    """Image `number` of a listing; later numbers were created later."""
    values: dict[str, object] = {
        "remote_id": remote_id(number),
        "remote_name": name,
        "directory_path": path,
        "size_bytes": 1000 + number,
        "created_ns": 1_000_000_000 * number,
        "status": "new",
        "split": "train",
    }
    return ImageFacts(**{**values, **facts})  # type: ignore[arg-type]


def dataset_facts(number: int = 1, name: str = "scenes", **facts: object) -> DatasetFacts:
    """Dataset `number` of an organization."""
    values: dict[str, object] = {
        "remote_id": remote_id(number),
        "name": name,
        "slug": name.lower(),
        "archived": False,
        "document": f'{{"name": "{name}"}}\n'.encode("utf-8", "replace"),
        "fingerprint": "1",
        "created_ns": number,
        "updated_ns": number,
        "image_count": 0,
        "total_bytes": 0,
    }
    return DatasetFacts(**{**values, **facts})  # type: ignore[arg-type]


@dataclass
class World:
    """A catalog with one dataset, and a clock that moves by hand."""

    path: Path
    now_s: float = 1_700_000_000.0
    catalog: Catalog = field(init=False)
    organization: int = field(init=False)
    dataset: int = field(init=False)
    root: int = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = self.opened()
        self.organization = self.catalog.put_organization(ORIGIN, "o", "Org", "org", b"{}", KEY).pk
        self.catalog.put_datasets(self.organization, [dataset_facts()], 1)
        row = self.catalog.datasets(self.organization)[0]
        self.dataset, self.root = row.pk, row.root_directory

    def opened(self) -> Catalog:
        """Another writer on the same file; whoever calls closes the one before."""
        return Catalog.open(self.path, clock_s=lambda: self.now_s)

    def restart(self) -> None:
        """Closes the catalog and opens it again, as after a kill: what was in memory is gone."""
        self.catalog.close()
        self.catalog = self.opened()

    def list(self, *facts: ImageFacts, now_ns: int | None = None, page: int = 1000) -> Change:
        """One whole listing of the dataset."""
        generation = self.catalog.begin_listing(self.dataset)
        change = Change()
        for start in range(0, len(facts), page):
            change.add(self.catalog.put_images(self.dataset, generation, facts[start : start + page]))
        self.now_s += 1
        change.add(
            self.catalog.finish_listing(self.dataset, generation, "1", now_ns or int(self.now_s * 1e9))
        )
        return change

    def images(self) -> Iterator[tuple[str, ImageRow]]:
        """Every current image with the path of its directory, by pages."""
        directories = [(self.root, "")]
        while directories:
            directory, above = directories.pop()
            after = ""
            while rows := self.catalog.images(directory, after, 100):
                yield from ((above, row) for row in rows)
                after = rows[-1].file_name
            after = ""
            while subs := self.catalog.subdirectories(directory, after, 100):
                directories += [(sub.pk, f"{above}{sub.file_name}/") for sub in subs]
                after = subs[-1].file_name

    def tree(self) -> dict[str, str]:
        """Every path under images/, and the path of its annotation."""
        found = {above + row.file_name: above + row.annotation_name for above, row in self.images()}
        return dict(sorted(found.items()))

    def names(self) -> dict[str, str]:
        """The path of every image by its remote id."""
        return {row.remote_id: above + row.file_name for above, row in self.images()}

    def store(self, node: int, size_bytes: int | None = None) -> None:
        """Records every block of a node as stored."""
        size_bytes = self.catalog.size_bytes(node) if size_bytes is None else size_bytes
        assert size_bytes is not None
        step = block_bytes(node_kind(node))
        self.catalog.put_blocks(
            BlockRow(
                node,
                block,
                f"store/{node >> 18:x}/{node:x}.{block:x}.0badcafe",
                min(step, size_bytes - at),
                7,
                1,
            )
            for block, at in enumerate(range(0, size_bytes, step))
        )


def image_node(pk: int) -> int:
    """The node of an image's version."""
    return node_id(pk, Kind.IMAGE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world that is closed afterwards."""
    made = World(tmp_path / "catalog.sqlite")
    yield made
    made.catalog.close()
