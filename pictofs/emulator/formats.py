"""What an export's labels look like in each format, as the members of its ZIP.

`pictograph` holds one document per image, `annotations/<directory>/<stem>.json` (`<filename>.json` for the
later of two images that share a stem), and `dataset.json`. The others follow their own documents: COCO
instances, Ultralytics YOLO (boxes and polygons), Pascal VOC XML, a CSV of boxes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

import msgspec

from pictofs.emulator.model import Annotation, Dataset, Image, joined


class Sample(NamedTuple):
    """One image of an export with the annotations that go with it."""

    image: Image
    annotations: list[Annotation]


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    body: bytes


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _stems(samples: list[Sample]) -> Iterator[tuple[Sample, str]]:
    # Each sample with directory/stem, or directory/filename where another image has that stem already.
    taken: set[str] = set()
    for sample in samples:
        image = sample.image
        stem = joined(image.directory_path, image.filename.rpartition(".")[0] or image.filename)
        if stem in taken:
            stem = image.path
        taken.add(stem)
        yield sample, stem


def _pictograph(dataset: Dataset, samples: list[Sample]) -> Iterator[Member]:
    yield Member(
        "dataset.json",
        _json(
            {"id": dataset.id, "name": dataset.name, "classes": dataset.classes, "image_count": len(samples)}
        ),
    )
    for sample, stem in _stems(samples):
        image = sample.image
        document = {
            "image": {
                "id": image.id,
                "filename": image.filename,
                "directory_path": image.directory_path,
                "width": image.width,
                "height": image.height,
                "status": image.status,
                "split": image.split,
            },
            "annotations": sample.annotations,
        }
        yield Member(f"annotations/{stem}.json", _json(document))


def _class_numbers(dataset: Dataset, samples: list[Sample]) -> dict[str, int]:
    names = [str(each["name"]) for each in dataset.classes]
    names += sorted({str(a.get("name", "")) for sample in samples for a in sample.annotations} - set(names))
    return {name: number for number, name in enumerate(names)}


def _box(annotation: Annotation) -> tuple[float, float, float, float] | None:
    box = annotation.get("bounding_box")
    if isinstance(box, dict):
        return float(box["x"]), float(box["y"]), float(box["w"]), float(box["h"])
    box = annotation.get("bbox")  # the spelling of SDK 0.1
    if isinstance(box, list) and len(box) == 4:
        return float(box[0]), float(box[1]), float(box[2]), float(box[3])
    return None


def _rings(annotation: Annotation) -> list[list[float]]:
    polygon = annotation.get("polygon")
    if isinstance(polygon, dict):
        return [[value for point in ring for value in (point["x"], point["y"])] for ring in polygon["paths"]]
    if isinstance(polygon, list):  # the spelling of SDK 0.1
        return [[value for point in polygon for value in point]]
    return []


def _coco(dataset: Dataset, samples: list[Sample]) -> Iterator[Member]:
    numbers = _class_numbers(dataset, samples)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_number, (image, labels) in enumerate(samples, 1):
        images.append(
            {"id": image_number, "file_name": image.path, "width": image.width, "height": image.height}
        )
        for label in labels:
            box = _box(label)
            if box is None:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_number,
                    "category_id": numbers[str(label.get("name", ""))] + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "segmentation": _rings(label)[:1],
                }
            )
    categories = [{"id": number + 1, "name": name} for name, number in numbers.items()]
    yield Member(
        "annotations.json", _json({"images": images, "annotations": annotations, "categories": categories})
    )


def _outline(label: Annotation, sides: tuple[int, int]) -> list[tuple[float, float]]:
    """Corners of a polygon or a box in shares of the image, and within it: YOLO takes nothing else."""
    box, rings = _box(label), _rings(label)
    points: list[tuple[float, float]] = []
    if rings:
        points = list(zip(rings[0][::2], rings[0][1::2], strict=True))
    elif box is not None:
        x, y, w, h = box
        points = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    return [(min(max(x / sides[0], 0), 1), min(max(y / sides[1], 0), 1)) for x, y in points]


def _middle(outline: list[tuple[float, float]]) -> list[float]:
    """Centre and extent of a box given by its corners."""
    (left, top), (right, bottom) = outline[0], outline[2]
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _yolo(dataset: Dataset, samples: list[Sample]) -> Iterator[Member]:
    numbers = _class_numbers(dataset, samples)
    names = "".join(f"  {number}: {msgspec.json.encode(name).decode()}\n" for name, number in numbers.items())
    # Without a path: Ultralytics then starts from the folder of this file.
    yield Member("data.yaml", f"train: images\nval: images\nnames:\n{names}".encode())
    for (image, labels), stem in _stems(samples):
        sides = (image.width or 1, image.height or 1)
        shapes = [(label, _outline(label, sides)) for label in labels]
        # One polygon in a file, and Ultralytics reads all of the file as polygons.
        polygons = any(_rings(label) for label in labels)
        lines = []
        for label, outline in shapes:
            if outline:
                values = [value for point in outline for value in point] if polygons else _middle(outline)
                number = numbers[str(label.get("name", ""))]
                lines.append(f"{number} {' '.join(f'{value:.6f}' for value in values)}\n")
        yield Member(f"labels/{stem}.txt", "".join(lines).encode())


def _pascal_voc(dataset: Dataset, samples: list[Sample]) -> Iterator[Member]:
    for (image, labels), stem in _stems(samples):
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "folder").text = image.directory_path
        ElementTree.SubElement(root, "filename").text = image.filename
        size = ElementTree.SubElement(root, "size")
        for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
            ElementTree.SubElement(size, name).text = str(value)
        for label in labels:
            box = _box(label)
            if box is None:
                continue
            thing = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(thing, "name").text = str(label.get("name", ""))
            corners = ElementTree.SubElement(thing, "bndbox")
            x, y, w, h = box
            for name, edge in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
                ElementTree.SubElement(corners, name).text = f"{edge:g}"
        yield Member(f"annotations/{stem}.xml", ElementTree.tostring(root, "utf-8"))


def _csv(dataset: Dataset, samples: list[Sample]) -> Iterator[Member]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("path", "class", "type", "x", "y", "w", "h", "image_width", "image_height"))
    for image, labels in samples:
        for label in labels:
            box = _box(label) or ("", "", "", "")
            writer.writerow(
                (image.path, label.get("name", ""), label.get("type", ""), *box, image.width, image.height)
            )
    yield Member("annotations.csv", text.getvalue().encode())


FORMATS: dict[str, Callable[[Dataset, list[Sample]], Iterator[Member]]] = {
    "pictograph": _pictograph,
    "coco": _coco,
    "yolo": _yolo,
    "pascal_voc": _pascal_voc,
    "csv": _csv,
}
