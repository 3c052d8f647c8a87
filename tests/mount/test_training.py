"""An export is a training directory: loaders of others read it by plain paths, in a process of their own.

Ultralytics and torchvision take gigabytes: `python -m tests.benchmarks trainers` trains with those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.installing import installed
from tests.mount.conftest import Make, Mount

pytestmark = [pytest.mark.mount, pytest.mark.sdk]
DATASET = "Street Scenes"
SCENES = 8
COCO = "2.0.11"
Truth = dict[str, list[dict[str, Any]]]

# As torchvision's CocoDetection does it: the index of pycocotools, an image at a time with its annotations.
LOADER = """
import json, sys
import numpy
from PIL import Image
from pycocotools.coco import COCO
folder = sys.argv[1]
coco = COCO(folder + "/annotations.json")
seen = []
for number in sorted(coco.imgs):
    image = coco.loadImgs(number)[0]
    with Image.open(f"{folder}/images/{image['file_name']}") as picture:
        pixels = numpy.asarray(picture.convert("RGB"))
    labels = coco.loadAnns(coco.getAnnIds(imgIds=number))
    masks = [int(coco.annToMask(label).sum()) for label in labels if label["segmentation"]]
    seen.append({"name": image["file_name"], "shape": pixels.shape, "mean": float(pixels.mean()),
                 "boxes": [label["bbox"] for label in labels], "masks": masks})
print(json.dumps({"seen": seen, "classes": [each["name"] for each in coco.loadCats(coco.getCatIds())]}))
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with start(EmulatorSettings(generate=SCENES, rate_limit=0)) as running:
        for form in ("coco", "yolo"):
            running.mutate("add_export", dataset=DATASET, name=form, format=form, include_images=True)
        yield running


@pytest.fixture(scope="module")
def dataset(service: Running, shared_mounts: Make) -> Path:
    mount: Mount = shared_mounts(service).mounted()
    return mount.root / DATASET


@pytest.fixture(scope="module")
def truth(dataset: Path) -> Truth:
    """Image → what is drawn on it, as the API says and the mount shows it."""
    found = {}
    for path in (dataset / "images").rglob("*.jpg"):
        name = path.relative_to(dataset / "images")
        body = (dataset / "annotations" / name.with_suffix(".json")).read_bytes()
        found[str(name)] = json.loads(body)["annotations"]
    assert len(found) == SCENES
    return found


def boxes(labels: list[dict[str, Any]]) -> list[list[float]]:
    """Those that have one, as COCO writes it."""
    return [
        [label["bounding_box"][side] for side in "xywh"] for label in labels if "bounding_box" in label
    ]


def test_pycocotools_reads_a_coco_export_in_place(dataset: Path, truth: Truth) -> None:
    folder = installed("pycocotools", COCO, "--no-deps", "--only-binary=:all:")   # numpy is the suite's
    ran = subprocess.run(
        [sys.executable, "-c", LOADER, str(dataset / "exports" / "coco")],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert {each["name"] for each in found["seen"]} == set(truth)
    for each in found["seen"]:
        with Image.open(dataset / "images" / each["name"]) as picture:
            pixels = numpy.asarray(picture.convert("RGB"))
        assert (tuple(each["shape"]), each["mean"]) == (pixels.shape, pytest.approx(float(pixels.mean())))
        assert sorted(each["boxes"]) == sorted(boxes(truth[each["name"]]))
    assert sum(len(each["boxes"]) for each in found["seen"]) > SCENES
    assert all(area > 0 for each in found["seen"] for area in each["masks"])
    assert len(found["classes"]) > 1


def test_a_yolo_export_lies_as_its_trainers_expect_it(dataset: Path, truth: Truth) -> None:
    folder = dataset / "exports" / "yolo"
    settings = (folder / "data.yaml").read_text()
    assert "train: images\n" in settings
    for name, labels in truth.items():
        image = folder / "images" / name
        assert image.read_bytes() == (dataset / "images" / name).read_bytes()
        beside = str(image).replace("/images/", "/labels/").removesuffix(".jpg")  # as Ultralytics finds it
        lines = Path(f"{beside}.txt").read_text().splitlines()
        assert len(lines) == sum("bounding_box" in label or "polygon" in label for label in labels)
        counts = {len(line.split()) - 1 for line in lines}
        assert counts <= {4} or min(counts) > 4, "boxes beside polygons would be read as polygons"
        for line in lines:
            number, *values = line.split()
            assert f"  {number}: " in settings
            assert all(0 <= float(value) <= 1 for value in values)
