"""Folders that an emulator serves: what a copy through a mount is compared with."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path

from PIL import Image

from pictofs.emulator.settings import EmulatorSettings
from pictofs.emulator.synthetic import synthetic

NESTED = "Straßen Ünïcode 東京"
BIG = "Synthetic"
NESTED_IMAGES = 2000
BIG_IMAGES = 10_500

_FOLDERS = ("train/día", "train/夜/深い/階層", "val/a b", "val/%41#?&", "test", "test/' \"")
_STEMS = (
    "plain",
    "mit Leerzeichen",
    "größe",
    "写真",
    "café",
    "cafe\u0301",
    "UPPER",
    "upper",
    "dots.in.it",
    "-dash",
)


def jpeg(color: int, side: int = 24) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (side, side), (color % 256, color // 7 % 256, color // 49 % 256)).save(body, "JPEG")
    return body.getvalue()


def nested(data: Path) -> Path:
    """2,000 pictures in nested folders with names of all kinds, an annotation for most, and an export."""
    root = data / NESTED
    chance = random.Random(7)
    pictures = [jpeg(color * 37) for color in range(64)]
    for number in range(NESTED_IMAGES):
        folder = _FOLDERS[number % len(_FOLDERS)]
        name = f"{_STEMS[number % len(_STEMS)]} {number:04d}"
        # Bytes behind a JPEG's end are no part of the picture: readers ignore them, a copy must not.
        body = pictures[number % 64] + chance.randbytes(chance.randrange(20_000))
        _write(root / "images" / folder / f"{name}.jpg", body, number)
        if number % 4:
            boxes = [
                {
                    "id": f"box-{number}-{place}",
                    "name": "ein 物",
                    "type": "bbox",
                    "bounding_box": {"x": place, "y": number / 7, "w": 3.5, "h": 4},
                }
                for place in range(number % 3 + 1)
            ]
            document = json.dumps({"annotations": boxes}, ensure_ascii=False)
            _write(root / "annotations" / folder / f"{name}.json", document.encode(), number)
    (root / "exports").mkdir()
    with zipfile.ZipFile(root / "exports" / "whole.zip", "w") as archive:
        for number in range(40):
            archive.writestr(f"images/{number:03d}.jpg", jpeg(number) + chance.randbytes(100_000))
    return root


def big(settings: EmulatorSettings) -> dict[str, bytes]:
    """Relative path → bytes of what an emulator of these settings makes on demand: 10,500 small pictures."""
    found = {}
    for image in synthetic(0, settings).images:
        path = f"{image.directory_path}/{image.filename}".lstrip("/")
        found[path] = bytes(image.stored.content.read(0, image.stored.size))
    return found


def _write(path: Path, body: bytes, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, ns=(0, 1_600_000_000_000_000_000 + number * 1_000_000_000))


def files(root: Path) -> dict[str, bytes]:
    """Relative path → bytes of every file below a folder."""
    found = {}
    for folder, _, names in os.walk(root, onerror=_raise):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


def _raise(error: OSError) -> None:
    raise error
