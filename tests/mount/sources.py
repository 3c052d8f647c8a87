"""Folders that an emulator serves: what a copy through a mount is compared with."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path

from PIL import Image

NESTED = "Straßen Ünïcode 東京"
BIG = "Big"
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


def _jpeg(color: int, side: int = 24) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (side, side), (color % 256, color // 7 % 256, color // 49 % 256)).save(body, "JPEG")
    return body.getvalue()


def nested(data: Path) -> Path:
    """2,000 pictures in nested folders with names of all kinds, an annotation for most, and an export."""
    root = data / NESTED
    chance = random.Random(7)
    pictures = [_jpeg(color * 37) for color in range(64)]
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
            archive.writestr(f"images/{number:03d}.jpg", _jpeg(number) + chance.randbytes(100_000))
    return root


def big(data: Path) -> Path:
    """10,500 small pictures: more than one call of the batch download names."""
    root = data / BIG
    for part in range(7):
        (root / "images" / f"part{part}").mkdir(parents=True)
    picture = _jpeg(3, side=8)
    for number in range(BIG_IMAGES):
        path = root / "images" / f"part{number % 7}" / f"{number:05d}.jpg"
        path.write_bytes(picture + number.to_bytes(8, "big") * (number % 5 + 1))
    return root


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
