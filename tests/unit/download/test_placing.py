from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from pictofs.api import Dataset, DownloadFailure, DownloadReport, Image
from pictofs.catalog.model import ExportFacts, ImageFacts
from pictofs.download import placing
from pictofs.errors import UsageError
from tests.property.test_catalog_names import a_world, listings, paths


def model(facts: ImageFacts) -> Image:
    return Image(
        id=facts.remote_id,
        filename=facts.remote_name,
        directory_path=facts.directory_path,
        created_ns=facts.created_ns,
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(facts=listings())
def test_a_download_gives_the_names_that_a_mount_gives(facts: list[ImageFacts]) -> None:
    with a_world() as world:
        world.list(*facts)
        settled = placing.settle([model(each) for each in facts])
        assert {
            each.remote_id: (place[placing.IMAGE], place[placing.ANNOTATION])
            for each, place in zip(facts, settled, strict=True)
        } == paths(world)


@pytest.mark.parametrize("name", ["v1", "a/b", "..", "é" * 200, "x" * 300, "v1.2", ""])
def test_an_archive_is_called_as_on_a_mount(name: str) -> None:
    with a_world() as world:
        identity = "12345678-0000-4000-8000-000000000000"
        export = ExportFacts(identity, name, "completed", 1, 1, 1, b"{}")
        world.catalog.put_exports(world.dataset, [export], 1)
        (row,) = world.catalog.exports(world.dataset)
        assert placing.archive_name(name, identity) == f"{row.file_name}.zip"


def test_images_without_ids_all_have_a_name_of_their_own() -> None:
    twins = [Image(filename="a.jpg"), Image(filename="a.jpg"), Image(filename="a.png")]
    settled = placing.settle(twins)
    for kind in (placing.IMAGE, placing.ANNOTATION):
        assert len({place[kind] for place in settled}) == 3
    assert settled[0] == {placing.IMAGE: "a.jpg", placing.ANNOTATION: "a.json"}


def test_a_mode_is_a_choice_of_files() -> None:
    images = [Image(id="1", filename="a.jpg", directory_path="/x")]
    assert [file.path for file in placing.files(images, "full")] == ["images/x/a.jpg", "annotations/x/a.json"]
    assert [file.path for file in placing.files(images, "images_only")] == ["images/x/a.jpg"]
    assert [file.path for file in placing.files(images, "annotations_only")] == ["annotations/x/a.json"]


def test_a_datasets_folder_is_never_a_path() -> None:
    assert placing.folder_name(Dataset(id="1", name="../x")) == "..%2Fx"
    assert placing.folder_name(Dataset(id="1", slug="s")) == "s"
    assert len(placing.folder_name(Dataset(id="12345678", name="ü" * 200)).encode()) <= 255


def failure(path: str, kind: str = "image", **fields: str) -> DownloadFailure:
    return DownloadFailure(**{"filename": "a.jpg", "kind": kind, "reason": "r", "path": path, **fields})


def test_what_failed_is_found_again_by_id_or_by_place() -> None:
    images = [Image(id="1", filename="b.jpg"), Image(filename="a.jpg", directory_path="/x")]
    report = DownloadReport(
        dataset_id="d",
        failures=[
            failure("images/old-name.jpg", id="1"),
            failure("annotations/old-name.json", "annotation", id="1"),
            failure("images/x/a.jpg", directory_path="x"),
            failure("images/gone.jpg", id="9"),
        ],
    )
    found, gone = placing.again(images, report)
    assert [(file.kind, file.image.filename, file.path) for file in found] == [
        ("image", "b.jpg", "images/old-name.jpg"),
        ("annotation", "b.jpg", "annotations/old-name.json"),
        ("image", "a.jpg", "images/x/a.jpg"),
    ]
    assert [each.path for each in gone] == ["images/gone.jpg"]


@pytest.mark.parametrize(
    "bad",
    [
        failure("images/../../etc/passwd"),
        failure("/etc/passwd"),
        failure("annotations/a.jpg"),
        failure("images"),
        failure("images//a"),
        failure("other/a", "other"),
    ],
)
def test_a_report_leads_to_no_file_outside(bad: DownloadFailure) -> None:
    with pytest.raises(UsageError, match="names no file"):
        placing.again([], DownloadReport(dataset_id="d", failures=[bad]))
