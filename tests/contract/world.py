"""A service and its fetching process in one object, small enough for a test to be both.

`World` holds the truth (datasets, images, annotations, exports), the real catalog and the real block files of
one cache directory. `answer(request)` does what a fetching process would: it lists, fetches and says so. It
counts what it was asked, fails once when told to, and can hold its answers until it is let go.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pictofs.catalog import JOINED, Catalog
from pictofs.catalog.model import (
    BlockRow,
    Change,
    DatasetFacts,
    ExportFacts,
    ImageFacts,
    Kind,
    block_bytes,
    node_id,
    node_kind,
    node_pk,
)
from pictofs.link.messages import (
    Ask,
    Attach,
    Attached,
    Cancel,
    Changed,
    Done,
    Failed,
    Look,
    Moved,
    Read,
    Told,
    Want,
)

CREATED_NS = 1_700_000_000_000_000_000
BOOT_ID = "a boot of the test"


@dataclass
class Image:
    """An image as the service has it."""

    remote_id: str
    name: str
    directory: str
    body: bytes
    created_ns: int
    status: str
    split: str
    tags: tuple[str, ...] = ()
    annotation: bytes = b'{\n  "annotations": []\n}\n'
    version: int = 1


@dataclass
class Export:
    """An export as the service has it."""

    remote_id: str
    name: str
    status: str
    body: bytes


@dataclass
class Dataset:
    """A dataset as the service has it; `revision` is what its fingerprint moves by."""

    remote_id: str
    name: str
    slug: str
    archived: bool = False
    revision: int = 1
    images: dict[str, Image] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)


class World:
    """`sizes=False` lists images without sizes, as dialect A does. `page_rows` is the length of a page."""

    def __init__(
        self, cache_dir: Path, *, sizes: bool = True, page_rows: int = 1000,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.cache_dir = cache_dir
        self.sizes = sizes
        self.page_rows = page_rows
        self.now_ns = now_ns
        self.lock = threading.RLock()
        cache_dir.mkdir(parents=True, exist_ok=True)
        (cache_dir / "store").mkdir(exist_ok=True)
        self.catalog = Catalog.open(cache_dir / "catalog.sqlite", lambda: now_ns() / 1e9)
        self.boot = self.catalog.boot_index(BOOT_ID)
        self.organization = self.catalog.put_organization("http://test", "org", "Org", "org", b"{}", "key").pk
        self.datasets: dict[str, Dataset] = {}
        self.asked: Counter[str] = Counter()
        self.nodes_asked: list[tuple[str, int]] = []
        self.cancelled: list[int] = []
        self.reads: list[Read] = []
        self.fail_once: dict[str, int] = {}
        self.fail_always: dict[str, int] = {}
        self.joins = False      # whether "join" is done; else it takes too long
        self.listing_age_ns = 600_000_000_000
        self.status: dict[str, object] = {"pids": {"fetching": 1}, "online": True, "dialect": "c"}
        self._ids = itertools.count(1)
        self._files = itertools.count(1)

    def close(self) -> None:
        """Closes the catalog."""
        self.catalog.close()

    # the truth

    def dataset(self, name: str, slug: str = "", archived: bool = False) -> Dataset:
        """A new dataset."""
        made = self.datasets[name] = Dataset(self._id("d"), name, slug or name.lower(), archived)
        return made

    def image(
        self, dataset: str, path: str, body: bytes, *, split: str = "", status: str = "complete",
        annotation: object = None, tags: tuple[str, ...] = (),
    ) -> Image:
        """A new image; `path` is directory and file name."""
        directory, _, name = path.rpartition("/")
        made = Image(
            self._id("i"), name, f"/{directory}", body, CREATED_NS + next(self._ids) * 1_000_000_000,
            status, split, tags,
        )
        if annotation is not None:
            made.annotation = json.dumps(annotation, indent=2).encode() + b"\n"
        with self.lock:
            self.datasets[dataset].images[path] = made
            self.datasets[dataset].revision += 1
        return made

    def replace(self, dataset: str, path: str, body: bytes) -> None:
        """Uploads other bytes under a name: another object, created later."""
        with self.lock:
            image = self.datasets[dataset].images[path]
            image.body = body
            image.version += 1
            image.created_ns += 1_000_000_000
            self.datasets[dataset].revision += 1

    def delete(self, dataset: str, path: str) -> None:
        """Deletes an image."""
        with self.lock:
            del self.datasets[dataset].images[path]
            self.datasets[dataset].revision += 1

    def export(self, dataset: str, name: str, body: bytes, status: str = "completed") -> Export:
        """A new export."""
        made = self.datasets[dataset].exports[name] = Export(self._id("e"), name, status, body)
        return made

    # the fetching process

    def answer(self, request: object) -> list[object]:
        """What is sent back, in order."""
        with self.lock:
            if isinstance(request, Cancel):
                self.cancelled.append(request.id)
                return []
            if isinstance(request, Read):
                self.reads.append(request)
                return []
            if isinstance(request, Attach):
                return [Attached(request.id, os.getpid(), "test", [self.organization], ["c"], [])]
            if isinstance(request, Ask):
                self.asked[f"ask {request.verb}"] += 1
                if request.verb == "join" and self.joins:
                    for node in request.arguments["nodes"]:
                        self.join(node)
                return [Told(request.id, dict(self.status))]
            assert isinstance(request, Look | Want)
            verb = "look" if isinstance(request, Look) else "want"
            kind = node_kind(request.node)
            self.asked[f"{verb} {kind.name}"] += 1
            self.nodes_asked.append((verb, request.node))
            name = f"{verb} {kind.name}"
            number = self.fail_once.pop(name, 0) or self.fail_always.get(name, 0)
            if number:
                return [Failed(request.id, number, "as the test wishes")]
            return list(self._look(request) if isinstance(request, Look) else self._want(request))

    def steps(self, look: Look) -> Iterator[object]:
        """The same answer to a look, each reply made when it is asked for: between them it is half done."""
        return iter(self._look(look))

    def _look(self, look: Look) -> Iterable[object]:
        kind, pk = node_kind(look.node), node_pk(look.node)
        catalog = self.catalog
        if kind in (Kind.ROOT, Kind.ORGANIZATION):
            facts = [self._facts(dataset) for dataset in self.datasets.values()]
            return self._told(look, catalog.put_datasets(self.organization, facts, self.now_ns()))
        if kind is Kind.DATASET:
            return self._look_dataset(look, pk)
        if kind in (Kind.IMAGES, Kind.ANNOTATIONS):
            directory = catalog.directory(pk)
            assert directory is not None
            return self._list(look, directory.dataset)
        if kind is Kind.EXPORTS:
            return self._told(look, catalog.put_exports(pk, self._exports(pk), self.now_ns()))
        if kind is Kind.IMAGE:
            _, image = self.truth_of(pk)
            return self._told(look, catalog.put_image_truth(pk, len(image.body), str(image.version), "", ""))
        if kind is Kind.ANNOTATION:
            row = catalog.image_of_annotation(pk)
            assert row is not None
            return self._fetch_annotation(look, row.pk)
        raise AssertionError(f"nobody looks at a {kind.name}")

    def _look_dataset(self, look: Look, pk: int) -> list[object]:
        row = self.catalog.dataset(pk)
        assert row is not None
        for dataset in self.datasets.values():
            if dataset.remote_id == row.remote_id:
                return self._told(
                    look, self.catalog.put_dataset(self.organization, self._facts(dataset), self.now_ns())[1]
                )
        facts = [self._facts(dataset) for dataset in self.datasets.values()]
        return self._told(look, self.catalog.put_datasets(self.organization, facts, self.now_ns()))

    def _list(self, look: Look, pk: int) -> Iterator[object]:
        yield from self._look_dataset(look, pk)[:-1]
        row = self.catalog.dataset(pk)
        assert row is not None
        long_ago = self.now_ns() - row.listed_ns > self.listing_age_ns
        if row.listed_ns and row.listed_fingerprint == row.fingerprint and not long_ago:
            yield Done(look.id)
            return
        truth = next(d for d in self.datasets.values() if d.remote_id == row.remote_id)
        images = list(truth.images.values())
        generation = self.catalog.begin_listing(pk)
        for start in range(0, len(images), self.page_rows):
            page = [self._image_facts(image) for image in images[start : start + self.page_rows]]
            yield from self._changed(self.catalog.put_images(pk, generation, page))
            yield Moved(look.id)
        yield from self._changed(
            self.catalog.finish_listing(pk, generation, row.fingerprint, self.now_ns())
        )
        yield Done(look.id)

    def _want(self, want: Want) -> list[object]:
        kind, pk = node_kind(want.node), node_pk(want.node)
        if kind is Kind.IMAGE:
            row, image = self.truth_of(pk)
            if row.directory == 0 or (row.generation and row.generation != str(image.version)):
                return [Failed(want.id, 116, "superseded")]
            body = image.body
        elif kind is Kind.ANNOTATION:
            row = self.catalog.image_of_annotation(pk)
            assert row is not None
            body = self.truth_of(row.pk)[1].annotation
        else:
            export = self.catalog.export(pk)
            assert export is not None
            truth = next(d for d in self.datasets.values() if export.remote_name in d.exports)
            body = truth.exports[export.remote_name].body
        for block in range(want.first, want.last + 1):
            self.store(want.node, block, body)
        return [Done(want.id)]

    def store(self, node: int, block: int, body: bytes) -> None:
        """Puts a block of `body` where a reader finds it."""
        length = block_bytes(node_kind(node))
        piece = body[block * length : (block + 1) * length]
        path = f"store/{next(self._files)}"
        (self.cache_dir / path).write_bytes(piece)
        self.catalog.put_block(BlockRow(node, block, path, len(piece), zlib.crc32(piece), self.boot))

    def join(self, node: int) -> None:
        """Puts all blocks of a node, which are here, into one file, and drops them."""
        rows = self.catalog.blocks(node)
        body = b"".join((self.cache_dir / row.path).read_bytes() for row in rows)
        path = f"store/{next(self._files)}"
        (self.cache_dir / path).write_bytes(body)
        self.catalog.put_block(BlockRow(node, JOINED, path, len(body), zlib.crc32(body), self.boot))
        self.catalog.drop_each([(node, row.block) for row in rows])
        for row in rows:
            (self.cache_dir / row.path).unlink()

    def evict(self, node: int) -> None:
        """Removes what is stored of a node, files first, as if in a crash."""
        for row in self.catalog.blocks(node):
            (self.cache_dir / row.path).unlink(missing_ok=True)

    def truth_of(self, pk: int) -> tuple[object, Image]:
        """The catalog's row of an image and the service's image."""
        row = self.catalog.image(pk)
        assert row is not None
        for dataset in self.datasets.values():
            for image in dataset.images.values():
                if image.remote_id == row.remote_id:
                    return row, image
        raise AssertionError(f"the service has no image {row.remote_id}")

    def node(self, dataset: str, path: str, kind: Kind = Kind.IMAGE) -> int:
        """The current node of an image or its annotation, from the catalog."""
        wanted = self.datasets[dataset].images[path].remote_id
        row = self.catalog.dataset_named(self.organization, dataset)
        assert row is not None
        image = self.catalog.image_known_as(row.pk, wanted)
        assert image is not None
        return node_id(image.pk if kind is Kind.IMAGE else image.annotation, kind)

    def _fetch_annotation(self, look: Look, image_pk: int) -> list[object]:
        _, image = self.truth_of(image_pk)
        version = hashlib.md5(image.annotation).hexdigest()
        row, change = self.catalog.put_annotation(image_pk, version, len(image.annotation), self.now_ns())
        self.store(node_id(row.pk, Kind.ANNOTATION), 0, image.annotation)
        return self._told(look, change)

    def _told(self, look: Look, change: Change) -> list[object]:
        return [*self._changed(change), Done(look.id)]

    def _changed(self, change: Change) -> list[object]:
        return [Changed(change.entries, change.nodes)] if change else []

    def _id(self, letter: str) -> str:
        number = next(self._ids)
        return f"{number:08x}-{ord(letter):04x}-4000-8000-{number:012x}"

    def _facts(self, dataset: Dataset) -> DatasetFacts:
        document = json.dumps({"name": dataset.name, "image_count": len(dataset.images)}, indent=2) + "\n"
        return DatasetFacts(
            dataset.remote_id, dataset.name, dataset.slug, dataset.archived, document.encode(),
            str(dataset.revision), CREATED_NS, CREATED_NS, len(dataset.images),
            sum(len(image.body) for image in dataset.images.values()),
        )

    def _image_facts(self, image: Image) -> ImageFacts:
        return ImageFacts(
            image.remote_id, image.name, image.directory, len(image.body) if self.sizes else None,
            image.created_ns, image.status, image.split, tags=image.tags, annotation_count=1,
        )

    def _exports(self, pk: int) -> list[ExportFacts]:
        row = self.catalog.dataset(pk)
        assert row is not None
        truth = next(d for d in self.datasets.values() if d.remote_id == row.remote_id)
        return [
            ExportFacts(
                export.remote_id, export.name, export.status,
                len(export.body) if export.status == "completed" and self.sizes else None, CREATED_NS,
                CREATED_NS + 5_000_000_000 if export.status == "completed" else 0,
                json.dumps({"name": export.name, "status": export.status}, indent=2).encode() + b"\n",
            )
            for export in truth.exports.values()
        ]
