"""From an export's document of one image to the body that the API gives for it: learned, never assumed. Pure.

What an archive says of an image may be more than the API does (the image's own facts, fields that a dialect
does not have yet). So the first bodies are fetched both ways. Where the API's is the document without some of
its fields, that is how the others are made; a field that no comparison has shown is reason to ask the API for
that one body, which teaches it. Where the two contradict each other, the archive is not used at all.
"""

from __future__ import annotations

from typing import Any

from pictofs.api.documents import NotJson, load, render
from pictofs.catalog.model import ImageRow
from pictofs.errors import ServerFault

WITNESSES = 2  # bodies that had to agree before one is made

_TOP, _IMAGE, _ANNOTATION = "", "image", "annotations"


class Shape:
    """What is known of one archive's documents."""

    def __init__(self) -> None:
        self.broken = False
        self._agreed = 0
        self._kept: dict[tuple[str, str], bool] = {}  # (place, field) → whether the API's body has it

    def body(self, document: dict[str, Any]) -> bytes | None:
        """The API's body; None where not enough is known to make it."""
        if self.broken or self._agreed < WITNESSES:
            return None
        return self._rendered(document)

    def learn(self, document: dict[str, Any], body: bytes) -> bool:
        """Compares with the API's `body`; False when the archive turns out not to say the same."""
        if not self.broken:
            self.broken = not self._agrees(document, body)
            self._agreed += 1
        return not self.broken

    def _agrees(self, document: dict[str, Any], body: bytes) -> bool:
        try:
            told = load(body)
        except NotJson:
            return False
        if not isinstance(told, dict) or not self._compare(_TOP, document, told):
            return False
        if _IMAGE in told and not self._compare(_IMAGE, document[_IMAGE], told[_IMAGE]):
            return False
        if _ANNOTATION in told:
            ours, theirs = document[_ANNOTATION], told[_ANNOTATION]
            if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
                return False
            if not all(self._compare(_ANNOTATION, *pair) for pair in zip(ours, theirs, strict=True)):
                return False
        return self._rendered(document) == body  # values and the order of fields as well

    def _compare(self, place: str, ours: object, theirs: object) -> bool:
        if not isinstance(ours, dict) or not isinstance(theirs, dict) or not theirs.keys() <= ours.keys():
            return False
        return all(
            self._kept.setdefault((place, field), field in theirs) == (field in theirs) for field in ours
        )

    def _rendered(self, document: dict[str, Any]) -> bytes | None:
        found = self._project(_TOP, document)
        if found is None:
            return None
        if _IMAGE in found:
            found[_IMAGE] = self._project(_IMAGE, found[_IMAGE])
            if found[_IMAGE] is None:
                return None
        if _ANNOTATION in found:
            if not isinstance(found[_ANNOTATION], list):
                return None
            found[_ANNOTATION] = [self._project(_ANNOTATION, each) for each in found[_ANNOTATION]]
            if None in found[_ANNOTATION]:
                return None
        try:
            return render(found)
        except ServerFault:
            return None

    def _project(self, place: str, value: object) -> dict[str, Any] | None:
        """Without the fields that the API leaves out; None where one is not known yet."""
        if not isinstance(value, dict) or any((place, field) not in self._kept for field in value):
            return None
        return {field: inner for field, inner in value.items() if self._kept[place, field]}


def document_of(content: bytes, image: ImageRow, directory: str) -> dict[str, Any] | None:
    """A member's document, if it is of this image in the state that the listing knows; else None."""
    try:
        document = load(content)
    except NotJson:
        return None
    told = document.get("image") if isinstance(document, dict) else None
    drawn = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(told, dict) or not isinstance(drawn, list):
        return None
    if image.annotation_count is not None and image.annotation_count != len(drawn):
        return None
    if image.remote_id and told.get("id"):
        return document if str(told["id"]) == image.remote_id else None
    same = told.get("filename") == image.remote_name and told.get("directory_path", directory) == directory
    return document if same else None
