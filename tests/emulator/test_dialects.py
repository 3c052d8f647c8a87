"""The bodies of the three dialects, as a client gets them over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.client import Answer, Api, ask

SCENES, MANY = "Street Scenes", "Synthetic"
COUNT, MANY_COUNT = 12, 2300
RATE = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


def test_lists_have_the_dialects_shape(shared: Api) -> None:
    body = shared("/datasets/").json
    if shared.dialect == "a":
        assert isinstance(body, list)
    elif shared.dialect == "b":
        assert list(body) == ["datasets"]
    else:
        assert body["pagination"] == {"limit": 100, "offset": 0, "has_more": False, "total": 2}
    assert [row["name"] for row in shared.rows("datasets", body)] == [SCENES, MANY]


def test_a_dataset_row_has_the_fields_of_its_dialect_and_no_others(shared: Api) -> None:
    row = shared.dataset(SCENES)
    common = {
        "id",
        "name",
        "description",
        "image_count",
        "completed_image_count",
        "annotation_count",
        "classes",
        "created_at",
        "updated_at",
    }
    later = {"organization_id", "total_size", "annotation_types", "is_archived", "storage_class"}
    assert (
        set(row)
        == {
            "a": common | {"slug"},
            "b": common | later | {"archived_images"},
            "c": common | later | {"archived_image_count", "is_public"},
        }[shared.dialect]
    )
    assert row["image_count"] == COUNT
    assert row["created_at"].endswith("Z")


def test_one_dataset_is_found_by_id_and_by_name_where_the_dialect_says(shared: Api) -> None:
    row = shared.dataset(SCENES)
    assert shared.single("dataset", shared(f"/datasets/{row['id']}").json) == row
    assert shared.single("dataset", shared(shared.dataset_path(SCENES)).json) == row
    statuses = [
        shared(path).status for path in ("/datasets/Street%20Scenes", "/datasets/by-name/Street%20Scenes")
    ]
    assert statuses == {"a": [404, 404], "b": [404, 200], "c": [200, 404]}[shared.dialect]
    assert shared(shared.dataset_path(SCENES).replace("S", "s").replace("street-", "Street-")).status == 404


@pytest.mark.parametrize("shared", ["a"], indirect=True)
def test_a_slug_is_not_the_name_and_only_the_slug_opens_in_a(shared: Api) -> None:
    for name in (SCENES, MANY):
        slug = shared.dataset(name)["slug"]
        assert slug != name
        assert shared(f"/datasets/by-name/{slug}").status == 200


def test_errors_have_the_dialects_shape(shared: Api) -> None:
    answer = shared("/datasets/00000000-0000-4000-8000-000000000000")
    assert answer.status == 404
    assert shared.error_message(answer) == "Dataset not found"
    assert shared.error_message(shared("/no/such/route")) == "Not Found"
    assert shared("/datasets/", "PUT").status == 405


@pytest.mark.parametrize("headers", [{"X-API-Key": "pk_live_wrong"}, {"X-API-Key": ""}])
def test_a_wrong_key_is_401_with_rate_limit_headers_and_spends_nothing(
    shared: Api, headers: dict[str, str]
) -> None:
    before = shared("/datasets/").headers["x-ratelimit-remaining"]
    answer = shared("/datasets/", headers=headers)
    assert answer.status == 401
    assert shared.error_message(answer)
    assert answer.headers["x-ratelimit-remaining"] == before
    assert set(answer.headers) >= RATE


def test_no_key_is_401(shared: Api) -> None:
    assert ask(shared.emulator.base_url + "/datasets/").status == 401


def test_every_answer_has_rate_limit_headers_and_in_c_a_request_id(shared: Api) -> None:
    answers = [shared(path) for path in ("/datasets/", "/exports/", "/no/such/route")]
    assert [int(a.headers["x-ratelimit-remaining"]) for a in answers] == list(
        range(
            int(answers[0].headers["x-ratelimit-remaining"]),
            int(answers[0].headers["x-ratelimit-remaining"]) - 3,
            -1,
        )
    )
    ids = {answer.headers.get("x-request-id") for answer in answers}
    assert len(ids) == 3 if shared.dialect == "c" else ids == {None}


def embedded(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = api(f"/datasets/{api.dataset(MANY)['id']}", include_images="true", **query)
    found: list[dict[str, Any]] = api.single("dataset", answer.json)["images"]
    return found


@pytest.mark.parametrize("shared", ["a"], indirect=True)
def test_a_embeds_every_image_with_id_filename_and_count_only(shared: Api) -> None:
    images = embedded(shared)
    assert len({image["id"] for image in images}) == MANY_COUNT
    assert {frozenset(image) for image in images} == {frozenset({"id", "filename", "annotation_count"})}


@pytest.mark.parametrize("shared", ["b", "c"], indirect=True)
def test_b_and_c_embed_a_window_of_the_images(shared: Api) -> None:
    pages = [embedded(shared, images_limit=1000, images_offset=offset) for offset in (0, 1000, 2000, 3000)]
    assert [len(page) for page in pages] == [1000, 1000, 300, 0]
    assert len({image["id"] for page in pages for image in page}) == MANY_COUNT
    assert len(embedded(shared)) == 1000
    assert len(embedded(shared, images_limit=10_000)) == 1000  # the page cap


@pytest.mark.parametrize("shared", ["b", "c"], indirect=True)
def test_image_rows_have_the_fields_of_their_dialect(shared: Api) -> None:
    row = embedded(shared)[0]
    common = {
        "id",
        "dataset_id",
        "filename",
        "status",
        "split",
        "tags",
        "annotation_count",
        "file_size",
        "is_archived",
        "image_url",
        "created_at",
    }
    words = {
        "b": {"mime_type", "virtual_folder_path", "image_width", "image_height"},
        "c": {"content_type", "directory_path", "width", "height"},
    }
    assert set(row) - {"annotation_url"} == common | words[shared.dialect]


def test_a_names_annotation_url_always_b_where_there_are_some_c_always(shared: Api) -> None:
    rows = shared.items(MANY) if shared.dialect == "a" else embedded(shared)
    counts = {row["id"]: row["annotation_count"] for row in embedded(shared)}
    assert 0 in counts.values()
    for row in rows:
        if row["id"] in counts:
            assert ("annotation_url" in row) == (shared.dialect != "b" or counts[row["id"]] > 0)


@pytest.mark.parametrize("shared", ["b", "c"], indirect=True)
def test_a_listings_image_url_is_an_api_url_that_needs_the_key(shared: Api) -> None:
    row = embedded(shared)[0]
    assert row["image_url"].startswith(shared.emulator.base_url)
    assert ask(row["image_url"]).status == 401
    answer = ask(row["image_url"], X_API_Key=shared.emulator.api_key)
    assert (answer.status, len(answer.body)) == (200, row["file_size"])
    ranged = ask(row["image_url"], X_API_Key=shared.emulator.api_key, Range="bytes=0-9")
    assert (ranged.status, ranged.body) == (200, answer.body)


def test_the_batch_download_names_every_image_with_its_signed_url(shared: Api) -> None:
    items = shared.items(MANY)
    assert len({item["id"] for item in items}) == MANY_COUNT
    for item in items[:: MANY_COUNT // 5]:
        answer = ask(item["url"])
        assert answer.status == 200
        assert answer.headers["content-type"] in ("image/jpeg", "image/png")


@pytest.mark.parametrize(
    ("mode", "image", "annotation"),
    [("full", True, True), ("images_only", True, False), ("annotations_only", False, True)],
)
def test_the_mode_decides_which_urls_come(shared: Api, mode: str, image: bool, annotation: bool) -> None:
    items = shared.items(SCENES, mode=mode)
    assert any(item["url"] for item in items) is image
    assert any("annotation_url" in item for item in items) is annotation


def test_an_unknown_mode_or_a_bad_limit_is_refused(shared: Api) -> None:
    path = shared.dataset_path(SCENES) + "/download"
    expected = 400 if shared.dialect == "a" else 422
    for answer in (
        shared(path, mode="everything"),
        shared("/datasets/", limit="many"),
        shared("/datasets/", limit=0),
    ):
        assert answer.status == expected


@pytest.mark.parametrize("shared", ["b", "c"], indirect=True)
def test_the_batch_download_takes_a_status_in_b_and_c(shared: Api) -> None:
    shares = {
        status: len(shared.items(MANY, status_filter=status))
        for status in ("new", "annotate", "review", "complete")
    }
    assert sum(shares.values()) == MANY_COUNT
    assert min(shares.values()) > 0
    assert shared(shared.dataset_path(MANY) + "/download", status_filter="done").status == 422


def test_the_download_of_a_says_when_its_urls_expire_and_the_others_do_not(shared: Api) -> None:
    body = shared(shared.dataset_path(SCENES) + "/download").json
    if shared.dialect == "a":
        assert set(body) == {"dataset", "images", "expires_at"}
        assert body["dataset"] == {"id": shared.dataset(SCENES)["id"], "name": SCENES}
    elif shared.dialect == "b":
        assert set(body) >= {"dataset_id", "items"}
        assert "expires_at" not in body
    else:
        assert set(body) == {"data"}
        assert set(body["data"]) >= {"id", "items"}


def annotations(api: Api, item: dict[str, Any]) -> Answer:
    path = item["annotation_url"].removeprefix(api.emulator.base_url).removeprefix("/api/v1/developer")
    return api(path)


def test_annotations_are_what_the_dialect_wraps_them_in(shared: Api) -> None:
    item = next(i for i in shared.items(SCENES) if "annotation_url" in i)
    body = annotations(shared, item).json
    assert set(body) == ({"image", "annotations"} if shared.dialect == "a" else {"annotations"})
    assert {each["type"] for each in body["annotations"]} <= {"bbox", "polygon", "polyline", "keypoint"}
    assert body["annotations"]


def test_an_image_is_addressed_by_id_or_by_path_as_the_dialect_says(shared: Api) -> None:
    image = embedded(shared)[0]
    found = [shared(f"/annotations/{image['id']}{suffix}").status for suffix in ("", "/file")]
    assert found == {"a": [404, 200], "b": [200, 200], "c": [404, 404]}[shared.dialect]
    assert shared(f"/images/{image['id']}").status == (404 if shared.dialect == "a" else 200)


@pytest.mark.parametrize("shared", ["c"], indirect=True)
def test_c_lists_images_newest_first_in_pages_that_say_whether_there_is_more(shared: Api) -> None:
    seen: list[dict[str, Any]] = []
    while True:
        body = shared("/images/", dataset=MANY, limit=1000, offset=len(seen)).json
        seen += body["data"]
        assert body["pagination"]["has_more"] == (len(seen) < MANY_COUNT)
        assert body["pagination"]["total"] == MANY_COUNT
        if not body["pagination"]["has_more"]:
            break
    times = [row["created_at"] for row in seen]
    assert times == sorted(set(times), reverse=True)
    assert len(times) == MANY_COUNT


@pytest.mark.parametrize("shared", ["c"], indirect=True)
def test_c_refuses_unknown_parameters_of_the_image_list(shared: Api) -> None:
    answer = shared("/images/", dataset=MANY, dataset_id="x")
    assert answer.status == 422
    assert "dataset_id" in shared.error_message(answer)
    assert answer.json["error"]["details"]["errors"]
    assert shared("/images/").status == 422


@pytest.mark.parametrize("shared", ["c"], indirect=True)
def test_c_filters_the_image_list(shared: Api) -> None:

    def count(**query: Any) -> int:
        rows = shared("/images/", dataset=MANY, limit=1000, **query).json
        assert all(
            row[name] == value for row in rows["data"] for name, value in query.items() if name != "limit"
        )
        return int(rows["pagination"]["total"])

    assert count(status="complete") > count(status="complete", split="val") > 0
    assert count(directory_path="/left") == count(directory_path="/right") == 23
    assert count(filename="same_00003.jpg") == 2
    assert count(filename="same_00003.jpg", directory_path="/left") == 1
    assert count(filename="nothing.jpg") == 0


@pytest.mark.parametrize("shared", ["c"], indirect=True)
def test_c_addresses_images_by_path_and_says_by_metadata_what_they_are(shared: Api) -> None:
    row = shared("/images/", dataset=SCENES, directory_path="/day/rain").json["data"][0]
    path = f"Street%20Scenes/day/rain/{row['filename']}"
    assert shared(f"/images/{path}").headers["content-type"] == "image/jpeg"
    assert shared(f"/images/{path}/metadata").json["data"] == row
    assert shared(f"/images/{row['id']}/metadata").json["data"] == row
    assert shared(f"/images/Street%20Scenes/{row['filename']}").status == 404
    assert shared(f"/annotations/{path}").status == 200


def test_b_and_c_know_the_organization_and_a_does_not(shared: Api) -> None:
    answer = shared("/organizations/me")
    if shared.dialect == "a":
        assert answer.status == 404
    else:
        assert answer.json["organization"]["name"] == "Pictofs Emulator"
        assert answer.json["organization"]["slug"] == "pictofs-emulator"


def test_projects_are_of_b_alone(shared: Api) -> None:
    answer = shared("/projects/")
    assert answer.status == (200 if shared.dialect == "b" else 404)
    if shared.dialect == "b":
        assert [row["name"] for row in answer.json["projects"]] == [SCENES, MANY]
        assert shared("/projects/Synthetic").json["project"]["name"] == MANY


def test_exports_have_the_fields_of_their_dialect(shared: Api) -> None:
    row = shared.rows("exports", shared("/exports/").json)[0]
    common = {
        "id",
        "name",
        "dataset_name",
        "status",
        "image_count",
        "annotation_count",
        "file_size",
        "include_images",
        "class_filter",
        "status_filter",
        "created_at",
        "completed_at",
    }
    later = {"organization_id", "format", "error_message", "expires_at", "download_url"}
    assert (
        set(row)
        == {"a": common, "b": common | later | {"project_id"}, "c": common | later | {"dataset_id"}}[
            shared.dialect
        ]
    )
    assert row["dataset_name"] == (shared.dataset(SCENES)["slug"] if shared.dialect == "a" else SCENES)
    if shared.dialect != "a":
        assert len(ask(row["download_url"]).body) == row["file_size"]


def test_one_export_is_found_where_the_dialect_says(shared: Api) -> None:
    row = shared.rows("exports", shared("/exports/").json)[0]
    paths = {
        "a": [f"/exports/{row['dataset_name']}/baseline"],
        "b": ["/exports/Street%20Scenes/baseline"],
        "c": ["/exports/baseline?dataset=Street+Scenes", f"/exports/{row['id']}"],
    }
    for path in paths[shared.dialect]:
        found = shared.single("export", shared(path).json)
        assert found["id"] == row["id"]
        download = shared(path.replace("?", "/download?") if "?" in path else f"{path}/download").json
        url = download["data"]["download_url"] if shared.dialect == "c" else download["download_url"]
        assert ask(url).body.startswith(b"PK")
        assert ("expires_at" in download) == (shared.dialect == "a")
    wrong = "/exports/Street%20Scenes/baseline" if shared.dialect == "a" else "/exports/Other/baseline"
    assert shared(wrong).status == 404


def test_b_and_c_read_the_export_list_by_dataset_and_status(shared: Api) -> None:
    for query, count in (({}, 1), ({"status": "completed"}, 1), ({"status": "failed"}, 0)):
        assert len(shared.rows("exports", shared("/exports/", **query).json)) == count
    name = shared.dataset(MANY)["slug"] if shared.dialect == "a" else MANY
    assert shared.rows("exports", shared("/exports/", dataset_name=name).json) == []
