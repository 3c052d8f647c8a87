"""Changes through the control port, as they show in the API and on the storage host."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from pictofs.emulator.launch import ControlError
from tests.emulator.client import Api, ask

Make = Callable[..., Api]


def images(api: Api, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api("/images/", dataset=api.name, limit=1000, **query).json["data"]
    return found


def one(api: Api, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api(f"/images/{image_id}/metadata").json["data"]
    return found


def url_of(api: Api, image_id: str) -> str:
    return next(str(item["url"]) for item in api.items(api.name) if item["id"] == image_id)


def test_an_added_image_is_the_newest_and_has_the_bytes_that_were_given(played: Api) -> None:
    found = played
    body = io.BytesIO()
    Image.new("RGB", (31, 17), "teal").save(body, "PNG")
    before = found.dataset(found.name)
    added = found.emulator.mutate(
        "add_image",
        dataset=found.name,
        filename="neu ü.png",
        directory_path="/new/place",
        content=base64.b64encode(body.getvalue()).decode(),
        status="review",
        split="val",
        tags=["x"],
        annotations=[
            {"id": "1", "name": "n", "type": "bbox", "bounding_box": {"x": 0, "y": 0, "w": 1, "h": 1}}
        ],
    )
    row = images(found)[0]
    assert row["id"] == added["id"]
    assert (row["width"], row["height"], row["content_type"]) == (31, 17, "image/png")
    assert (row["status"], row["split"], row["tags"], row["annotation_count"]) == ("review", "val", ["x"], 1)
    assert ask(url_of(found, row["id"])).body == body.getvalue()
    after = found.dataset(found.name)
    assert after["image_count"] == before["image_count"] + 1
    assert after["total_size"] == before["total_size"] + len(body.getvalue())
    assert after["updated_at"] > before["updated_at"]
    assert found(f"/annotations/{quote(found.name)}/new/place/neu%20%C3%BC.png").status == 200


def test_a_replaced_image_serves_new_bytes_under_the_old_url_with_another_generation(played: Api) -> None:
    found = played
    row = images(found)[7]
    url = url_of(found, row["id"])
    old = ask(url)
    found.emulator.mutate("replace_image", dataset=found.name, image=row["id"], size=12_345)
    new = ask(url)
    assert len(new.body) == 12_345
    assert int(new.headers["x-goog-generation"]) > int(old.headers["x-goog-generation"])
    assert new.headers["etag"] != old.headers["etag"]
    assert ask(url, If_Match=old.headers["etag"]).status == 412
    assert (one(found, row["id"])["file_size"], one(found, row["id"])["created_at"]) == (
        12_345,
        row["created_at"],
    )


def test_an_image_replaced_under_another_id_takes_its_old_url_with_it(played: Api) -> None:
    found = played
    row = images(found)[7]
    url = url_of(found, row["id"])
    made = found.emulator.mutate(
        "replace_image", dataset=found.name, image=row["id"], size=12_345, same_id=False
    )
    assert made["id"] != row["id"]
    gone = ask(url)
    assert gone.status == 404
    assert b"<Code>NoSuchKey</Code>" in gone.body
    assert found(f"/images/{row['id']}/metadata").status == 404
    assert one(found, made["id"])["filename"] == row["filename"]
    assert len(images(found)) == 300


def test_a_deleted_image_is_gone_and_an_archived_one_is_hidden(played: Api) -> None:
    found = played
    first, second = images(found)[3], images(found)[4]
    url = url_of(found, first["id"])
    found.emulator.mutate("delete_image", dataset=found.name, image=first["id"])
    found.emulator.mutate("delete_image", dataset=found.name, image=second["id"], permanent=False)
    assert ask(url).status == 404
    listed = {row["id"] for row in images(found)}
    assert listed.isdisjoint({first["id"], second["id"]})
    assert len(listed) == 298
    everything = {row["id"] for row in images(found, include_archived="true")}
    assert everything - listed == {second["id"]}
    dataset = found.dataset(found.name)
    assert (dataset["image_count"], dataset["archived_image_count"]) == (298, 1)


def test_a_moved_or_renamed_image_keeps_its_id_and_object(played: Api) -> None:
    found = played
    row = images(found)[9]
    url = url_of(found, row["id"])
    body = ask(url).body
    found.emulator.mutate("move_image", dataset=found.name, image=row["id"], directory_path="far/away")
    found.emulator.mutate("rename_image", dataset=found.name, image=row["id"], filename="renamed.jpg")
    after = one(found, row["id"])
    assert (after["directory_path"], after["filename"]) == ("/far/away", "renamed.jpg")
    assert ask(url).body == ask(url_of(found, row["id"])).body == body
    assert found(f"/images/{quote(found.name)}/far/away/renamed.jpg").body == body
    assert images(found, directory_path="/far/away") == [after]
    assert images(found, filename="renamed.jpg") == [after]
    assert images(found, filename=row["filename"]) == []


def labels(api: Api, row: dict[str, Any]) -> list[dict[str, Any]]:
    path = row["annotation_url"].removeprefix(api.emulator.base_url)
    found: list[dict[str, Any]] = api(path).json["annotations"]
    return found


def test_annotations_can_change_with_or_without_their_count_and_updated_at(played: Api) -> None:
    found = played
    row = next(row for row in images(found) if row["annotation_count"] > 1)
    before, seen = labels(found, row), found.dataset(found.name)
    found.emulator.mutate(
        "edit_annotation", dataset=found.name, image=row["id"], keep_count=True, touch=False
    )
    changed = labels(found, row)
    assert len(changed) == len(before)
    assert changed != before
    assert found.dataset(found.name) == seen
    found.emulator.mutate("edit_annotation", dataset=found.name, image=row["id"])
    assert len(labels(found, row)) == len(before) + 1
    assert found.dataset(found.name)["updated_at"] > seen["updated_at"]
    assert found.dataset(found.name)["annotation_count"] == seen["annotation_count"] + 1
    with pytest.raises(ControlError, match="keep_count"):
        found.emulator.mutate(
            "edit_annotation", dataset=found.name, image=row["id"], annotations=[], keep_count=True
        )


def test_updated_at_stands_still_when_it_is_frozen(played: Api) -> None:
    found = played
    found.emulator.switch(freeze_updated_at=True)
    seen = found.dataset(found.name)["updated_at"]
    found.emulator.mutate("add_image", dataset=found.name, filename="x.jpg")
    found.emulator.mutate("rename_dataset", dataset=found.name, name="Renamed")
    assert found.dataset("Renamed")["updated_at"] == seen
    found.emulator.switch(freeze_updated_at=False)
    found.emulator.mutate("touch_dataset", dataset="Renamed")
    assert found.dataset("Renamed")["updated_at"] > seen


def names(api: Api, **query: Any) -> list[str]:
    return [row["name"] for row in api("/datasets/", **query).json["data"]]


def test_datasets_come_go_change_their_names_and_are_archived(api: Make) -> None:
    found = api()
    found.emulator.mutate("add_dataset", name="Zweite: größer")
    assert names(found) == [found.name, "Zweite: größer"]
    with pytest.raises(ControlError, match="already exists"):
        found.emulator.mutate("add_dataset", name=found.name)
    found.emulator.mutate("rename_dataset", dataset=found.name, name="First")
    found.emulator.mutate("archive_dataset", dataset="First")
    assert (names(found), names(found, archived="true")) == (["Zweite: größer"], ["First"])
    assert found("/datasets/First").status == 200
    found.emulator.mutate("archive_dataset", dataset="First", archived=False)
    url = str(found.items("First")[0]["url"])
    found.emulator.mutate("delete_dataset", dataset="First")
    assert names(found) == ["Zweite: größer"]
    assert found("/datasets/First").status == ask(url).status == 404


def test_a_revoked_key_is_401_on_everything_until_it_is_restored(played: Api) -> None:
    found = played
    url = url_of(found, images(found)[0]["id"])
    found.emulator.mutate("revoke_key")
    assert {found(path).status for path in ("/datasets/", "/exports/", "/organizations/me")} == {401}
    assert ask(url).status == 200  # what was signed stays good
    found.emulator.mutate("restore_key")
    assert found("/datasets/").status == 200


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("viewer", [200, 403, 403, 403]),
        ("annotator", [200, 200, 403, 403]),
        ("member", [200, 200, 201, 403]),
        ("admin", [200, 200, 201, 200]),
    ],
)
def test_a_role_may_do_what_it_may(played: Api, role: str, expected: list[int]) -> None:
    found = played
    found.emulator.mutate("set_role", role=role)
    path = images(found)[0]["annotation_url"].removeprefix(found.emulator.base_url)
    assert [
        found("/datasets/").status,
        found(path, "POST", data={"annotations": []}).status,
        found("/datasets/", "POST", data={"name": f"new {found.name}"}).status,
        found(f"/datasets/{quote(found.name)}", "DELETE").status,
    ] == expected
    found.emulator.mutate("set_role", role="owner")
    assert found("/datasets/", "POST", data={"name": f"another {found.name}"}).status == 201


def test_a_write_repeated_with_its_idempotency_key_is_done_once(api: Make) -> None:
    found = api()
    headers = {"Idempotency-Key": "k1"}
    first = found("/datasets/", "POST", data={"name": "once"}, headers=headers)
    again = found("/datasets/", "POST", data={"name": "once"}, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert found("/datasets/", "POST", data={"name": "once"}).status == 409
    assert names(found) == [found.name, "once"]


def test_the_page_cap_shortens_pages_and_the_batch_cap_batches(played: Api) -> None:
    found = played
    found.emulator.switch(page_cap=70, batch_cap=90)
    page = found("/images/", dataset=found.name, limit=1000).json
    assert len(page["data"]) == 70
    assert page["pagination"]["has_more"] is True
    assert len(found.items(found.name)) == 90
    found.emulator.switch(no_totals=True, sparse_items=True)
    assert "total" not in found("/images/", dataset=found.name).json["pagination"]
    assert {frozenset(item) for item in found.items(found.name)} == {
        frozenset({"filename", "image_url", "annotation_url", "url"})
    }


def test_the_rate_limit_refuses_and_says_when_to_come_again(played: Api) -> None:
    found = played
    found.emulator.switch(rate_limit=3)
    remaining = [found("/datasets/").headers["x-ratelimit-remaining"] for _ in range(3)]
    assert remaining == ["2", "1", "0"]
    refused = found("/datasets/")
    assert refused.status == 429
    assert found.error_message(refused)
    assert 3590 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["x-ratelimit-remaining"] == "0"
    url = f"{found.emulator.control_url}/mutate"
    assert ask(url, "POST", b'{"op": "reset_rate_limit"}').status == 200
    assert found("/datasets/").status == 200
    found.emulator.switch(rate_limit=0)
    assert "x-ratelimit-limit" not in found("/datasets/").headers


@pytest.mark.parametrize(
    ("op", "fields", "says"),
    [
        ("explode", {}, "op"),
        ("add_image", {"dataset": "Synthetic"}, "filename"),
        ("add_image", {"dataset": "Synthetic", "filename": "a.jpg", "colour": 1}, "colour"),
        ("add_image", {"dataset": "Synthetic", "filename": "a.jpg", "content": "%"}, "base64"),
        ("add_image", {"dataset": "Synthetic", "filename": "a.jpg", "size": 10}, "size"),
        ("add_image", {"dataset": "None", "filename": "a.jpg"}, "not found"),
        ("delete_image", {"dataset": "Synthetic", "image": "nowhere.jpg"}, "not found"),
        ("settings", {"colour": 1}, "colour"),
        ("settings", {"latency_ms": "fast"}, "latency_ms"),
        ("set_role", {"role": "king"}, "role"),
    ],
)
def test_a_mutation_that_cannot_be_is_refused_with_its_reason(
    played: Api, op: str, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ControlError, match=says):
        played.emulator.mutate(op, **fields)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a/b"},
        {"name": 7},
        {"name": "n", "classes": "car"},
        {"name": "n", "classes": [{}]},
        {"name": "n", "annotation_types": [1]},
        {"name": "n", "description": []},
        [],
    ],
)
def test_a_dataset_that_cannot_be_is_422_and_nothing_is_made(played: Api, body: Any) -> None:
    before = names(played)
    assert played("/datasets/", "POST", data=body).status == 422
    assert names(played) == before


def test_a_dataset_is_changed_and_renamed_in_one_write_or_not_at_all(played: Api) -> None:
    path = f"/datasets/{quote(played.name)}"
    taken = next(name for name in names(played) if name != played.name)
    assert played(path, "PATCH", data={"description": "new", "new_name": taken}).status == 409
    assert played(path, "PATCH", data={"new_name": "N", "classes": "car"}).status == 422
    row = played(path).json["data"]
    assert row["description"] != "new"
    changed = played(path, "PATCH", data={"description": "new", "classes": [{"name": "x"}]}).json["data"]
    assert (changed["description"], changed["classes"], changed["name"]) == (
        "new",
        [{"name": "x"}],
        played.name,
    )
    assert changed["updated_at"] > row["updated_at"]
