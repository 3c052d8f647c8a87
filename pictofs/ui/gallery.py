"""Pictures of a mount a page at a time, and what is drawn on them; read through the mount, as by anybody.

The folders are those of the mount: organizations, datasets, `images/` and what is in it. An annotation costs
a request to the API the first time, so it is read when its picture is looked at, and not at all where the
service says that there is none.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from cachetools import TTLCache

from pictofs.api.documents import NotJson
from pictofs.api.shapes import Annotation, Point, drawn
from pictofs.errors import NotFound, ServerFault, UsageError
from pictofs.ui.below import opened

PAGE = 24
PAGES_LIMIT = 96
LISTINGS, LISTED_S = 8, 10.0  # to turn the pages of a folder of 200,000 without listing it each time
BODY_LIMIT_BYTES = 32 << 20
# What browsers show. No SVG: it is a program.
TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif",
    ".webp": "image/webp", ".bmp": "image/bmp", ".avif": "image/avif",
}  # fmt: skip
_IMAGES, _ANNOTATIONS = "images", "annotations"
_ORGANIZATION, _DATASET, _FACE = range(3)
_FACTS = ("status", "split", "width", "height", "annotation_count", "cached")

Listing = tuple[list[str], list[str]]


def content_type(name: str) -> str | None:
    """What a picture is by its name; None where no browser shows it."""
    return TYPES.get(PurePosixPath(name).suffix.lower())


class Gallery:
    """Listings are kept for a moment; nothing else is."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._listings: TTLCache[tuple[str, ...], Listing] = TTLCache(LISTINGS, LISTED_S, timer=clock)
        self._lock = threading.Lock()  # of the cache, never held across a listing

    def page(self, mountpoint: str, parts: Sequence[str], offset: int, limit: int = PAGE) -> dict[str, Any]:
        """Folders and pictures of a folder, from the `offset`-th picture on. OSError as the mount says."""
        folders, files = self._listing(mountpoint, tuple(parts))
        limit = max(1, min(limit, PAGES_LIMIT))
        offset = max(0, offset)
        shown = files[offset : offset + limit]
        return {
            "path": "/".join(parts),
            "folders": folders,
            "pictures": [self._picture(mountpoint, parts, name) for name in shown],
            "offset": offset,
            "total": len(files),
        }

    def place(self, mountpoint: str, dataset: str) -> str:
        """The folder of a dataset's images, of whichever organization; NotFound."""
        organizations, _ = self._listing(mountpoint, ())
        for organization in organizations:
            parts = (organization, dataset, _IMAGES)
            try:
                with opened(mountpoint, parts, os.O_DIRECTORY):
                    return "/".join(parts)
            except OSError:
                continue
        raise NotFound(f"no dataset {dataset!r} with images is on {mountpoint}")

    def shapes(self, mountpoint: str, parts: Sequence[str]) -> list[dict[str, Any]]:
        """What is drawn on a picture: name, rings, lines and points in pixels of the picture.

        NotFound where it has no annotation file; ServerFault where its body is none.
        """
        if len(parts) <= _FACE + 1 or parts[_FACE] != _IMAGES:
            raise UsageError("that is no picture of a dataset")
        *folder, name = parts
        folder[_FACE] = _ANNOTATIONS
        with opened(mountpoint, parts) as picture:
            identity = _xattr(picture, "id")
        # Of two images with one stem, the file of one has the whole name and .json.
        for candidate in (f"{name}.json", f"{PurePosixPath(name).stem}.json"):
            body = _body(mountpoint, (*folder, candidate), identity)
            if body is not None:
                try:
                    return [_shape(annotation) for annotation in drawn(body)]
                except NotJson:
                    raise ServerFault(f"{candidate} is no annotation file") from None
        raise NotFound(f"{name} has no annotation file")

    def _listing(self, mountpoint: str, parts: tuple[str, ...]) -> Listing:
        key = (mountpoint, *parts)
        with self._lock:
            known = self._listings.get(key)
        if known is not None:
            return known
        folders, files = [], []
        with opened(mountpoint, parts, os.O_DIRECTORY) as folder, os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif len(parts) > _FACE and entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
        if len(parts) == _DATASET + 1:
            folders = [name for name in folders if name == _IMAGES]
        found = sorted(folders), sorted(files)
        with self._lock:
            self._listings[key] = found
        return found

    def _picture(self, mountpoint: str, parts: Sequence[str], name: str) -> dict[str, Any]:
        shown = {"name": name, "shown": content_type(name) is not None}
        try:
            with opened(mountpoint, (*parts, name)) as file:
                facts = {fact: _xattr(file, fact) for fact in _FACTS}
        except OSError as error:
            return {**shown, "error": error.strerror}
        return {**shown, **{fact: value for fact, value in facts.items() if value is not None}}


def _xattr(file: int, name: str) -> str | None:
    try:
        return os.getxattr(file, f"user.pictofs.{name}").decode("utf-8", "replace")
    except OSError:
        return None  # not known; of the driver fusepy and of an overlay, perhaps never


def _body(mountpoint: str, parts: Sequence[str], identity: str | None) -> bytes | None:
    try:
        with opened(mountpoint, parts) as file:
            of_picture = _xattr(file, "id")
            if identity and of_picture and identity != of_picture:
                return None
            with open(file, "rb", closefd=False) as body:
                return body.read(BODY_LIMIT_BYTES)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _shape(annotation: Annotation) -> dict[str, Any]:
    """As the page draws it. A box is drawn where there is nothing closer to the thing itself."""
    rings = [_places(ring) for ring in annotation.polygon]
    box = annotation.bounding_box
    closer = rings or annotation.polyline or annotation.keypoint or annotation.oriented_box
    return {
        "name": annotation.name,
        "rings": rings,
        "line": _places(annotation.polyline),
        "point": None if annotation.keypoint is None else list(annotation.keypoint),
        "oriented": None if annotation.oriented_box is None else list(annotation.oriented_box),
        "box": None if box is None or closer else list(box),
    }


def _places(points: Sequence[Point]) -> list[list[float]]:
    return [[point.x, point.y] for point in points]
