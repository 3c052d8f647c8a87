from __future__ import annotations

import json

import pytest

from pictofs.api import Dataset, Image, Link, Links, models
from pictofs.errors import ServerFault

SIGNED = "https://s.test/o?X-Goog-Date=20240115T120000Z&X-Goog-Expires=3600&X-Goog-Signature=secret"
DATASET = {
    "id": "d-1",
    "name": "Street Scenes",
    "image_count": 3,
    "total_size": 99,
    "created_at": "2024-01-15T12:00:00Z",
    "updated_at": "2024-01-16T12:00:00Z",
}


def test_a_dataset_may_hold_next_to_nothing() -> None:
    found = models.dataset({"id": "d-1", "name": "x"})
    assert (found.slug, found.image_count, found.created_ns, found.images) == ("", 0, 0, None)
    assert not found.is_archived


def test_a_datasets_document_is_its_row_without_images_and_secrets() -> None:
    found = models.dataset({"z": 1, **DATASET, "images": [{}], "cover": SIGNED, "unknown": {"b": 1, "a": 2}})
    shown = json.loads(found.document)
    assert [*shown] == ["z", *DATASET, "unknown"]
    assert found.document.endswith(b"}\n")
    assert b'  "z": 1,\n' in found.document


@pytest.mark.parametrize(
    "change",
    [
        {"updated_at": "2024-01-17T12:00:00Z"},
        {"image_count": 4},
        {"total_size": 100},
        {"completed_image_count": 1},
        {"annotation_count": 1},
        {"archived_images": 1},
    ],
)
def test_the_fingerprint_follows_everything_counted_or_dated(change: dict[str, object]) -> None:
    assert models.dataset({**DATASET, **change}).fingerprint != models.dataset(DATASET).fingerprint


def test_the_fingerprint_ignores_everything_else() -> None:
    changed = {**DATASET, "name": "new", "description": "new", "images": []}
    assert models.dataset(changed).fingerprint == models.dataset(DATASET).fingerprint


def test_both_words_for_a_field_are_read() -> None:
    b, c = models.images(
        [
            {
                "filename": "a.jpg",
                "virtual_folder_path": "/x",
                "image_width": 4,
                "image_height": 3,
                "mime_type": "image/jpeg",
            },
            {
                "filename": "a.jpg",
                "directory_path": "/x",
                "width": 4,
                "height": 3,
                "content_type": "image/jpeg",
            },
        ]
    )
    assert b == c
    old = models.dataset({**DATASET, "archived_images": 2})
    new = models.dataset({**DATASET, "archived_image_count": 2})
    assert old.archived_image_count == new.archived_image_count == 2
    assert models.export({"name": "e", "project_id": "d"}).dataset_id == "d"


def test_an_image_of_which_little_is_said_has_unknown_traits() -> None:
    assert models.images([{"id": "i", "filename": "a.jpg", "annotation_count": 5}]) == [
        Image(id="i", filename="a.jpg", annotation_count=5)
    ]


def test_numbers_and_tags_are_read_as_they_come() -> None:
    (image,) = models.images(
        [
            {
                "filename": "a",
                "file_size": 12.0,
                "width": "640",
                "tags": ["x", {"name": "y"}],
                "split": None,
                "id": 7,
            }
        ]
    )
    assert (image.file_size, image.width, image.tags, image.split, image.id) == (12, 640, ("x", "y"), "", "7")


@pytest.mark.parametrize("row", [{"id": "no filename"}, {"filename": 3}, "text", None])
def test_a_row_that_is_no_image_is_a_fault_of_the_service(row: object) -> None:
    with pytest.raises(ServerFault):
        models.images([row])


def test_an_exports_document_shows_no_signed_url() -> None:
    row = {"id": "e", "name": "v1", "status": "completed", "download_url": SIGNED, "file_size": 5}
    found = models.export(row)
    assert json.loads(found.document) == {"id": "e", "name": "v1", "status": "completed", "file_size": 5}
    assert "secret" not in repr(found)


def test_links_never_show_their_urls() -> None:
    (link,) = models.links([{"id": "i", "filename": "a.jpg", "image_url": SIGNED}])
    assert link.url == SIGNED
    for shown in (repr(link), str(link), repr(Links(items=[link])), f"{[link]}"):
        assert "s.test" not in shown


def test_the_earliest_expiry_that_is_said_counts() -> None:
    (by_url,) = models.links([{"image_url": SIGNED}])
    (by_body,) = models.links([{"download_url": SIGNED}], ends_at="2024-01-15T12:30:00Z")
    (unsaid,) = models.links([{"download_url": "https://s.test/o"}])
    assert by_url.expires_s == 1_705_323_600
    assert by_body.expires_s == 1_705_321_800
    assert unsaid.expires_s is None


def test_an_expiry_is_moved_to_our_clock_where_the_services_is_far_off() -> None:
    (link,) = models.links([{"image_url": SIGNED}], server_ahead_s=7200)
    (near,) = models.links([{"image_url": SIGNED}], server_ahead_s=5)
    assert link.expires_s == 1_705_323_600 - 7200
    assert near.expires_s == 1_705_323_600


def test_a_caller_that_knows_names_alone_can_make_a_dataset() -> None:
    assert Dataset(id="d", name="Street Scenes").path_slug == "Street Scenes"
    assert Dataset(id="d", name="Street Scenes", slug="street").path_slug == "street"
    assert Link(url=SIGNED).expires_s is None
