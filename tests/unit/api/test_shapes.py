from __future__ import annotations

import json
from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Annotation, Image
from pictofs.api.shapes import Box, OrientedBox, Point, drawn
from tests.unit.api.scripted import client_of


def body(*rows: Any) -> bytes:
    return json.dumps({"annotations": rows}).encode()


def test_every_shape_is_read() -> None:
    found = drawn(
        body(
            {"id": "1", "name": "car", "type": "bbox", "bounding_box": {"x": 1, "y": 2.5, "w": 3, "h": 4}},
            {
                "type": "polygon",
                "polygon": {"paths": [[{"x": 0, "y": 0}, {"x": 9, "y": 0}], [{"x": 1, "y": 1}]]},
            },
            {"type": "polyline", "polyline": {"path": [{"x": 0, "y": 1}]}, "confidence": 0.5},
            {
                "type": "keypoint",
                "keypoint": {"x": 7, "y": 8},
                "attributes": {"hidden": True},
                "instance_id": 3,
            },
            {"type": "bbox", "oriented_box": {"cx": 1, "cy": 2, "w": 3, "h": 4, "angle": 90}},
        )
    )
    assert found[0] == Annotation(id="1", name="car", type="bbox", bounding_box=Box(1, 2.5, 3, 4))
    assert found[1].polygon == ((Point(0, 0), Point(9, 0)), (Point(1, 1),))
    assert (found[2].polyline, found[2].confidence) == ((Point(0, 1),), 0.5)
    assert (found[3].keypoint, found[3].attributes, found[3].instance_id) == (
        Point(7, 8),
        {"hidden": True},
        "3",
    )
    assert found[4].oriented_box == OrientedBox(1, 2, 3, 4, 90)


def test_what_the_oldest_writers_wrote_is_read() -> None:
    found = drawn(
        body({"type": "bbox", "bbox": [1, 2, 3, 4]}, {"type": "polygon", "polygon": [[0, 0], [1, 1]]})
    )
    assert found[0].bounding_box == Box(1, 2, 3, 4)
    assert found[1].polygon == ((Point(0, 0), Point(1, 1)),)
    assert drawn(b"[]") == []


@pytest.mark.parametrize(
    "bad",
    [
        b"5",
        b"{}",
        b'{"annotations": 3}',
        b'{"annotations": [3]}',
        body({"bbox": [1]}),
        body({"keypoint": {"x": "a", "y": 1}}),
        body({"polygon": {"paths": [[{"x": 1}]]}}),
        body({"polyline": 5}),
    ],
)
def test_what_is_none_is_a_fault_of_the_service(bad: bytes) -> None:
    with pytest.raises(errors.ServerFault):
        drawn(bad)


def test_an_image_and_its_dataset_may_be_named() -> None:
    rows = {
        "/datasets/Street": {"data": {"id": "d-1", "name": "Street"}},
        "/images/": {"data": [{"id": "i-1", "filename": "a.jpg"}], "pagination": {"has_more": False}},
        "/annotations/Street/a.jpg": {"annotations": [{"name": "car", "type": "bbox"}]},
    }
    client, wire, _ = client_of(lambda asked: rows[asked.path])
    assert [each.name for each in client.annotations.list("Street", "a.jpg")] == ["car"]
    assert client.annotations.list("Street", Image(filename="a.jpg"))[0].type == "bbox"
    assert wire.paths.count("/images/") == 1
