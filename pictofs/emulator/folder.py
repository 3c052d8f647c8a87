"""`--data DIR`: folders of pictures served as datasets.

A folder with `images/` is a dataset with `annotations/**.json` (by stem, or by full filename) and
`exports/*.zip` beside it. A folder that holds pictures is a dataset too, annotations being `<stem>.json` next
to the picture. DIR is one dataset when it is such a folder itself, else each folder in it is. `dataset.json`
may give description, slug, classes, annotation_types, is_archived and storage_class. Nothing is ever written
to the folder.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from PIL import Image as Picture

from pictofs.emulator.content import CONTENT_TYPES, FileContent, StoredObject, content_type_of
from pictofs.emulator.identity import EPOCH_US, named_id, slug_of
from pictofs.emulator.model import Annotation, Dataset, Export, Image, ImageTable
from pictofs.emulator.service import export_key, image_key
from pictofs.errors import UsageError

PICTURES = frozenset(CONTENT_TYPES) - {".zip"}
_BESIDE = ("annotations", "exports")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_DETAILS = ("description", "slug", "classes", "annotation_types", "is_archived", "storage_class")
_LIFE_US = (
    100 * 365 * 24 * 3600 * 1_000_000
)  # a ZIP that somebody put there does not expire while it is served


def folder_datasets(root: Path, seed: int) -> list[Dataset]:
    """The datasets below `root`, by name. Raises `UsageError` where there is nothing to serve."""
    root = root.resolve()
    if _is_dataset(root):
        return [_dataset(root, seed)]
    found = [
        _dataset(folder, seed)
        for folder in sorted(root.iterdir())
        if _visible(folder) and _holds_pictures(folder)
    ]
    if not found:
        raise UsageError(f"--data {root}: no folder of pictures in it")
    return found


def _visible(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _is_dataset(folder: Path) -> bool:
    return (folder / "images").is_dir() or any(
        _is_picture(path.name) and path.is_file() for path in folder.iterdir()
    )


def _holds_pictures(folder: Path) -> bool:
    return (folder / "images").is_dir() or next(_files(folder, _is_picture), None) is not None


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURES


def _files(root: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    # Sorted, so that ties of equal mtimes always fall the same way. A name that is no UTF-8 is not for JSON.
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if wanted(name) and path.is_file():
                if str(path).encode(errors="replace").decode() == str(path):
                    yield path
                else:
                    _note(path, "its name is not UTF-8, left out")


def _note(path: Path, what: str) -> None:
    print(f"pictofs emulator: {os.fsencode(path).decode(errors='backslashreplace')}: {what}", file=sys.stderr)


def _dataset(folder: Path, seed: int) -> Dataset:
    identity = named_id("folder", seed, folder.name)
    nested = (folder / "images").is_dir()
    images = folder / "images" if nested else folder
    paths = list(_files(images, (lambda name: not name.startswith(".")) if nested else _is_picture))
    if not nested:
        paths = [path for path in paths if path.relative_to(folder).parts[0] not in _BESIDE]
    annotations = folder / "annotations" if nested else folder
    twins = Counter((path.parent, path.stem) for path in paths)
    table, seen = ImageTable(), Counter[tuple[str, str]]()
    created_us = 0
    for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, str(path))):
        created_us = max(created_us + 1, path.stat().st_mtime_ns // 1000)
        relative = PurePosixPath(path.relative_to(images))
        sidecar = _sidecar(annotations / relative.parent, relative, twins[(path.parent, path.stem)] == 1)
        table.add(_image(identity, seed, path, relative, sidecar, created_us, seen))
    oldest = next((image.created_us for image in table), EPOCH_US)
    dataset = Dataset(
        identity, folder.name, slug_of(folder.name, identity), oldest, max(created_us, oldest), table
    )
    dataset.classes = [{"name": name, "type": kind, "color": _color(name)} for name, kind in sorted(seen)]
    dataset.annotation_types = sorted({kind for _, kind in seen}) or ["bbox"]
    for name, value in _details(folder / "dataset.json").items():
        setattr(dataset, name, value)
    if (folder / "exports").is_dir():
        for path in _files(folder / "exports", lambda name: name.endswith(".zip")):
            export = _export(dataset.id, seed, path)
            dataset.exports.setdefault(export.name, export)
    return dataset


def _details(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        read = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError:
        read = None
    if not isinstance(read, dict):
        _note(path, "not a JSON object, left out")
        return {}
    return {name: read[name] for name in _DETAILS if read.get(name) is not None}


def _sidecar(folder: Path, relative: PurePosixPath, only_stem: bool) -> Path | None:
    by_name = folder / f"{relative.name}.json"
    if by_name.is_file():
        return by_name
    by_stem = folder / f"{relative.stem}.json"
    return by_stem if only_stem and by_stem.is_file() else None


def _read_annotations(path: Path) -> list[Annotation]:
    """The annotations of one file: a list, or an object that holds one; anything else has none."""
    try:
        read = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, OSError):
        return []
    found = read.get("annotations") if isinstance(read, dict) else read
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _image(
    dataset_id: str,
    seed: int,
    path: Path,
    relative: PurePosixPath,
    sidecar: Path | None,
    created_us: int,
    seen: Counter[tuple[str, str]],
) -> Image:
    annotations = _read_annotations(sidecar) if sidecar is not None else []
    seen.update((str(each.get("name", "")), str(each.get("type", "bbox"))) for each in annotations)
    image_id = named_id("image", seed, dataset_id, relative)
    width, height = dimensions(path)
    directory_path = "/" + "/".join(relative.parts[:-1])
    split = next(
        (_SPLIT_FOLDERS[part.lower()] for part in relative.parts[:-1] if part.lower() in _SPLIT_FOLDERS), None
    )
    return Image(
        image_id,
        dataset_id,
        relative.name,
        directory_path,
        "complete" if annotations else "new",
        split,
        (),
        len(annotations),
        width,
        height,
        created_us,
        StoredObject(
            image_key(dataset_id, image_id, relative.name),
            FileContent(path),
            content_type_of(relative.name),
            created_us,
            created_us,
        ),
        (lambda: _read_annotations(sidecar)) if sidecar is not None else list,
    )


def dimensions(path: Path) -> tuple[int, int]:
    """Width and height in pixels from a picture's header; zeros where it is none."""
    try:
        with Picture.open(path) as picture:
            width, height = picture.size
            return width, height
    except (OSError, ValueError, SyntaxError):
        return 0, 0


def _color(name: str) -> str:
    return "#" + named_id("color", name)[:6]


def _export(dataset_id: str, seed: int, path: Path) -> Export:
    export_id = named_id("export", seed, dataset_id, path.stem)
    made_us = path.stat().st_mtime_ns // 1000
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except zipfile.BadZipFile:
        members = []
    pictures = sum(_is_picture(name) for name in members)
    stored = StoredObject(
        export_key(dataset_id, export_id, path.stem), FileContent(path), "application/zip", made_us, made_us
    )
    return Export(
        export_id,
        dataset_id,
        path.stem,
        "pictograph",
        pictures > 0,
        None,
        None,
        "completed",
        made_us,
        completed_us=made_us,
        expires_us=made_us + _LIFE_US,
        image_count=pictures or sum(name.endswith(".json") for name in members),
        file_size=stored.size,
        stored=stored,
    )
