from __future__ import annotations

from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Dataset, Image
from pictofs.api.wire import Broken
from tests.unit.api.scripted import Answered, Asked, client_of, in_turn

DATASET = Dataset(id="d-1", name="Street Scenes", slug="street-scenes")
UUID = "550e8400-e29b-41d4-a716-446655440000"


def rows(count: int, **traits: Any) -> list[dict[str, Any]]:
    return [{"id": f"i-{n}", "filename": f"{n}.jpg", **traits} for n in range(count)]


def embedding(letter: str, images: list[dict[str, Any]], cap: int = 10_000) -> Any:
    def script(asked: Asked) -> Any:
        assert asked.path == "/datasets/d-1"
        offset, limit = int(asked.query.get("images_offset", 0)), int(asked.query.get("images_limit", 10**9))
        end = len(images) if letter == "a" else offset + min(limit, cap)
        row = {"id": "d-1", "image_count": len(images), "images": images[offset:end]}
        return row if letter == "a" else {"dataset": row}

    return script


def listing(images: list[dict[str, Any]], cap: int = 1000) -> Any:
    def script(asked: Asked) -> Any:
        assert asked.path == "/images/"
        found = [row for row in images if asked.query.get("status") in (None, row.get("status"))]
        offset, limit = int(asked.query["offset"]), min(int(asked.query["limit"]), cap)
        page = found[offset : offset + limit]
        return {
            "data": page,
            "pagination": {"total": len(found), "has_more": offset + len(page) < len(found)},
        }

    return script


def ids(client: Any, **options: Any) -> list[str]:
    return [image.id for page in client.images.pages(DATASET, **options) for image in page]


def test_a_is_listed_by_one_request() -> None:
    client, wire, _ = client_of(embedding("a", rows(25_000)), dialect="a")
    assert len(ids(client)) == 25_000
    assert [asked.query for asked in wire.asked] == [{"include_images": "true"}]


def test_b_is_listed_by_ten_thousands() -> None:
    client, wire, _ = client_of(embedding("b", rows(25_000)), dialect="b")
    assert ids(client) == [f"i-{n}" for n in range(25_000)]
    assert len(wire.asked) == 3
    assert wire.asked[0].query["images_limit"] == "10000"


def test_c_is_listed_by_thousands() -> None:
    client, wire, _ = client_of(listing(rows(12_000)))
    assert ids(client) == [f"i-{n}" for n in range(12_000)]
    assert len(wire.asked) == 12
    assert wire.asked[0].query == {"dataset": "d-1", "limit": "1000", "offset": "0"}


@pytest.mark.parametrize("cap", [1, 2, 300])
def test_a_service_that_caps_its_pages_loses_no_image(cap: int) -> None:
    for script, letter in (
        (embedding("b", rows(700 if cap > 2 else 9), cap), "b"),
        (listing(rows(700 if cap > 2 else 9), cap), "c"),
    ):
        client, _, _ = client_of(script, dialect=letter)
        assert len(ids(client)) == (700 if cap > 2 else 9)


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_a_status_is_filtered_where_the_dialect_can(letter: str) -> None:
    images = [{**row, "status": "complete" if n % 3 else "new"} for n, row in enumerate(rows(9))]
    script = listing(images) if letter == "c" else embedding(letter, images)
    client, wire, _ = client_of(script, dialect=letter)
    assert ids(client, status="new") == ["i-0", "i-3", "i-6"]
    assert (wire.asked[0].query.get("status") == "new") is (letter == "c")


def test_rows_that_tell_no_status_are_filtered_by_that_status_links() -> None:
    embedded = embedding("b", rows(6))

    def script(asked: Asked) -> Any:
        if asked.path.endswith("/download"):
            assert asked.query["status_filter"] == "new"
            return {"dataset_id": "d-1", "items": rows(2)}
        return embedded(asked)

    client, _, _ = client_of(script, dialect="b")
    assert ids(client, status="new") == ["i-0", "i-1"]


def test_a_status_that_nothing_tells_is_a_usage_error_and_not_everything() -> None:
    client, _, _ = client_of(embedding("a", rows(6)), dialect="a")
    with pytest.raises(errors.UsageError):
        ids(client, status="new")


def test_a_listing_goes_on_after_the_budget_was_spent() -> None:
    script = listing(rows(30), cap=10)
    refusals = [None, Answered({}, 429, {"Retry-After": "900"}), None, None]

    def limited(asked: Asked) -> Any:
        return refusals.pop(0) or script(asked)

    client, wire, clock = client_of(limited)
    pages = client.images.pages(DATASET)
    told = [*next(pages)]
    with pytest.raises(errors.RateLimited):
        next(pages)
    clock.now += 900
    told += [image for page in pages for image in page]
    assert [image.id for image in told] == [f"i-{n}" for n in range(30)]
    assert [asked.query["offset"] for asked in wire.asked] == ["0", "10", "10", "20"]


