from __future__ import annotations

from typing import Any

import pytest

from pictofs.api.dialect import Dialect, Misshapen, image_path, recognise
from pictofs.api.paging import Rows
from pictofs.errors import ServerFault, UsageError

A, B, C = Dialect("a"), Dialect("b"), Dialect("c")
NAMES = {
    "id": "d-1",
    "name": "Street Scenes",
    "slug": "street-scenes",
    "image": "i-1",
    "image_path": "day/a.jpg",
    "export": "v 1/2",
}


@pytest.mark.parametrize(
    ("thing", "paths"),
    [
        ("organization", (None, "/organizations/me", "/organizations/me")),
        ("dataset", ("/datasets/d-1", "/datasets/d-1", "/datasets/d-1")),
        (
            "dataset by name",
            (
                "/datasets/by-name/street-scenes",
                "/datasets/by-name/Street%20Scenes",
                "/datasets/Street%20Scenes",
            ),
        ),
        (
            "links",
            (
                "/datasets/by-name/street-scenes/download",
                "/datasets/by-name/Street%20Scenes/download",
                "/datasets/d-1/download",
            ),
        ),
        (
            "annotations",
            ("/annotations/i-1/file", "/annotations/i-1", "/annotations/Street%20Scenes/day/a.jpg"),
        ),
        ("image bytes", (None, "/images/i-1", "/images/i-1")),
        (
            "export",
            (
                "/exports/street-scenes/v%201%2F2",
                "/exports/Street%20Scenes/v%201%2F2",
                "/exports/v%201%2F2?dataset=Street%20Scenes",
            ),
        ),
        (
            "export link",
            (
                "/exports/street-scenes/v%201%2F2/download",
                "/exports/Street%20Scenes/v%201%2F2/download",
                "/exports/v%201%2F2/download?dataset=Street%20Scenes",
            ),
        ),
        ("written dataset", (None, "/projects/Street%20Scenes", "/datasets/d-1")),
    ],
)
def test_each_dialect_asks_in_its_own_place(thing: str, paths: tuple[str | None, ...]) -> None:
    for dialect, path in zip((A, B, C), paths, strict=True):
        assert dialect.has(thing) is (path is not None)
        if path is None:
            with pytest.raises(UsageError):
                dialect.path(thing, **NAMES)
        else:
            assert dialect.path(thing, **NAMES) == path


def test_a_name_that_is_empty_asks_for_nothing_else_instead() -> None:
    with pytest.raises(ServerFault):
        C.path("image bytes", image="")


@pytest.mark.parametrize(
    ("body", "letter"),
    [
        ([], "a"),
        ([{"id": 1}], "a"),
        ({"datasets": []}, "b"),
        ({"data": [], "pagination": {}}, "c"),
        ({"data": [], "datasets": []}, "c"),
        ({"data": {}}, None),
        ({"detail": "no"}, None),
        ("text", None),
        (None, None),
    ],
)
def test_the_list_of_datasets_tells_the_dialects_apart(body: Any, letter: str | None) -> None:
    found = recognise(body)
    assert (found.letter if found else None) == letter


def test_a_page_is_taken_out_of_each_envelope() -> None:
    assert A.page("datasets", [1]) == Rows([1])
    assert B.page("datasets", {"datasets": [1]}) == Rows([1])
    assert C.page("datasets", {"data": [1], "pagination": {"total": 5, "has_more": True}}) == Rows(
        [1], 5, True
    )
    assert C.page("datasets", {"data": [1], "pagination": {"has_more": False}}) == Rows([1], None, False)
    assert C.page("datasets", {"data": [1]}) == Rows([1])
    assert C.page("images", {"data": [], "pagination": {"total": "many", "has_more": 1}}) == Rows([])


def test_embedded_images_bring_the_datasets_count_as_their_total() -> None:
    dataset = {"image_count": 7, "images": [1, 2]}
    assert A.embedded(dataset) == Rows([1, 2], 7)
    assert B.embedded({"dataset": dataset}) == Rows([1, 2], 7)
    assert C.embedded({"data": dataset}) == Rows([1, 2], 7)


def test_a_single_thing_is_taken_out_of_each_envelope() -> None:
    assert A.one("export", {"id": 1}) == {"id": 1}
    assert B.one("export", {"export": {"id": 1}}) == {"id": 1}
    assert C.one("export", {"data": {"id": 1}}) == {"id": 1}
    assert B.one("organization", {"organization": {"id": 1}}) == C.one(
        "organization", {"organization": {"id": 1}}
    )
    assert B.one("export link", {"download_url": "u"}) == {"download_url": "u"}


@pytest.mark.parametrize("body", [[], {}, {"dataset": []}, {"data": 1}, "text", None])
def test_a_body_of_another_shape_is_told(body: Any) -> None:
    for dialect in (B, C):
        with pytest.raises(Misshapen):
            dialect.one("dataset", body)
        with pytest.raises(Misshapen):
            dialect.page("datasets", body)


@pytest.mark.parametrize(
    ("directory", "filename", "path"),
    [
        ("/", "a.jpg", "a.jpg"),
        (None, "a.jpg", "a.jpg"),
        ("/x/y", "a.jpg", "x/y/a.jpg"),
        ("x y", "ü?.jpg", "x%20y/%C3%BC%3F.jpg"),
        ("/", "a/b.jpg", "a%2Fb.jpg"),
        ("/..", "...", "%2E%2E/..."),
    ],
)
def test_an_images_path_folds_its_directory_in(directory: str | None, filename: str, path: str) -> None:
    assert image_path(directory, filename) == path
