"""What the emulated service knows: organization, datasets, images, exports.

Plain values without transport. `ImageTable` keeps the images of one dataset, oldest first, with or without a
synthetic base that makes its rows on demand; a million synthetic images cost nothing until one is changed.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pictofs.emulator.content import StoredObject

Annotation = dict[str, Any]


@dataclass(slots=True)
class Image:
    """One image; its bytes are `stored`, its annotations what `load_annotations` gives."""

    id: str
    dataset_id: str
    filename: str
    directory_path: str  # "/" for the root, else "/a/b"
    status: str
    split: str | None
    tags: tuple[str, ...]
    annotation_count: int
    width: int
    height: int
    created_us: int
    stored: StoredObject
    load_annotations: Callable[[], list[Annotation]]
    is_archived: bool = False

    @property
    def path(self) -> str:
        """Directory and filename joined, without a leading slash: how dialect c addresses an image."""
        return joined(self.directory_path, self.filename)


def joined(directory_path: str, filename: str) -> str:
    """`/a` and `b.jpg` make `a/b.jpg`; the root adds nothing."""
    return f"{directory_path.strip('/')}/{filename}" if directory_path != "/" else filename


@dataclass(slots=True)
class Totals:
    """Sums over the images of a dataset that are not archived."""

    images: int = 0
    complete: int = 0
    annotations: int = 0
    size_bytes: int = 0
    archived: int = 0

    def count(self, image: Image, sign: int) -> None:
        """Add (sign 1) or take away (sign -1) one image."""
        if image.is_archived:
            self.archived += sign
            return
        self.images += sign
        self.complete += sign if image.status == "complete" else 0
        self.annotations += sign * image.annotation_count
        self.size_bytes += sign * image.stored.size


class ImageBase(Protocol):
    """Images that are made from their index: 0 is the oldest."""

    def __len__(self) -> int:
        """How many there are."""

    def image(self, index: int) -> Image:
        """The image of this index, equal on every call."""

    def index_of(self, image_id: str) -> int | None:
        """The index of an id; None for an id of elsewhere."""

    def candidates(self, filename: str) -> list[int]:
        """Indexes that may carry this filename: all that do, and perhaps a few that do not."""

    def totals(self) -> Totals:
        """Sums over all."""

    def matching(self, status: str | None, split: str | None, directory_path: str | None) -> Iterator[int]:
        """Ascending indexes of the images with these traits; None matches all."""

    def directories(self) -> Counter[str]:
        """How many images lie in each directory."""


class ImageTable:
    """The images of one dataset in order of creation."""

    def __init__(self, base: ImageBase | None = None) -> None:
        self._base = base
        self._base_length = len(base) if base is not None else 0
        self._changed: dict[int, Image] = {}  # images of the base that are no longer as it makes them
        self._added: list[Image] = []
        self._positions: dict[str, int] = {}  # id to position, of the added ones
        self._filenames: dict[str, list[int]] = {}  # filename to positions, of the added ones
        self._removed: set[int] = set()
        self._live: Sequence[int] = range(self._base_length)
        self._views: dict[tuple[Any, ...], Sequence[int]] = {}
        self.revision = 0  # moves with every change
        self.totals = base.totals() if base is not None else Totals()

    # reading

    def __iter__(self) -> Iterator[Image]:
        return (self.at(position) for position in self.select())

    def at(self, position: int) -> Image:
        """The image at a position that `select` gave."""
        if position >= self._base_length:
            return self._added[position - self._base_length]
        changed = self._changed.get(position)
        if changed is not None:
            return changed
        assert self._base is not None  # positions below the base's length exist only with one
        return self._base.image(position)

    def get(self, image_id: str) -> Image | None:
        """The image of this id, archived ones too; None where there is none."""
        position = self._position(image_id)
        return None if position is None else self.at(position)

    def _position(self, image_id: str) -> int | None:
        position = self._positions.get(image_id)
        if position is None and self._base is not None:
            position = self._base.index_of(image_id)
            if position is not None and (position >= self._base_length or position in self._removed):
                return None
        return position

    def select(
        self,
        *,
        status: str | None = None,
        split: str | None = None,
        directory_path: str | None = None,
        filename: str | None = None,
        archived: bool = False,
    ) -> Sequence[int]:
        """Positions of the images that match, oldest first. Kept until the next change."""
        if filename is not None:
            return [
                position
                for position in self._named(filename)
                if self._matches(position, status, split, directory_path, archived)
            ]
        key = (status, split, directory_path, archived)
        view = self._views.get(key)
        if view is None:
            if key[:3] == (None, None, None) and (archived or not self.totals.archived):
                view = self._live
            else:
                view = array("q", self._scan(status, split, directory_path, archived))
            self._views[key] = view
        return view

    def _scan(
        self, status: str | None, split: str | None, directory_path: str | None, archived: bool
    ) -> Iterator[int]:
        wanted = (status, split, directory_path, archived)
        if self._base is not None:
            untouched = self._base.matching(status, split, directory_path)
            changed = sorted(p for p in self._changed if self._matches(p, *wanted))
            aside = self._removed | self._changed.keys()
            yield from heapq.merge((p for p in untouched if p not in aside), changed) if aside else untouched
        yield from (p for p in sorted(self._positions.values()) if self._matches(p, *wanted))

    def _matches(
        self, position: int, status: str | None, split: str | None, directory_path: str | None, archived: bool
    ) -> bool:
        image = self.at(position)
        return (
            (archived or not image.is_archived)
            and (status is None or image.status == status)
            and (split is None or image.split == split)
            and (directory_path is None or image.directory_path == directory_path)
        )

    def _named(self, filename: str) -> list[int]:
        found = [
            position
            for position in (self._base.candidates(filename) if self._base is not None else [])
            if position not in self._removed
            and position not in self._changed
            and self.at(position).filename == filename
        ]
        found += [position for position, image in self._changed.items() if image.filename == filename]
        return sorted(found) + self._filenames.get(filename, [])

    def by_path(self, path: str) -> Image | None:
        """The image that dialect c addresses by this path; the oldest where several share it."""
        cut = path.split("/")
        for start in range(len(cut) - 1, -1, -1):  # a root file may be named a/b.jpg
            filename = "/".join(cut[start:])
            for position in self._named(filename):
                image = self.at(position)
                if image.path == path and not image.is_archived:
                    return image
        return None

    def directories(self) -> dict[str, int]:
        """How many images lie directly in each directory, sorted; with parents, without the root."""
        found: Counter[str] = Counter()
        if self._base is not None:
            found = self._base.directories()
            found.subtract(
                self._base.image(p).directory_path
                for p in self._removed | self._changed.keys()
                if p < self._base_length
            )
        images = (*self._changed.values(), *map(self.at, self._positions.values()))
        found.update(image.directory_path for image in images if not image.is_archived)
        for path in [path for path, count in found.items() if count > 0]:
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts)):
                found.setdefault("/" + "/".join(parts[:depth]), 0)
        shown = {path for path, count in found.items() if count > 0}
        return {
            path: count
            for path, count in sorted(found.items())
            if path != "/" and (count > 0 or any(below.startswith(path + "/") for below in shown))
        }

    # changing

    def add(self, image: Image) -> None:
        """Append an image as the newest."""
        position = self._base_length + len(self._added)
        self._added.append(image)
        self._positions[image.id] = position
        self._filenames.setdefault(image.filename, []).append(position)
        if isinstance(self._live, array):
            self._live.append(position)
        else:
            self._live = range(position + 1)
        self._changes()
        self.totals.count(image, 1)

    def update(self, image_id: str, **changes: Any) -> Image:
        """Replace fields of one image; KeyError where there is none."""
        position = self._position(image_id)
        if position is None:
            raise KeyError(image_id)
        before = self.at(position)
        after = replace(before, **changes)
        self.totals.count(before, -1)
        self.totals.count(after, 1)
        if position < self._base_length:
            self._changed[position] = after
        else:
            self._added[position - self._base_length] = after
            self._forget_filename(before.filename, position)
            self._filenames.setdefault(after.filename, []).append(position)
        self._changes()
        return after

    def remove(self, image_id: str) -> Image:
        """Take one image out for good; KeyError where there is none."""
        position = self._position(image_id)
        if position is None:
            raise KeyError(image_id)
        image = self.at(position)
        self.totals.count(image, -1)
        self._live = array("q", (p for p in self._live if p != position))
        self._removed.add(position)
        self._changed.pop(position, None)
        if self._positions.pop(image_id, None) is not None:
            self._forget_filename(image.filename, position)
        self._changes()
        return image

    def _changes(self) -> None:
        self._views.clear()
        self.revision += 1

    def _forget_filename(self, filename: str, position: int) -> None:
        positions = self._filenames[filename]
        positions.remove(position)
        if not positions:
            del self._filenames[filename]


@dataclass(slots=True)
class Export:
    """One export; `stored` is its ZIP once it is completed and until it expires."""

    id: str
    dataset_id: str
    name: str
    format: str
    include_images: bool
    class_filter: list[str] | None
    status_filter: str | None
    status: str
    created_us: int
    completed_us: int | None = None
    expires_us: int | None = None
    error_message: str | None = None
    image_count: int | None = None
    annotation_count: int | None = None
    file_size: int | None = None  # stays when the ZIP has expired
    organize_by_split: bool = False
    stored: StoredObject | None = None


@dataclass(slots=True)
class Dataset:
    """A dataset (the service also says project)."""

    id: str
    name: str
    slug: str
    created_us: int
    updated_us: int
    images: ImageTable
    description: str | None = None
    classes: list[dict[str, Any]] = field(default_factory=list)
    annotation_types: list[str] = field(default_factory=lambda: ["bbox"])
    is_archived: bool = False
    storage_class: str = "standard"
    exports: dict[str, Export] = field(default_factory=dict)  # by name


@dataclass(slots=True)
class Organization:
    """The one organization of the API key."""

    id: str
    name: str
    slug: str
    created_us: int
    subscription_tier: str = "team"
