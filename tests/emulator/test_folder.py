"""`--data DIR`: which folders are datasets, and what is read from them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pictofs.emulator.folder import folder_datasets
from pictofs.emulator.model import Dataset
from pictofs.errors import UsageError
from tests.emulator.client import Api, ask

BOX = {"id": "1", "name": "car", "type": "bbox", "bounding_box": {"x": 1.0, "y": 2.0, "w": 3.0, "h": 4.0}}


def put(path: Path, size: tuple[int, int] = (8, 6), color: str = "red") -> bytes:
    body = io.BytesIO()
    Image.new("RGB", size, color).save(body, "PNG" if path.suffix == ".png" else "JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body.getvalue())
    return body.getvalue()


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two datasets: one in the layout of a mount, one a plain folder of pictures."""
    cars = tmp_path / "Cars & more"
    put(cars / "images" / "a.jpg")
    put(cars / "images" / "a.png", (5, 4))
    put(cars / "images" / "train" / "deep" / "b.jpg")
    write(cars / "annotations" / "a.jpg.json", {"annotations": [BOX, BOX]})
    write(cars / "annotations" / "train" / "deep" / "b.json", [BOX])
    write(cars / "dataset.json", {"description": "from a file", "classes": [{"name": "car"}]})
    with zipfile.ZipFile(cars / "exports.tmp", "w") as archive:
        archive.writestr("images/a.jpg", b"x")
    (cars / "exports").mkdir()
    (cars / "exports.tmp").rename(cars / "exports" / "first.zip")
    put(tmp_path / "plain" / "c.jpg")
    write(tmp_path / "plain" / "c.json", {"annotations": [BOX]})
    (tmp_path / "plain" / "readme.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    return tmp_path


def by_path(dataset: Dataset) -> dict[str, Any]:
    return {image.path: image for image in dataset.images}


def test_each_folder_with_pictures_is_a_dataset(root: Path) -> None:
    assert [dataset.name for dataset in folder_datasets(root, 0)] == ["Cars & more", "plain"]


def test_annotations_go_by_stem_or_by_filename_where_stems_are_shared(root: Path) -> None:
    cars, plain = folder_datasets(root, 0)
    found = {path: image.annotation_count for path, image in by_path(cars).items()}
    assert found == {"a.jpg": 2, "a.png": 0, "train/deep/b.jpg": 1}
    assert by_path(cars)["a.jpg"].load_annotations() == [BOX, BOX]
    assert by_path(plain)["c.jpg"].annotation_count == 1


def test_rows_tell_size_split_status_and_classes(root: Path) -> None:
    cars, plain = folder_datasets(root, 0)
    image = by_path(cars)["a.png"]
    assert (image.width, image.height, image.stored.content_type) == (5, 4, "image/png")
    assert image.stored.size == (root / "Cars & more" / "images" / "a.png").stat().st_size
    assert by_path(cars)["train/deep/b.jpg"].split == "train"
    assert [by_path(cars)[path].status for path in ("a.jpg", "a.png")] == ["complete", "new"]
    assert (cars.description, cars.classes) == ("from a file", [{"name": "car"}])
    assert [each["name"] for each in plain.classes] == ["car"]
    times = [image.created_us for image in cars.images]
    assert times == sorted(set(times))


def test_ids_are_the_same_on_every_start(root: Path) -> None:
    first, again = (folder_datasets(root, 0) for _ in range(2))
    assert [i.id for d in first for i in d.images] == [i.id for d in again for i in d.images]
    assert [d.id for d in first] != [d.id for d in folder_datasets(root, 1)]


def test_archives_beside_the_images_are_completed_exports(root: Path) -> None:
    export = folder_datasets(root, 0)[0].exports["first"]
    assert (export.status, export.include_images, export.image_count) == ("completed", True, 1)
    assert export.file_size == (root / "Cars & more" / "exports" / "first.zip").stat().st_size


def test_a_folder_of_pictures_is_one_dataset_with_its_folders_as_directories(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "x" / "y" / "b.jpg")
    put(tmp_path / ".hidden" / "c.jpg")
    (dataset,) = folder_datasets(tmp_path, 0)
    assert dataset.name == tmp_path.name
    assert sorted(by_path(dataset)) == ["a.jpg", "x/y/b.jpg"]


def test_a_folder_without_pictures_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="no folder of pictures"):
        folder_datasets(tmp_path, 0)


def test_files_that_are_not_what_they_should_be_are_left_out_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "images" / "a.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text("{not json")
    (tmp_path / "images" / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "dataset.json").write_text("[]")
    Path(str(tmp_path / "images").encode().decode() + "/\udcff.jpg").write_bytes(b"x")
    (dataset,) = folder_datasets(tmp_path, 0)
    assert {path: (i.annotation_count, i.width) for path, i in by_path(dataset).items()} == {
        "a.jpg": (0, 8),
        "b.jpg": (0, 0),
    }
    said = capsys.readouterr().err
    assert "dataset.json: not a JSON object" in said
    assert r"\xff.jpg: its name is not UTF-8" in said


@pytest.mark.parametrize("dialect", ["a", "b", "c"])
def test_served_bytes_are_those_of_the_files(api: Callable[..., Api], root: Path, dialect: str) -> None:
    found = api(data=root, images=0, dialect=dialect)
    for item in found.items("Cars & more"):
        name = item["filename"]
        path = next((root / "Cars & more" / "images").rglob(name))
        assert ask(item["url"]).body == path.read_bytes()