def test_filters_go_to_the_service_or_are_done_here() -> None:
    images = [
        {"id": "1", "filename": "a.jpg", "virtual_folder_path": "/x", "split": "val", "status": "new"},
        {"id": "2", "filename": "a.jpg", "virtual_folder_path": "/y", "split": "val", "status": "new"},
        {"id": "3", "filename": "b.jpg", "virtual_folder_path": "/x", "split": "train", "status": "new"},
    ]
    client, _, _ = client_of(embedding("b", images), dialect="b")
    assert [image.id for image in client.images.iter(DATASET, filename="a.jpg")] == ["1", "2"]
    assert [image.id for image in client.images.iter(DATASET, directory_path="/x", split="val")] == ["1"]
    assert [image.id for image in client.images.list(DATASET, limit=1, offset=1)] == ["2"]
    with pytest.raises(errors.UsageError):
        client.images.list(DATASET, include_archived=True)
    client, wire, _ = client_of(listing([]))
    client.images.list(DATASET, split="val", filename="a", directory_path="/x", include_archived=True)
    assert wire.asked[0].query == {
        "dataset": "d-1",
        "limit": "100",
        "offset": "0",
        "directory_path": "/x",
        "split": "val",
        "filename": "a",
        "include_archived": "true",
    }


def test_dialect_a_tells_no_split() -> None:
    client, _, _ = client_of(embedding("a", rows(2)), dialect="a")
    with pytest.raises(errors.UsageError):
        client.images.list(DATASET, split="train")


def test_an_image_is_found_by_id_or_name_and_never_in_another_dataset() -> None:
    def script(asked: Asked) -> Any:
        if asked.path == f"/images/{UUID}/metadata":
            return {"data": {"id": UUID, "filename": "a.jpg", "dataset_id": "d-1"}}
        return listing([row for row in rows(5) if row["filename"] == asked.query["filename"]])(asked)

    client, _, _ = client_of(script)
    assert client.images.get(DATASET, UUID).id == UUID
    assert client.images.get(DATASET, "3.jpg").id == "i-3"
    with pytest.raises(errors.NotFound):
        client.images.get(Dataset(id="d-2", name="n"), UUID)
    with pytest.raises(errors.NotFound):
        client.images.get(DATASET, "none.jpg")


def test_a_name_in_two_directories_must_say_which() -> None:
    twins = [{"id": n, "filename": "a.jpg", "directory_path": f"/{n}"} for n in "xy"]
    client, _, _ = client_of(listing(twins))
    with pytest.raises(errors.UsageError, match="/x"):
        client.images.get(DATASET, "a.jpg")


# bytes

IMAGE = Image(id="i 1", filename="a.jpg")
BODY = bytes(range(100))


def test_the_bytes_of_an_image_are_asked_for_by_its_id() -> None:
    client, wire, _ = client_of(in_turn(Answered(BODY)))
    assert client.images.read(IMAGE) == (BODY, 100)
    assert wire.asked[0].raw_path == "/images/i%201"
    assert "Range" not in wire.asked[0].headers
    assert wire.asked[0].headers["Accept-Encoding"] == "identity"


def test_a_range_is_asked_for_and_taken_as_it_comes() -> None:
    part = Answered(BODY[10:20], 206, {"Content-Range": "bytes 10-19/100"})
    client, wire, _ = client_of(in_turn(part))
    assert client.images.read(IMAGE, 10, 19) == (BODY[10:20], 100)
    assert wire.asked[0].headers["Range"] == "bytes=10-19"


@pytest.mark.parametrize(("first", "last"), [(10, 19), (None, 19), (90, None), (90, 500), (200, 300)])
def test_the_whole_in_answer_to_a_range_is_cut(first: int | None, last: int | None) -> None:
    client, _, _ = client_of(in_turn(Answered(BODY, 200, {"Content-Length": "100"})))
    stop = None if last is None else last + 1
    assert client.images.read(IMAGE, first, last) == (BODY[first or 0 : stop], 100)


def test_no_more_of_a_whole_is_read_than_is_needed() -> None:
    whole = Answered(bytes(10_000), 200, {"Content-Length": "10000"})
    client, _, _ = client_of(in_turn(whole))
    assert client.images.read(IMAGE, 0, 99) == (bytes(100), 10_000)
    assert whole.sent < 200
    assert whole.closed


def test_a_whole_of_unknown_length_is_read_to_its_end() -> None:
    client, _, _ = client_of(in_turn(Answered(BODY)))
    assert client.images.read(IMAGE, 0, 9) == (BODY[:10], 100)


def test_a_range_beyond_the_end_is_empty() -> None:
    client, _, _ = client_of(in_turn(Answered(b"", 416, {"Content-Range": "bytes */100"})))
    assert client.images.read(IMAGE, 200, 300) == (b"", 100)


@pytest.mark.parametrize("said", ["bytes 11-20/100", "bytes 10-18/100", "bytes 10-19/*", "", "lines 1-2/3"])
def test_another_range_than_was_asked_for_is_a_fault(said: str) -> None:
    client, _, _ = client_of(in_turn(Answered(BODY[10:20], 206, {"Content-Range": said})))
    with pytest.raises(errors.ServerFault):
        client.images.read(IMAGE, 10, 19)


def test_bytes_that_break_off_are_asked_for_again() -> None:
    client, wire, _ = client_of(in_turn(Answered(BODY[:30], torn=True), Broken("reset"), Answered(BODY)))
    assert client.images.read(IMAGE) == (BODY, 100)
    assert len(wire.asked) == 3


def test_dialect_a_has_no_image_bytes() -> None:
    client, _, _ = client_of(in_turn({}), dialect="a")
    with pytest.raises(errors.UsageError):
        client.images.read(IMAGE)
