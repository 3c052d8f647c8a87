"""Exports: their course, their archives, their end."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from time import perf_counter
from typing import Any
from xml.etree import ElementTree

import pytest

from pictofs.emulator.exports import samples, write_zip
from pictofs.emulator.formats import FORMATS
from pictofs.emulator.model import Dataset, Export
from pictofs.emulator.settings import EmulatorSettings
from pictofs.emulator.synthetic import synthetic
from tests.emulator.client import Api, ask

Make = Callable[..., Api]


def order(api: Api, **fields: Any) -> dict[str, Any]:
    answer = api("/exports/", "POST", data={"dataset_name": api.name, "name": "e", **fields})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json["data"]
    return found


def look(api: Api, name: str = "e") -> dict[str, Any]:
    found: dict[str, Any] = api(f"/exports/{name}", dataset=api.name).json["data"]
    return found


def completed(api: Api) -> dict[str, Any]:
    ended = perf_counter() + 20
    while (row := look(api))["status"] in ("pending", "processing"):
        assert perf_counter() < ended
    return row


def test_an_export_goes_from_pending_over_processing_to_completed(played: Api) -> None:
    found = played
    found.emulator.switch(export_pending_ms=150.0)
    assert order(found)["status"] == "pending"
    assert found("/exports/e/download", dataset=found.name).status == 400
    seen, ended = [], perf_counter() + 20
    while "completed" not in seen:
        assert perf_counter() < ended
        seen.append(look(found)["status"])
    assert list(dict.fromkeys(seen)) == ["pending", "processing", "completed"]
    row = look(found)
    assert (row["image_count"], row["error_message"]) == (300, None)
    assert row["created_at"] < row["completed_at"] < row["expires_at"]
    url = found("/exports/e/download", dataset=found.name).json["data"]["download_url"]
    answer = ask(url)
    assert (answer.headers["content-type"], len(answer.body)) == ("application/zip", row["file_size"])


def test_a_name_is_taken_once_per_dataset_and_a_bad_order_is_422(api: Make) -> None:
    found = api(hold_exports=True, datasets=2)
    order(found)
    body = {"dataset_name": found.name, "name": "e"}
    assert found("/exports/", "POST", data=body).status == 409
    assert found("/exports/", "POST", data={**body, "dataset_name": "Synthetic 2"}).status == 201
    for wrong in ({"name": ""}, {"format": "paint"}, {"status_filter": "done"}, {"name": "x" * 101}):
        assert found("/exports/", "POST", data={**body, **wrong}).status == 422
    assert found("/exports/", "POST", data={**body, "dataset_name": "None"}).status == 404


def test_held_exports_wait_for_the_control_port(played: Api) -> None:
    found = played
    found.emulator.switch(hold_exports=True)
    order(found)
    assert look(found)["status"] == "pending"
    found.emulator.mutate("fail_export", dataset=found.name, export="e", message="disk full")
    assert (look(found)["status"], look(found)["error_message"]) == ("failed", "disk full")
    found.emulator.mutate("complete_export", dataset=found.name, export="e")
    assert look(found)["status"] == "completed"
    url = look(found)["download_url"]
    found.emulator.mutate("expire_export", dataset=found.name, export="e")
    assert (look(found)["status"], look(found)["download_url"]) == ("completed", None)
    assert ask(url).status == found("/exports/e/download", dataset=found.name).status == 404
    found.emulator.mutate("delete_export", dataset=found.name, export="e")
    assert found("/exports/e", dataset=found.name).status == 404


def test_an_export_that_fails_on_its_way_does_not_complete_later(played: Api) -> None:
    found = played
    found.emulator.switch(export_pending_ms=200.0)
    order(found)
    found.emulator.mutate("fail_export", dataset=found.name, export="e")
    order(found, name="later")
    ended = perf_counter() + 20
    while look(found, "later")["status"] != "completed":
        assert perf_counter() < ended
    assert look(found)["status"] == "failed"


def test_exports_can_be_put_there_in_any_state(played: Api) -> None:
    found = played
    for status in ("pending", "processing", "failed", "completed"):
        found.emulator.mutate("add_export", dataset=found.name, name=status, status=status)
    listed = found("/exports/", dataset_name=found.name).json["data"]
    assert [row["status"] for row in listed] == ["completed", "failed", "processing", "pending"]
    assert [
        row["status"] for row in found("/exports/", dataset_name=found.name, status="failed").json["data"]
    ] == ["failed"]


def dataset(count: int = 300, names: str = "mixed") -> Dataset:
    return synthetic(0, EmulatorSettings(images=count, names=names, image_bytes=3000))


def archive(tmp_path: Any, source: Dataset, **fields: Any) -> zipfile.ZipFile:
    values = {
        "format": "pictograph",
        "include_images": False,
        "class_filter": None,
        "status_filter": None,
        **fields,
    }
    export = Export(id="1", dataset_id=source.id, name="e", status="processing", created_us=1, **values)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zip"
    write_zip(path, export, source, list(samples(source, export)))
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def test_an_archive_holds_every_image_and_every_annotation_under_its_own_name(tmp_path: Any) -> None:
    source = dataset()
    with archive(tmp_path, source, include_images=True) as found:
        assert found.testzip() is None
        members = found.namelist()
        assert len(members) == len(set(members)) == 1 + 2 * 300
        for image in source.images:
            info = found.getinfo(f"images/{image.path}")
            assert info.compress_type == zipfile.ZIP_STORED
            assert found.read(info) == image.stored.content.read(0, image.stored.size)
        twins = [json.loads(found.read(f"annotations/{n}.json")) for n in ("frame_00000", "frame_00000.png")]
        assert [twin["image"]["filename"] for twin in twins] == ["frame_00000.jpg", "frame_00000.png"]


def test_an_archive_depends_on_its_content_alone(tmp_path: Any) -> None:
    first, again = (archive(tmp_path, dataset(), include_images=True) for _ in range(2))
    assert first.fp is not None
    assert again.fp is not None
    assert [first.fp.seek(0), again.fp.seek(0)] == [0, 0]
    assert first.fp.read() == again.fp.read()


def test_filters_let_through_what_they_say(tmp_path: Any) -> None:
    source = dataset()
    with archive(tmp_path, source, status_filter="review") as found:
        documents = [
            json.loads(found.read(name)) for name in found.namelist() if name.startswith("annotations/")
        ]
        assert {document["image"]["status"] for document in documents} == {"review"}
        assert len(documents) == len(source.images.select(status="review"))
    with archive(tmp_path, source, class_filter=["spot"]) as found:
        documents = [
            json.loads(found.read(name)) for name in found.namelist() if name.startswith("annotations/")
        ]
        assert {label["name"] for document in documents for label in document["annotations"]} == {"spot"}
        assert all(document["annotations"] for document in documents)


def test_splits_can_be_folders_of_the_archive(tmp_path: Any) -> None:
    with archive(tmp_path, dataset(), include_images=True, organize_by_split=True) as found:
        assert {name.partition("/")[0] for name in found.namelist()} == {"train", "valid", "test"}


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_is_a_whole_archive_with_every_box(tmp_path: Any, form: str) -> None:
    source = dataset(60)
    boxes = sum(image.annotation_count for image in source.images)
    with archive(tmp_path, source, format=form) as found:
        assert found.testzip() is None
        bodies = {name: found.read(name).decode() for name in found.namelist()}
    match form:
        case "pictograph":
            count = sum(len(json.loads(body).get("annotations", ())) for body in bodies.values())
        case "coco":
            document = json.loads(bodies["annotations.json"])
            assert {label["category_id"] for label in document["annotations"]} == {1, 2}
            assert len(document["images"]) == 60
            count = len(document["annotations"])
        case "yolo":
            lines = [
                line
                for name, body in bodies.items()
                if name.startswith("labels/")
                for line in body.splitlines()
            ]
            assert all(0 <= float(value) <= 1 for line in lines for value in line.split()[1:])
            count = len(lines)
        case "pascal_voc":
            count = sum(len(ElementTree.fromstring(body).findall("object")) for body in bodies.values())
        case "csv":
            count = len(list(csv.DictReader(io.StringIO(bodies["annotations.csv"]))))
    assert count == boxes
