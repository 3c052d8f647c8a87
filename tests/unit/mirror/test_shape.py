"""From documents of an archive to bodies of the API: only what comparisons have shown."""

from __future__ import annotations

from typing import Any

import pytest

from pictofs.api.documents import render
from pictofs.mirror.shape import WITNESSES, Shape, document_of

from . import rows


def document(*annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    return {"image": {"id": "i1", "filename": "a.jpg", "width": 4, **image}, "annotations": list(annotations)}


def box(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"n{number}", "name": "car", "bounding_box": {"x": number, "y": 1, "w": 2, "h": 3}, **more}


def taught(*lessons: tuple[dict[str, Any], Any]) -> Shape:
    shape = Shape()
    for one, told in lessons:
        shape.learn(one, render(told))
    return shape


def annotations_only(one: dict[str, Any], *without: str) -> dict[str, Any]:
    kept = [{key: value for key, value in each.items() if key not in without} for each in one["annotations"]]
    return {"annotations": kept}


ONE, TWO, THREE = document(box(1)), document(box(2), box(3)), document(box(4))


def test_nothing_is_made_before_enough_bodies_agreed() -> None:
    shape = Shape()
    for one in (ONE, TWO)[:WITNESSES]:
        assert shape.body(THREE) is None
        assert shape.learn(one, render(annotations_only(one)))
    assert shape.body(THREE) == render(annotations_only(THREE))


def test_a_body_of_annotations_alone_and_a_document_with_fewer_facts_are_both_learned() -> None:
    shape = taught(*((one, annotations_only(one)) for one in (ONE, TWO)))
    assert shape.body(THREE) == render({"annotations": [box(4)]})
    facts = {"image": {"id": "i1", "filename": "a.jpg"}}
    lesser = [{**facts, **annotations_only(one)} for one in (ONE, TWO, THREE)]
    shape = taught((ONE, lesser[0]), (TWO, lesser[1]))
    assert shape.body(THREE) == render(lesser[2])


def test_a_field_that_the_api_leaves_out_is_left_out_once_that_was_seen() -> None:
    angled = [document(box(number, angle=1.5)) for number in range(3)]
    shape = taught(*((one, annotations_only(one, "angle")) for one in angled[:2]))
    assert shape.body(angled[2]) == render({"annotations": [box(2)]})


def test_a_field_that_no_comparison_has_shown_is_a_body_to_ask_the_api_for() -> None:
    shape = taught(*((one, annotations_only(one)) for one in (ONE, TWO)))
    new = document(box(5, confidence=0.5))
    assert shape.body(new) is None
    assert not shape.broken
    assert shape.learn(new, render(annotations_only(new)))
    assert shape.body(document(box(6, confidence=1))) == render({"annotations": [box(6, confidence=1)]})


@pytest.mark.parametrize(
    "told",
    [
        {"annotations": [box(9)]},                     # another value
        {"annotations": [box(1), box(2)]},             # another count
        {"annotations": [{**box(1), "colour": "red"}]},  # more than the archive has
        {"annotations": [dict(reversed(box(1).items()))]},  # another order of fields
        {"annotations": "none"},
        ["a list"],
    ],
)
def test_an_archive_that_says_something_else_is_not_used_at_all(told: Any) -> None:
    shape = taught((TWO, annotations_only(TWO)), (THREE, annotations_only(THREE)))
    assert shape.body(ONE) is not None
    assert not shape.learn(ONE, render(told))
    assert shape.body(THREE) is None


def test_a_field_that_is_sometimes_left_out_makes_the_archive_useless() -> None:
    one, two = document(box(1, confidence=None)), document(box(2, confidence=0.5))
    shape = taught((one, annotations_only(one, "confidence")), (two, annotations_only(two)))
    assert shape.broken


def test_a_document_is_of_an_image_by_its_id_and_by_how_many_annotations_it_has() -> None:
    content = render(ONE)
    assert document_of(content, rows.image(remote_id="i1", annotation_count=1), "/") == ONE
    assert document_of(content, rows.image(remote_id="i2", annotation_count=1), "/") is None
    assert document_of(content, rows.image(remote_id="i1", annotation_count=2), "/") is None
    assert document_of(content, rows.image(remote_id="", remote_name="a.jpg"), "/") == ONE
    assert document_of(content, rows.image(remote_id="", remote_name="b.jpg"), "/") is None
    for damaged in (b"", b"{", b"[]", b'{"image": 1, "annotations": []}'):
        assert document_of(damaged, rows.image(), "/") is None
