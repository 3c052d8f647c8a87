"""What is drawn on an image: annotation bodies → frozen structs. Pure.

Pixels, from the upper left. A body is `{"annotations": […]}` (B, C, and A's document) or a bare array; the
oldest writers (SDK 0.1) wrote a box as `bbox: [x, y, w, h]` and points as `[x, y]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pictofs.api.documents import load
from pictofs.api.refusals import misshapen


class Point(NamedTuple):
    """A place."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle by its upper left corner."""

    x: float
    y: float
    w: float
    h: float


class OrientedBox(NamedTuple):
    """A rectangle by its centre, turned by `angle` as the service counts it."""

    cx: float
    cy: float
    w: float
    h: float
    angle: float


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """One annotation; `name` is its class. Of the shapes the one of its `type` is there, often the box too.

    `polygon` are its rings: the first is the outer one, the others are holes.
    """

    id: str = ""
    name: str = ""
    type: str = ""
    bounding_box: Box | None = None
    oriented_box: OrientedBox | None = None
    polygon: tuple[tuple[Point, ...], ...] = ()
    polyline: tuple[Point, ...] = ()
    keypoint: Point | None = None
    instance_id: str = ""
    confidence: float | None = None
    attributes: Mapping[str, Any] = msgspec.field(default_factory=dict)


def drawn(body: bytes) -> list[Annotation]:
    """The annotations of a body. ServerFault where it is none."""
    document = load(body)
    rows = document.get("annotations") if isinstance(document, Mapping) else document
    if not isinstance(rows, list):
        raise misshapen("an annotation body", "it holds no list of annotations")
    try:
        return [_annotation(row) for row in rows]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise misshapen("an annotation body", why)


def _annotation(row: Mapping[str, Any]) -> Annotation:
    box, oriented, instance = (row.get(name) for name in ("bounding_box", "oriented_box", "instance_id"))
    confidence, keypoint = row.get("confidence"), row.get("keypoint")
    box = row.get("bbox") if box is None else box
    return Annotation(
        id=str(row.get("id") or ""),
        name=str(row.get("name") or ""),
        type=str(row.get("type") or ""),
        bounding_box=None if box is None else Box(*_numbers(box, Box._fields)),
        oriented_box=None if oriented is None else OrientedBox(*_numbers(oriented, OrientedBox._fields)),
        polygon=_rings(row.get("polygon")),
        polyline=_ring(_within(row.get("polyline"), "path")),
        keypoint=None if keypoint is None else _point(keypoint),
        instance_id="" if instance is None else str(instance),
        confidence=None if confidence is None else float(confidence),
        attributes=dict(row.get("attributes") or {}),
    )


def _rings(shape: Any) -> tuple[tuple[Point, ...], ...]:
    if isinstance(shape, Mapping):
        return tuple(_ring(ring) for ring in shape.get("paths") or ())
    return (_ring(shape),) if shape else ()  # SDK 0.1: the outer ring alone


def _within(shape: Any, key: str) -> Any:
    return shape.get(key) if isinstance(shape, Mapping) else shape


def _ring(points: Any) -> tuple[Point, ...]:
    return tuple(_point(point) for point in points or ())


def _point(point: Any) -> Point:
    return Point(*_numbers(point, Point._fields))


def _numbers(value: Any, names: tuple[str, ...]) -> list[float]:
    found = [value[name] for name in names] if isinstance(value, Mapping) else [*value]
    if len(found) != len(names):
        raise ValueError(f"{len(found)} numbers where {len(names)} are meant")
    return [float(number) for number in found]
