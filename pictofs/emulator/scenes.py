"""`--generate N`: street scenes drawn with Pillow, whose boxes and polygons are true to the pixel.

Everything depends on (seed, index): shapes, noise, names, statuses, splits, tags, ids and times. Objects
stand in columns of their own, so none hides another and every annotation is what a perfect annotator would
draw.
"""

from __future__ import annotations

import hashlib
import io
import math
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from PIL import Image as Picture
from PIL import ImageDraw

from pictofs.emulator.content import FileContent, StoredObject
from pictofs.emulator.identity import EPOCH_US, named_id, slug_of
from pictofs.emulator.model import Annotation, Dataset, Image, ImageTable
from pictofs.emulator.service import image_key

NAME = "Street Scenes"
WIDTH, HEIGHT = 640, 480
COLORS = {
    "car": (200, 40, 40),
    "person": (40, 160, 60),
    "building": (90, 90, 150),
    "roundabout": (230, 200, 40),
    "lane": (250, 250, 250),
    "lamp": (255, 120, 220),
}
_TYPES = {
    "car": "bbox",
    "person": "polygon",
    "building": "polygon",
    "roundabout": "polygon",
    "lane": "polyline",
    "lamp": "keypoint",
}
_DIRECTORIES = ("/", "/day", "/day/rain", "/night", "/night/rain")
_HORIZON, _ROAD = 200, 330
_COLUMNS = 5
_MINUTE_US = 60_000_000

Point = tuple[float, float]


def classes() -> list[dict[str, str]]:
    """The class list of the dataset, with colours as drawn."""
    return [
        {"name": name, "type": _TYPES[name], "color": "#{:02x}{:02x}{:02x}".format(*color)}
        for name, color in COLORS.items()
    ]


