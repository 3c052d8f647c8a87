"""Drawn scenes: deterministic, and what is marked is what is there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageDraw

from pictofs.emulator.scenes import COLORS, HEIGHT, WIDTH, draw, generated


def pixels(body: bytes) -> numpy.ndarray[Any, Any]:
    with Image.open(io.BytesIO(body)) as opened:
        return numpy.asarray(opened.convert("RGB")).astype(int)


def is_class(picture: numpy.ndarray[Any, Any], name: str) -> numpy.ndarray[Any, Any]:
    """Where the picture has the class' colour, as noise (8 %) and JPEG leave it."""
    drawn = numpy.array(COLORS[name]) * 0.92 + 0.08 * 127
    return numpy.abs(picture - drawn).max(axis=2) < 45


def mask(rings: list[list[dict[str, float]]]) -> numpy.ndarray[Any, Any]:
    canvas = Image.new("1", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(canvas)
    for number, ring in enumerate(rings):
        pen.polygon([(point["x"], point["y"]) for point in ring], int(number == 0))
    return numpy.asarray(canvas)


def test_a_scene_is_the_same_on_every_start_and_another_for_another_seed() -> None:
    assert draw(3, 1) == draw(3, 1)
    assert draw(3, 1)[0] != draw(4, 1)[0]


def test_every_fifth_scene_is_empty_and_the_others_hold_every_type() -> None:
    drawn = [draw(0, index)[1] for index in range(10)]
    assert [bool(labels) for labels in drawn] == [True, True, True, True, False] * 2
    types = {label["type"] for labels in drawn for label in labels}
    assert types == {"bbox", "polygon", "polyline", "keypoint"}
    assert any(
        len(label["polygon"]["paths"]) == 2 for ls in drawn for label in ls if label["type"] == "polygon"
    )


@pytest.mark.parametrize("index", range(4))
def test_boxes_hold_their_objects_to_the_pixel(index: int) -> None:
    body, labels = draw(0, index)
    cars = is_class(pixels(body), "car")
    for label in labels:
        if label["type"] == "bbox":
            x, y, w, h = (int(label["bounding_box"][name]) for name in "xywh")
            assert cars[y + 2 : y + h - 2, x + 2 : x + w - 2].mean() > 0.95
            outside = [cars[y - 3, x : x + w], cars[y + h + 2, x : x + w]]
            assert max(row.mean() for row in outside) < 0.2
            cars[max(0, y - 4) : y + h + 4, max(0, x - 4) : x + w + 4] = False
    assert cars[330:].mean() < 0.001  # and there is no car on the road without a box


@pytest.mark.parametrize("index", range(4))
def test_polygons_cover_their_objects_and_spare_their_holes(index: int) -> None:
    body, labels = draw(0, index)
    picture = pixels(body)
    polygons = [label for label in labels if label["type"] == "polygon"]
    assert polygons
    for label in polygons:
        covered = mask(label["polygon"]["paths"])
        assert is_class(picture, label["name"])[covered].mean() > 0.85
        for hole in label["polygon"]["paths"][1:]:
            assert is_class(picture, label["name"])[mask([hole])].mean() < 0.25
        xs = [point["x"] for point in label["polygon"]["paths"][0]]
        assert (label["bounding_box"]["x"], label["bounding_box"]["w"]) == (min(xs), max(xs) - min(xs))


def test_the_generated_dataset_has_directories_statuses_and_exact_sizes(tmp_path: Path) -> None:
    dataset = generated(25, 0, tmp_path)
    images = list(dataset.images)
    assert len({image.directory_path for image in images}) == 5
    assert len({image.status for image in images}) == 4
    assert len({image.split for image in images}) >= 3
    assert any(image.tags for image in images)
    for image in images:
        body = image.stored.content.read(0, image.stored.size)
        assert pixels(body).shape == (image.height, image.width, 3)
        assert image.annotation_count == len(image.load_annotations())
    assert [image.created_us for image in images] == sorted({image.created_us for image in images})
