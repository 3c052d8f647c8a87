"""The three wire dialects as tables: where things are asked for, and where they lie in the answer. Pure.

    A  "documents"   bare arrays and objects; slugs in paths
    B  "keyed"       {"datasets": […]}, {"dataset": {…}}; names in paths; projects are written
    C  "enveloped"   {"data": …, "pagination": {…}}; one slot for name or id

Sources: the vendor's documents (A, B) and the wire behaviour of its SDK 0.1, 1.0 (B) and 1.69 (C).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pictofs.api.address import segment
from pictofs.api.paging import Rows
from pictofs.errors import ServerFault, UsageError

LETTERS = ("a", "b", "c")

# What is asked for → its path in A, B, C; None where the dialect has no such thing. A placeholder takes one
# path segment or query value; {image_path} is made by `image_path` below. Ids rather than names where both
# work: a dataset that is renamed meanwhile stays the same dataset.
_PATHS: dict[str, tuple[str | None, str | None, str | None]] = {
    "organization":     # A: none
        (None, "/organizations/me", "/organizations/me"),
    "datasets":
        ("/datasets/", "/datasets/", "/datasets/"),
    "dataset":
        ("/datasets/{id}", "/datasets/{id}", "/datasets/{id}"),
    "dataset by name":
        ("/datasets/by-name/{slug}", "/datasets/by-name/{name}", "/datasets/{name}"),
    "links":
        ("/datasets/by-name/{slug}/download", "/datasets/by-name/{name}/download", "/datasets/{id}/download"),
    "images":           # A, B: embedded in the dataset
        (None, None, "/images/"),
    "image":
        (None, "/images/{image}/metadata", "/images/{image}/metadata"),
    "image bytes":
        (None, "/images/{image}", "/images/{image}"),
    "annotations":
        ("/annotations/{image}/file", "/annotations/{image}", "/annotations/{name}/{image_path}"),
    "exports":
        ("/exports/", "/exports/", "/exports/"),
    "export":
        ("/exports/{slug}/{export}", "/exports/{name}/{export}", "/exports/{export}?dataset={name}"),
    "export link":
        ("/exports/{slug}/{export}/download", "/exports/{name}/{export}/download",
         "/exports/{export}/download?dataset={name}"),
    "new dataset":      # writes from here on
        (None, "/projects/", "/datasets/"),
    "written dataset":
        (None, "/projects/{name}", "/datasets/{id}"),
    "new export":
        ("/exports/", "/exports/", "/exports/"),
}  # fmt: skip

# What is meant → the keys that lead to it in a body of A, B, C; () is the body itself.
_Keys = tuple[str, ...]
_BODIES: dict[str, tuple[_Keys, _Keys, _Keys]] = {
    #                   A                      B                          C
    "organization":    ((),                    ("organization",),         ("organization",)),
    "datasets":        ((),                    ("datasets",),             ("data",)),
    "dataset":         ((),                    ("dataset",),              ("data",)),
    "embedded images": (("images",),           ("dataset", "images"),     ("data", "images")),
    "images":          ((),                    ("images",),               ("data",)),
    "image":           ((),                    ("image",),                ("data",)),
    "links":           (("images",),           ("items",),                ("data", "items")),
    "links' dataset":  (("dataset", "id"),     ("dataset_id",),           ("data", "id")),
    "links' end":      (("expires_at",),       ("expires_at",),           ("data", "expires_at")),
    "exports":         ((),                    ("exports",),              ("data",)),
    "export":          ((),                    ("export",),               ("data",)),
    "export link":     ((),                    (),                        ("data",)),
    "new dataset":     ((),                    ("project",),              ("data",)),
    "written dataset": ((),                    ("project",),              ("data",)),
    "new export":      ((),                    ("export",),               ("data",)),
    "deleted":         ((),                    ("deleted",),              ("data",)),
}  # fmt: skip

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Misshapen(Exception):
    """A body of another shape than the dialect's: the service may have changed its dialect."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect, by its letter."""

    letter: str

    @property
    def _column(self) -> int:
        return LETTERS.index(self.letter)

    @property
    def retries_writes(self) -> bool:
        """Whether an Idempotency-Key is known to be understood, so that a write may be sent twice."""
        return self.letter != "a"

    @property
    def rename_field(self) -> str:
        """What an update calls a dataset's new name."""
        return "new_name" if self.letter == "c" else "name"

    def has(self, thing: str) -> bool:
        """Whether the dialect has an endpoint for it."""
        return _PATHS[thing][self._column] is not None

    def path(self, thing: str, **names: str) -> str:
        """The endpoint of a thing, its names encoded. UsageError where the dialect has none."""
        template = _PATHS[thing][self._column]
        if template is None:
            raise UsageError(f"this service (dialect {self.letter}) has no endpoint for this: {thing}")
        return _PLACEHOLDER.sub(lambda found: _encoded(found[1], names[found[1]]), template)

    def find(self, thing: str, body: Any) -> Any:
        """What is meant in a body. Raises Misshapen where the way there is not the dialect's."""
        for key in _BODIES[thing][self._column]:
            if not isinstance(body, Mapping) or key not in body:
                raise Misshapen(f"{thing} without {key!r}")
            body = body[key]
        return body

    def find_or(self, thing: str, body: Any, otherwise: Any) -> Any:
        """The same; `otherwise` where it is absent."""
        try:
            return self.find(thing, body)
        except Misshapen:
            return otherwise

    def one(self, thing: str, body: Any) -> dict[str, Any]:
        """The single object of a body. Raises Misshapen."""
        found = self.find(thing, body)
        if not isinstance(found, dict):
            raise Misshapen(f"{thing} that is no object")
        return found

    def page(self, thing: str, body: Any) -> Rows[Any]:
        """The rows of a list, with what C's envelope says of the others. Raises Misshapen."""
        rows = self.find(thing, body)
        if not isinstance(rows, list):
            raise Misshapen(f"{thing} that are no array")
        envelope = body.get("pagination") if isinstance(body, Mapping) else None
        if not isinstance(envelope, Mapping):
            return Rows(rows)
        more = envelope.get("has_more")
        return Rows(rows, _count(envelope.get("total")), more if isinstance(more, bool) else None)

    def embedded(self, body: Any) -> Rows[Any]:
        """The images inside a dataset; the dataset's image_count is their total. Raises Misshapen."""
        page = self.page("embedded images", body)
        return Rows(page.rows, _count(self.one("dataset", body).get("image_count")))


def recognise(body: Any) -> Dialect | None:
    """The dialect of a list of datasets; None where the body is of none."""
    if isinstance(body, list):
        return Dialect("a")
    if isinstance(body, Mapping):
        for letter, key in (("c", "data"), ("b", "datasets")):
            if isinstance(body.get(key), list):
                return Dialect(letter)
    return None


def image_path(directory_path: str | None, filename: str) -> str:
    """How C names an image in a path, encoded: directories, then the file name, its slashes encoded too."""
    directories = (directory_path or "").strip("/")
    return "/".join(map(segment, [*(directories.split("/") if directories else ()), filename]))


def _encoded(placeholder: str, value: str) -> str:
    if not value:
        raise ServerFault(f"the service gave no {placeholder} to ask with")
    return value if placeholder == "image_path" else segment(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