class _Scene:
    """One scene while it is drawn: the picture and what is truly in it."""

    def __init__(self, seed: int, index: int) -> None:
        self.key = f"{seed}:{index}"
        self.random = random.Random(self.key)
        self.picture = Picture.new("RGB", (WIDTH, HEIGHT), (120, 125, 120))
        self.pen = ImageDraw.Draw(self.picture)
        self.annotations: list[Annotation] = []

    def note(self, name: str, **geometry: object) -> None:
        identity = named_id("annotation", self.key, len(self.annotations))
        self.annotations.append(
            {
                "id": identity,
                "name": name,
                "type": _TYPES[name],
                **geometry,
                "confidence": 1.0,
                "attributes": [],
            }
        )

    def background(self) -> None:
        night = self.random.random() < 0.3
        for y in range(_HORIZON):
            shade = y * 60 // _HORIZON
            self.pen.line(
                [(0, y), (WIDTH, y)],
                (15 + shade, 20 + shade, 60 + shade) if night else (110 + shade, 150 + shade, 200),
            )
        self.pen.rectangle((0, _HORIZON, WIDTH, _ROAD), (120, 125, 120))
        self.pen.rectangle((0, _ROAD, WIDTH, HEIGHT), (60, 60, 62))

    def lane(self) -> None:
        y = self.random.randint(_ROAD + 115, HEIGHT - 12)
        path = [(0.0, float(y)), (WIDTH / 2, float(y - 3)), (WIDTH - 1.0, float(y))]
        self.pen.line(path, COLORS["lane"], width=3)
        box = {"x": 0.0, "y": y - 3.0, "w": WIDTH - 1.0, "h": 3.0}
        self.note("lane", bounding_box=box, polyline={"path": [_point(p) for p in path]})

    def car(self, left: int, right: int) -> None:
        width = self.random.randint(60, right - left - 8)
        x, y = self.random.randint(left, right - width), self.random.randint(_ROAD + 10, _ROAD + 40)
        height = self.random.randint(30, 50)
        self.pen.rectangle((x, y, x + width - 1, y + height - 1), COLORS["car"])
        self.note("car", bounding_box={"x": float(x), "y": float(y), "w": float(width), "h": float(height)})

    def person(self, left: int, right: int) -> None:
        center = self.random.randint(left + 20, right - 20)
        foot, tall = _ROAD - 4, self.random.randint(50, 90)
        ring = [
            (center - 12, foot),
            (center - 16, foot - tall * 2 // 3),
            (center, foot - tall),
            (center + 16, foot - tall * 2 // 3),
            (center + 12, foot),
        ]
        self.polygon("person", [[(float(x), float(y)) for x, y in ring]])

    def building(self, left: int, right: int) -> None:
        top, eaves = self.random.randint(60, 110), self.random.randint(115, 140)
        middle = (left + right) // 2
        ring = [
            (left + 6, _HORIZON),
            (left + 6, eaves),
            (middle, top),
            (right - 6, eaves),
            (right - 6, _HORIZON),
        ]
        self.polygon("building", [[(float(x), float(y)) for x, y in ring]])

    def roundabout(self, left: int, right: int) -> None:
        center, radius = ((left + right) / 2, 270.0), self.random.uniform(34, 46)
        self.polygon(
            "roundabout", [_circle(center, radius), _circle(center, radius / 2)], hole=(120, 125, 120)
        )

    def lamp(self, left: int, right: int) -> None:
        x, y = self.random.randint(left + 8, right - 8), self.random.randint(218, 240)
        self.pen.rectangle((x - 2, y - 2, x + 2, y + 2), COLORS["lamp"])
        self.note("lamp", keypoint={"x": float(x), "y": float(y)})

    def polygon(self, name: str, rings: list[list[Point]], hole: tuple[int, int, int] | None = None) -> None:
        self.pen.polygon(rings[0], COLORS[name])
        for ring in rings[1:]:
            self.pen.polygon(ring, hole)
        xs, ys = [x for x, _ in rings[0]], [y for _, y in rings[0]]
        box = {"x": min(xs), "y": min(ys), "w": max(xs) - min(xs), "h": max(ys) - min(ys)}
        self.note(name, bounding_box=box, polygon={"paths": [[_point(p) for p in ring] for ring in rings]})

    def encode(self) -> bytes:
        noise = Picture.frombytes(
            "L", (WIDTH, HEIGHT), hashlib.shake_128(self.key.encode()).digest(WIDTH * HEIGHT)
        )
        grained = Picture.blend(self.picture, noise.convert("RGB"), 0.08)
        body = io.BytesIO()
        grained.save(body, "JPEG", quality=82)
        return body.getvalue()


def _point(point: Point) -> dict[str, float]:
    return {"x": point[0], "y": point[1]}


def _circle(center: Point, radius: float) -> list[Point]:
    turns = [2 * math.pi * step / 24 for step in range(24)]
    return [
        (round(center[0] + radius * math.cos(t), 1), round(center[1] + radius * math.sin(t), 1))
        for t in turns
    ]


def draw(seed: int, index: int) -> tuple[bytes, list[Annotation]]:
    """JPEG bytes and true annotations of one scene; every fifth scene is an empty street."""
    scene = _Scene(seed, index)
    scene.background()
    if index % 5 != 4:
        scene.lane()
        edges = [WIDTH * column // _COLUMNS for column in range(_COLUMNS + 1)]
        for left, right in pairwise(edges):
            for choose in (
                (scene.building,),
                (scene.person, scene.roundabout, scene.lamp),
                (scene.car, None),
            ):
                shape = scene.random.choice(choose)
                if shape is not None:
                    shape(left, right)
    return scene.encode(), scene.annotations


def generated(count: int, seed: int, scratch: Path) -> Dataset:
    """The dataset of `count` scenes; the pictures are written below `scratch`, which must outlive it."""
    identity = named_id("generated dataset", seed)
    folder = scratch / "scenes"
    folder.mkdir()
    table = ImageTable()

    def one(index: int) -> Image:
        body, annotations = draw(seed, index)
        path = folder / f"{index}.jpg"
        path.write_bytes(body)
        return _image(identity, seed, index, path, annotations)

    with ThreadPoolExecutor(2) as pool:  # encoding a JPEG works outside the interpreter lock
        drawn: Iterable[Image] = pool.map(one, range(count))
        for image in drawn:
            table.add(image)
    created_us = EPOCH_US
    return Dataset(
        identity,
        NAME,
        slug_of(NAME, identity),
        created_us,
        created_us + (count + 1) * _MINUTE_US,
        table,
        description="Drawn street scenes with true boxes and polygons",
        classes=[dict(each) for each in classes()],
        annotation_types=["bbox", "polygon", "polyline", "keypoint"],
    )


def _image(dataset_id: str, seed: int, index: int, path: Path, annotations: list[Annotation]) -> Image:
    pick = random.Random(f"{seed}:{index}:row")
    filename = f"scene_{index:05d}.jpg"
    image_id = named_id("scene", seed, index)
    created_us = EPOCH_US + (index + 1) * _MINUTE_US
    stored = StoredObject(
        image_key(dataset_id, image_id, filename), FileContent(path), "image/jpeg", created_us, created_us
    )
    return Image(
        image_id,
        dataset_id,
        filename,
        _DIRECTORIES[(index + index // 5) % len(_DIRECTORIES)],
        "new" if not annotations else pick.choice(("complete", "complete", "review", "annotate")),
        pick.choice(("train", "train", "train", "val", "test", None)),
        tuple(sorted(pick.sample(("dusk", "wet", "busy", "checked"), pick.randint(0, 2)))),
        len(annotations),
        WIDTH,
        HEIGHT,
        created_us,
        stored,
        lambda: annotations,
    )
