from __future__ import annotations

from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Dataset, Export
from tests.unit.api.scripted import Answered, Asked, client_of, in_turn

DATASET = Dataset(id="d-1", name="Street Scenes", slug="street-scenes")
ROW = {"id": "e-1", "name": "v 1", "status": "completed", "file_size": 5}
ONE: dict[str, Any] = {"a": lambda row: row, "b": lambda row: {"export": row}, "c": lambda row: {"data": row}}
MANY: dict[str, Any] = {
    "a": lambda rows: rows,
    "b": lambda rows: {"exports": rows},
    "c": lambda rows: {"data": rows},
}
SIGNED = "https://s.test/e?X-Goog-Date=20240115T120000Z&X-Goog-Expires=3600&X-Goog-Signature=x"


def listed(letter: str, rows: list[dict[str, Any]]) -> Any:
    return lambda asked: MANY[letter](rows[int(asked.query["offset"]) :])


@pytest.mark.parametrize(
    ("letter", "named"), [("a", "street-scenes"), ("b", "Street Scenes"), ("c", "Street Scenes")]
)
def test_the_exports_of_a_dataset_are_asked_for_by_the_dialects_name_of_it(letter: str, named: str) -> None:
    client, wire, _ = client_of(listed(letter, [ROW]), dialect=letter)
    assert [export.name for export in client.exports.iter(DATASET)] == ["v 1"]
    assert wire.asked[0].query["dataset_name"] == named


def test_rows_of_another_dataset_are_left_out_and_both_names_are_this_ones() -> None:
    rows = [
        {**ROW, "id": "1", "dataset_id": "d-1", "dataset_name": "renamed since"},
        {**ROW, "id": "2", "dataset_id": "d-2", "dataset_name": "Street Scenes"},
        {**ROW, "id": "3", "dataset_name": "street-scenes"},
        {**ROW, "id": "4", "dataset_name": "Street Scenes"},
        {**ROW, "id": "5", "dataset_name": "Other"},
        {**ROW, "id": "6"},
        {**ROW, "id": "7", "project_id": "d-1"},
    ]
    client, _, _ = client_of(listed("b", rows), dialect="b")
    assert [export.id for export in client.exports.iter(DATASET)] == ["1", "3", "4", "6", "7"]
    assert [export.id for export in client.exports.list(DATASET, limit=2, offset=1)] == ["3", "4"]


def test_the_exports_of_the_organization_are_all() -> None:
    client, wire, _ = client_of(listed("c", [ROW]))
    assert len(client.exports.list(status="completed")) == 1
    assert "dataset_name" not in wire.asked[0].query
    assert wire.asked[0].query["status"] == "completed"


@pytest.mark.parametrize(
    ("letter", "path", "query"),
    [
        ("a", "/exports/street-scenes/v%201", {}),
        ("b", "/exports/Street%20Scenes/v%201", {}),
        ("c", "/exports/v%201", {"dataset": "Street Scenes"}),
    ],
)
def test_one_export_is_named_by_its_dataset_and_itself(letter: str, path: str, query: dict[str, str]) -> None:
    client, wire, _ = client_of(in_turn(ONE[letter](ROW)), dialect=letter)
    assert client.exports.get(DATASET, "v 1").file_size == 5
    assert client.exports.get(DATASET, Export(name="v 1")).id == "e-1"
    for asked in wire.asked:
        assert (asked.raw_path, asked.query) == (path, query)


@pytest.mark.parametrize(
    ("letter", "body", "size"),
    [
        ("a", {"download_url": SIGNED, "expires_at": "2024-01-15T12:30:00Z", "file_size": 5}, 5),
        ("b", {"download_url": SIGNED}, None),
        ("c", {"data": {"download_url": SIGNED, "file_size": 5}}, 5),
    ],
)
def test_the_archives_signed_url_comes_with_its_expiry(letter: str, body: Any, size: int | None) -> None:
    client, wire, _ = client_of(in_turn(body), dialect=letter)
    link = client.exports.url(DATASET, "v 1")
    assert (link.url, link.file_size) == (SIGNED, size)
    assert link.expires_s == 1_705_320_000 + (1800 if letter == "a" else 3600)
    assert wire.asked[0].path.endswith("/v 1/download")


def test_an_export_that_is_not_ready_has_no_url() -> None:
    client, _, _ = client_of(in_turn(Answered({"detail": "Export is not ready"}, 400)))
    with pytest.raises(errors.Unprocessable):
        client.exports.url(DATASET, "v 1")
    client, _, _ = client_of(in_turn({"data": {"download_url": None}}))
    with pytest.raises(errors.ServerFault):
        client.exports.url(DATASET, "v 1")


@pytest.mark.parametrize(
    ("letter", "named"), [("a", "street-scenes"), ("b", "Street Scenes"), ("c", "Street Scenes")]
)
def test_an_export_is_ordered_and_waited_for(letter: str, named: str) -> None:
    states = ["pending", "pending", "processing", "completed"]

    def script(asked: Asked) -> Any:
        return Answered(ONE[letter]({**ROW, "status": states.pop(0)}), 201 if asked.method == "POST" else 200)

    client, wire, clock = client_of(script, dialect=letter)
    done = client.exports.create(
        DATASET,
        "v 1",
        format="coco",
        include_images=True,
        class_filter=("car",),
        status_filter="complete",
        wait=True,
    )
    assert done.status == "completed"
    assert wire.asked[0].body == {
        "dataset_name": named,
        "name": "v 1",
        "include_images": True,
        "format": "coco",
        "class_filter": ["car"],
        "status_filter": "complete",
    }
    assert clock.slept == [0.5, 0.75]


def test_waiting_for_an_export_ends_in_a_fault_when_it_fails_or_takes_too_long() -> None:
    client, _, _ = client_of(in_turn({"data": {**ROW, "status": "failed", "error_message": "disk\nfull"}}))
    with pytest.raises(errors.ServerFault, match="disk full"):
        client.exports.wait(DATASET, "v 1")
    client, _, clock = client_of(in_turn({"data": {**ROW, "status": "processing"}}))
    with pytest.raises(errors.ServerFault, match="processing"):
        client.exports.wait(DATASET, "v 1", timeout_s=60)
    assert clock.now <= 1060


@pytest.mark.parametrize(
    ("letter", "body"),
    [("a", {"id": "e-1"}), ("b", {"deleted": {"id": "e-1"}}), ("c", {"data": {"id": "e-1"}}), ("c", b"")],
)
def test_an_export_is_deleted(letter: str, body: Any) -> None:
    client, wire, _ = client_of(in_turn(Answered(body)), dialect=letter)
    assert client.exports.delete(DATASET, "v 1") == ({"id": "e-1"} if body else {})
    assert wire.asked[0].method == "DELETE"
