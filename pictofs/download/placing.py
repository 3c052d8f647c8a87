"""Which files a download has, and where they go: the names that the same files have on a mount. Pure.

Of a listing that is whole: a directory keeps its plain name; of the images that want one name the first by
(created_at, id) has it, then the others in that order take what their marks give them. Annotations are named
in the same way after their images' files: `<stem>.json`, then `<filename>.json`, then marks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pictofs import names
from pictofs.api import Dataset, DownloadFailure, DownloadReport, Image
from pictofs.errors import UsageError

IMAGE, ANNOTATION = "image", "annotation"
FOLDERS = {IMAGE: "images", ANNOTATION: "annotations"}
KINDS = {"full": (IMAGE, ANNOTATION), "images_only": (IMAGE,), "annotations_only": (ANNOTATION,)}
_ZIP, _STATUS = ".zip", ".status.json"
# On a mount an export's archive stands beside `<export>.status.json`, and both must fit.
_LONGEST_ZIP_BYTES = names.LIMIT_BYTES - len(_STATUS) + len(_ZIP)
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """One file to be written: of which image, and its path below the dataset's folder."""

    kind: str
    image: Image
    path: str


def folder_name(dataset: Dataset) -> str:
    """What the dataset's folder is called."""
    name = dataset.name or dataset.slug or dataset.id
    return names.fit(names.encode(name), names.tag(dataset.id, "dataset", name))


def archive_name(name: str, export_id: str) -> str:
    """What an export's archive is called."""
    return names.fit(names.encode(name) + _ZIP, names.tag(export_id, "export", name), _LONGEST_ZIP_BYTES)


def files(images: Sequence[Image], mode: str) -> list[File]:
    """Every file of these images, image by image."""
    return [
        File(kind, image, f"{FOLDERS[kind]}/{path[kind]}")
        for image, path in zip(images, settle(images), strict=True)
        for kind in KINDS[mode]
    ]


def again(images: Iterable[Image], report: DownloadReport) -> tuple[list[File], list[DownloadFailure]]:
    """(the files that failed in a report, under the names of then; failures whose image is gone since).

    UsageError for a report that was tampered with.
    """
    wanted: dict[object, list[DownloadFailure]] = {}
    for failure in report.failures:
        _check(failure)
        wanted.setdefault(_identity(failure), []).append(failure)
    found = [
        File(failure.kind, image, failure.path)
        for image in images
        for failure in wanted.pop(_identity(image), ())
    ]
    return found, [failure for left in wanted.values() for failure in left]


def _check(failure: DownloadFailure) -> None:
    first, *below = failure.path.split("/")
    if first != FOLDERS.get(failure.kind) or not below or {"", ".", ".."} & {*below}:
        raise UsageError(f"the report names no file of a dataset: {failure.path!r}")


def _identity(of: Image | DownloadFailure) -> object:
    return of.id or (names.directories(of.directory_path), of.filename)


def settle(images: Sequence[Image]) -> list[dict[str, str]]:
    """For each image its file's path and its annotation's, below their folders, as {kind: path}."""
    here: dict[_Path, list[int]] = {}
    for at, image in enumerate(images):
        here.setdefault(names.directories(image.directory_path), []).append(at)
    folders, inside = _folders(here)
    settled: list[dict[str, str]] = [{} for _ in images]
    for where, members in here.items():
        members.sort(key=lambda at: (images[at].created_ns, images[at].id))
        marks = {at: names.tag(images[at].id, *where, images[at].filename, at) for at in members}
        plain = {at: names.encode(images[at].filename) for at in members}
        taken = inside.get(where, set())
        named = assign({at: (plain[at], plain[at]) for at in members}, marks, taken)
        stems = {at: (f"{names.split_extension(named[at])[0]}.json", f"{named[at]}.json") for at in members}
        bodies = assign(stems, marks, taken)
        above = "".join(f"{part}/" for part in folders[where])
        for at in members:
            settled[at] = {IMAGE: above + named[at], ANNOTATION: above + bodies[at]}
    return settled


def _folders(paths: Iterable[_Path]) -> tuple[dict[_Path, _Path], dict[_Path, set[str]]]:
    """(remote directory → its path here, remote directory → the names of the directories in it)."""
    folders: dict[_Path, _Path] = {(): ()}
    inside: dict[_Path, set[str]] = {}
    for path in sorted(paths):
        for depth in range(1, len(path) + 1):
            whole, parent = path[:depth], path[: depth - 1]
            if whole not in folders:
                taken = inside.setdefault(parent, set())
                mark = names.tag("", "directory", "/" + "/".join(map(names.encode, whole)))
                name = names.settle([("", names.encode(whole[-1]), mark)], taken)[""]
                taken.add(name)
                folders[whole] = (*folders[parent], name)
    return folders, inside


def assign(wanted: dict[int, tuple[str, str]], marks: dict[int, str], taken: set[str]) -> dict[int, str]:
    """Names for those who want (a plain one, one to be marked where that is another's), in their order.

    The first to want a plain name has it, unless it is taken; then come the others.
    """
    named: dict[int, str] = {}
    used = set(taken)
    for key, (plain, _) in wanted.items():
        name = names.fit(plain, marks[key])
        if name not in used:
            used.add(name)
            named[key] = name
    for key, (_, second) in wanted.items():
        if key not in named:
            mark = marks[key]
            choices = itertools.chain(
                (names.fit(second, mark), names.marked(second, mark)),
                (names.marked(second, f"{mark}-{ordinal}") for ordinal in itertools.count(2)),
            )
            named[key] = next(name for name in choices if name not in used)
            used.add(named[key])
    return named
