from __future__ import annotations

from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Dataset, Image
from tests.unit.api.scripted import Answered, client_of, in_turn

DATASET = Dataset(id="d-1", name="Street Scenes", slug="street-scenes")
IMAGE = Image(id="i-1", filename="a b.jpg", directory_path="/day/sunny")
BODY = (
    b'{"annotations":[{"name":"car","id":"x","bounding_box":{"x":1.0,"y":2,"w":3,"h":4}}],"note":"\xc3\xbc"}'
)
RENDERED = """{
  "annotations": [
    {
      "name": "car",
      "id": "x",
      "bounding_box": {
        "x": 1.0,
        "y": 2,
        "w": 3,
        "h": 4
      }
    }
  ],
  "note": "ü"
}
""".encode()


@pytest.mark.parametrize(
    ("letter", "path"),
    [
        ("a", "/annotations/i-1/file"),
        ("b", "/annotations/i-1"),
        ("c", "/annotations/Street%20Scenes/day/sunny/a%20b.jpg"),
    ],
)
def test_the_body_is_rendered_with_the_services_key_order(letter: str, path: str) -> None:
    client, wire, _ = client_of(in_turn(Answered(BODY)), dialect=letter)
    assert client.annotations.get(DATASET, IMAGE) == RENDERED
    assert [asked.raw_path for asked in wire.asked] == [path]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/api/v1/developer/annotations/S/a%2Fb.jpg",
        "/api/v1/developer/annotations/S/a%2Fb.jpg",
        "http://evil.test:81/behind/api/v1/developer/annotations/S/a%2Fb.jpg",
    ],
)
def test_a_supplied_url_is_asked_at_the_configured_origin(url: str) -> None:
    client, wire, _ = client_of(in_turn(Answered(BODY)), base_url="https://api.test/proxy")
    client.annotations.get(DATASET, Image(id="i", filename="b.jpg", annotation_url=url))
    assert wire.asked[0].url == "https://api.test:443/proxy/api/v1/developer/annotations/S/a%2Fb.jpg"


def test_an_id_is_preferred_to_a_supplied_url_where_the_dialect_takes_ids() -> None:
    client, wire, _ = client_of(in_turn(Answered(BODY)), dialect="b")
    client.annotations.get(DATASET, Image(id="i", filename="b.jpg", annotation_url="/elsewhere"))
    assert wire.paths == ["/annotations/i"]


@pytest.mark.parametrize("body", [b'"text"', b"5", b"null"])
def test_what_is_no_document_is_a_fault(body: Any) -> None:
    client, _, _ = client_of(in_turn(Answered(body)))
    with pytest.raises(errors.ServerFault):
        client.annotations.get(DATASET, IMAGE)


def test_a_torn_document_is_asked_for_again() -> None:
    client, wire, _ = client_of(in_turn(Answered(BODY[:20]), Answered(BODY)))
    assert client.annotations.get(DATASET, IMAGE) == RENDERED
    assert len(wire.asked) == 2


def test_an_image_that_is_gone_has_no_annotations() -> None:
    client, _, _ = client_of(in_turn(Answered({"detail": "Image not found"}, 404)))
    with pytest.raises(errors.NotFound):
        client.annotations.get(DATASET, IMAGE)
