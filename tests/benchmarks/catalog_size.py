"""How large a catalog of a million images is, how fast it is built, opened and asked.

`python -m tests.benchmarks.catalog_size [--images N] [--order newest|shuffled|named] [--directories N]`
prints one JSON object. The listing comes as dialect C sends it: a thousand images a page, newest first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator

from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import DatasetFacts, ImageFacts

PAGE = 1000
STATUSES = ("new", "annotate", "review", "complete")
SPLITS = ("train", "train", "train", "train", "train", "train", "train", "train", "val", "test")
LIMIT_BYTES = 300_000_000


def facts(number: int, source: random.Random, directories: int) -> ImageFacts:
    """Image `number` of a dataset."""
    return ImageFacts(
        remote_id=str(uuid.UUID(int=source.getrandbits(128), version=4)),
        remote_name=f"scene_{number:07d}.jpg",
        directory_path="/" if directories < 2 else f"/part-{number % directories:04d}",
        size_bytes=source.randrange(20_000, 5_000_000),
        created_ns=1_700_000_000_000_000_000 + number * 1_000_000_007,
        status=source.choice(STATUSES),
        split=source.choice(SPLITS),
        width=source.choice((640, 1280, 1920)),
        height=source.choice((480, 720, 1080)),
        annotation_count=source.randrange(40),
    )


def pages(count: int, order: str, directories: int) -> Iterator[list[ImageFacts]]:
    """The listing, the same at every call."""
    source = random.Random(7)
    numbers = list(range(count))
    if order == "newest":
        numbers.reverse()
    elif order == "shuffled":
        source.shuffle(numbers)
    for start in range(0, count, PAGE):
        yield [facts(number, source, directories) for number in numbers[start : start + PAGE]]


def on_disk(path: str) -> int:
    """Bytes of the catalog with its journal."""
    return sum(
        os.path.getsize(path + suffix) for suffix in ("", "-wal", "-shm") if os.path.exists(path + suffix)
    )


def list_once(catalog: Catalog, dataset: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """(seconds in pages, seconds to finish) of one listing; making up the facts is not counted."""
    generation = catalog.begin_listing(dataset)
    in_pages = 0.0
    for page in pages(arguments.images, arguments.order, arguments.directories):
        began = time.perf_counter()
        catalog.put_images(dataset, generation, page)
        in_pages += time.perf_counter() - began
    began = time.perf_counter()
    catalog.finish_listing(dataset, generation, "1", time.time_ns())
    return in_pages, time.perf_counter() - began


def measure(folder: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Builds a catalog in `folder` and asks it."""
    path = os.path.join(folder, "catalog.sqlite")
    catalog = Catalog.open(path)
    organization = catalog.put_organization("https://api.example", "1", "Example", "example", b"{}", "key").pk
    dataset, _ = catalog.put_dataset(
        organization, DatasetFacts("1", "scenes", "scenes", False, b"{}", "1", 0, 0, arguments.images, 0), 1
    )
    built_s, finished_s = list_once(catalog, dataset.pk, arguments)
    open_bytes = on_disk(path)
    again_s, _ = list_once(catalog, dataset.pk, arguments)
    catalog.close()

    began = time.perf_counter()
    reader = CatalogReader.open(path)
    first = reader.dataset(dataset.pk)
    assert first is not None
    opened_s = time.perf_counter() - began
    directory = first.root_directory
    if arguments.directories > 1:
        directory = reader.subdirectories(directory)[0].pk
    step = max(arguments.directories, 1)
    named = [f"scene_{number:07d}.jpg" for number in range(0, arguments.images, step)]
    chosen = [random.Random(3).choice(named) for _ in range(arguments.lookups)]
    began = time.perf_counter()
    for name in chosen:
        assert reader.image_named(directory, name) is not None
    lookup_s = (time.perf_counter() - began) / len(chosen)
    began = time.perf_counter()
    after, listed = "", 0
    while rows := reader.images(directory, after):
        after, listed = rows[-1].file_name, listed + len(rows)
    listed_s = time.perf_counter() - began
    view = reader.views(dataset.pk, "split")[0]
    began = time.perf_counter()
    after, viewed = "", 0
    while rows := reader.view_images(view.pk, directory, after):
        after, viewed = rows[-1].file_name, viewed + len(rows)
    viewed_s = time.perf_counter() - began
    reader.close()
    return {
        "images": arguments.images,
        "bytes_while_open": open_bytes,
        "bytes": on_disk(path),
        "bytes_an_image": round(on_disk(path) / arguments.images, 1),
        "build_images_s": round(arguments.images / built_s),
        "finish_s": round(finished_s, 3),
        "unchanged_relisting_images_s": round(arguments.images / again_s),
        "open_ms": round(opened_s * 1e3, 2),
        "lookup_us": round(lookup_s * 1e6, 1),
        "lookups_s": round(1 / lookup_s),
        "readdir_entries_s": round(listed / listed_s),
        "view_entries": viewed,
        "view_s": round(viewed_s, 2),
    }


def main() -> int:
    """Measures and prints; 1 when a million images need more than 300 MB."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--order", choices=("newest", "shuffled", "named"), default="newest")
    parser.add_argument("--directories", type=int, default=1)
    parser.add_argument("--lookups", type=int, default=20_000)
    parser.add_argument("--keep", help="a folder for the catalog, kept afterwards")
    arguments = parser.parse_args()
    folder = arguments.keep or tempfile.mkdtemp(prefix="pictofs-catalog-")
    try:
        result = measure(folder, arguments)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    print(json.dumps(result, indent=1))
    too_large = int(str(result["bytes_while_open"])) > LIMIT_BYTES
    return int(arguments.images == 1_000_000 and too_large)


if __name__ == "__main__":
    sys.exit(main())
