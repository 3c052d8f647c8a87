from __future__ import annotations

from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Dataset
from tests.unit.api.scripted import Answered, Asked, client_of, in_turn

UUID = "550e8400-e29b-41d4-a716-446655440000"
ROW = {"id": UUID, "name": "Street Scenes", "slug": "street-scenes", "image_count": 2}
SHAPES: dict[str, Any] = {
    "a": lambda row: row,
    "b": lambda row: {"dataset": row},
    "c": lambda row: {"data": row},
}
SIGNED = "https://s.test/{}?X-Goog-Date=20240115T120000Z&X-Goog-Expires={}&X-Goog-Signature=x"


def remote(letter: str) -> Any:
    """A service with one dataset, as far as the dialect can name it."""
    reached = {
        "a": {f"/datasets/{UUID}", "/datasets/by-name/street-scenes"},
        "b": {f"/datasets/{UUID}", "/datasets/by-name/Street Scenes"},
        "c": {f"/datasets/{UUID}", "/datasets/Street Scenes"},
    }[letter]

    def script(asked: Asked) -> Any:
        if asked.path == "/datasets/":
            return [ROW] if asked.query["offset"] == "0" else []
        return (
            SHAPES[letter](ROW) if asked.path in reached else Answered({"detail": "Dataset not found"}, 404)
        )

    return script


@pytest.mark.parametrize(
    ("letter", "named", "requests"),
    [
        ("a", UUID, 1),
        ("a", "street-scenes", 1),
        ("a", "Street Scenes", 4),  # no slug, no id, then out of the list, by its id
        ("b", UUID, 1),
        ("b", "Street Scenes", 1),
        ("c", UUID, 1),
        ("c", "Street Scenes", 1),
    ],
)
def test_a_dataset_is_found_by_whatever_names_it(letter: str, named: str, requests: int) -> None:
    client, wire, _ = client_of(remote(letter), dialect=letter)
    assert client.datasets.get(named).id == UUID
    assert len(wire.asked) == requests


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_what_names_no_dataset_is_not_found(letter: str) -> None:
    client, _, _ = client_of(remote(letter), dialect=letter)
    for named in ("elsewhere", UUID.replace("5", "6")):
        with pytest.raises(errors.NotFound) as caught:
            client.datasets.get(named)
        assert caught.value.status == 404


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_embedded_images_are_asked_for_in_the_dialects_words(letter: str) -> None:
    row = {**ROW, "images": [{"id": "i", "filename": "a.jpg"}]}
    client, wire, _ = client_of(in_turn(SHAPES[letter](row)), dialect=letter)
    found = client.datasets.get_by_id(UUID, include_images=True, images_limit=5, images_offset=10)
    assert found.images is not None
    assert [image.filename for image in found.images] == ["a.jpg"]
    assert b"a.jpg" not in found.document
    window = {} if letter == "a" else {"images_limit": "5", "images_offset": "10"}
    assert wire.asked[0].query == {"include_images": "true", **window}


def test_iterating_stops_at_the_most_that_is_wanted() -> None:
    def script(asked: Asked) -> Any:
        offset, limit = int(asked.query["offset"]), int(asked.query["limit"])
        rows = [
            {"id": f"d-{number}", "name": str(number)} for number in range(offset, min(offset + limit, 30))
        ]
        return {"data": rows, "pagination": {"total": 30, "has_more": offset + limit < 30}}

    client, wire, _ = client_of(script)
    assert [row.id for row in client.datasets.iter(page_size=10, max_total=15)] == [
        f"d-{n}" for n in range(15)
    ]
    assert len(wire.asked) == 2
    assert len(client.datasets.iter(page_size=7).all()) == 30
    assert len(client.datasets.list(limit=3, offset=2)) == 3


# links


def batch(letter: str, count: int, *, dataset: str = UUID, **row: Any) -> Any:
    word = "download_url" if letter == "a" else "image_url"
    rows = [
        {"id": f"i-{n}", "filename": f"{n}.jpg", word: SIGNED.format(n, 3600 - n), **row}
        for n in range(count)
    ]
    return {
        "a": {"dataset": {"id": dataset, "name": "n"}, "images": rows, "expires_at": "2024-01-15T12:30:00Z"},
        "b": {"dataset_id": dataset, "items": rows},
        "c": {"data": {"id": dataset, "items": rows}},
    }[letter]


DATASET = Dataset(id=UUID, name="Street Scenes", slug="street-scenes", image_count=2)


@pytest.mark.parametrize(
    ("letter", "path", "query"),
    [
        ("a", "/datasets/by-name/street-scenes/download", {"mode": "images_only"}),
        ("b", "/datasets/by-name/Street Scenes/download", {"mode": "images_only", "limit": "10000"}),
        ("c", f"/datasets/{UUID}/download", {"mode": "images_only", "limit": "10000"}),
    ],
)
def test_one_request_signs_a_batch(letter: str, path: str, query: dict[str, str]) -> None:
    client, wire, _ = client_of(in_turn(batch(letter, 2)), dialect=letter)
    found = client.datasets.links(DATASET)
    assert [link.id for link in found.items] == ["i-0", "i-1"]
    assert found.items[0].url == SIGNED.format(0, 3600)
    assert not found.capped
    assert wire.asked[0].path == path
    assert wire.asked[0].query == query


def test_a_batch_expires_with_the_first_of_its_urls_or_when_the_body_says() -> None:
    client, _, _ = client_of(in_turn(batch("c", 2)))
    assert client.datasets.links(DATASET).expires_s == 1_705_320_000 + 3599
    client, _, _ = client_of(in_turn(batch("a", 2)), dialect="a")
    assert client.datasets.links(DATASET).expires_s == 1_705_320_000 + 1800


@pytest.mark.parametrize("letter", ["b", "c"])
def test_a_status_has_a_batch_of_its_own(letter: str) -> None:
    client, wire, _ = client_of(in_turn(batch(letter, 1)), dialect=letter)
    client.datasets.links(DATASET, "full", status="complete", limit=7)
    assert wire.asked[0].query == {"mode": "full", "limit": "7", "status_filter": "complete"}


def test_where_no_status_is_known_it_is_a_usage_error_and_not_everything() -> None:
    client, wire, _ = client_of(in_turn(batch("a", 1)), dialect="a")
    with pytest.raises(errors.UsageError):
        client.datasets.links(DATASET, status="complete")
    assert wire.asked == []


def test_a_batch_that_stopped_at_its_cap_says_so() -> None:
    client, _, _ = client_of(in_turn(batch("c", 2)))
    assert client.datasets.links(DATASET, limit=2).capped
    assert client.datasets.links(Dataset(id=UUID, name="n", image_count=3)).capped
    assert not client.datasets.links(DATASET, limit=3).capped


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_the_links_of_another_dataset_of_that_name_are_not_taken(letter: str) -> None:
    client, _, _ = client_of(in_turn(batch(letter, 1, dataset="other")), dialect=letter)
    with pytest.raises(errors.NotFound):
        client.datasets.links(DATASET)


def test_items_may_leave_out_almost_everything() -> None:
    client, _, _ = client_of(in_turn({"data": {"items": [{"filename": "a.jpg"}]}}))
    (link,) = client.datasets.links(DATASET, "annotations_only").items
    assert (link.url, link.id, link.directory_path, link.expires_s) == ("", "", None, None)


# writes


@pytest.mark.parametrize(
    ("letter", "created", "written", "rename"),
    [
        ("b", "/projects/", "/projects/Street Scenes", "name"),
        ("c", "/datasets/", f"/datasets/{UUID}", "new_name"),
    ],
)
def test_datasets_are_written_in_the_dialects_words(
    letter: str, created: str, written: str, rename: str
) -> None:
    def script(asked: Asked) -> Any:
        if asked.method == "DELETE":
            return {"deleted": {"id": UUID}} if letter == "b" else {"data": {"id": UUID}}
        return {"project": ROW} if letter == "b" else {"data": ROW}

    client, wire, _ = client_of(script, dialect=letter)
    assert client.projects.create("n", description="d", classes=[{"name": "car"}]).id == UUID
    assert client.projects.update(DATASET, new_name="m", annotation_types=["bbox"]).id == UUID
    assert client.projects.delete(DATASET) == {"id": UUID}
    assert [(asked.method, asked.path) for asked in wire.asked] == [
        ("POST", created),
        ("PATCH", written),
        ("DELETE", written),
    ]
    assert wire.asked[0].body == {"name": "n", "description": "d", "classes": [{"name": "car"}]}
    assert wire.asked[1].body == {rename: "m", "annotation_types": ["bbox"]}
    assert wire.asked[0].headers["Content-Type"] == "application/json"


def test_dialect_a_has_no_writing_of_datasets() -> None:
    client, wire, _ = client_of(in_turn({}), dialect="a")
    with pytest.raises(errors.UsageError):
        client.projects.create("n")
    assert wire.asked == []


def test_an_update_without_a_change_is_a_usage_error() -> None:
    client, wire, _ = client_of(in_turn({}))
    with pytest.raises(errors.UsageError):
        client.projects.update(DATASET)
    assert wire.asked == []
