"""Catalog rows with everything a test does not care about filled in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from pictofs.catalog.model import (
    AnnotationRow,
    DatasetFacts,
    DatasetRow,
    ImageFacts,
    ImageRow,
    OrganizationRow,
)

SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND_NS


def organization(**given: Any) -> OrganizationRow:
    return replace(OrganizationRow(1, "http://h:1", "o", "Org", "org", b"{}", 0, 0), **given)


def dataset(**given: Any) -> DatasetRow:
    row = DatasetRow(
        1, 1, "d1", "D", "d", "D", False, b"{}", "f1", 0, 0, 10, 0, 0, 0, "", 0, 0, 1, False
    )
    return msgspec.structs.replace(row, **given)


def image(**given: Any) -> ImageRow:
    row = ImageRow(
        1, 1, 1, 1, "a.jpg", "a.json", "i1", "a.jpg", 100, 0, "new", "", None, None, None, (), "", "", "", 1
    )
    return msgspec.structs.replace(row, **given)


def annotation(**given: Any) -> AnnotationRow:
    return msgspec.structs.replace(AnnotationRow(1, 1, 1, 10, "v", 0, NOW_NS, False), **given)


def dataset_facts(**given: Any) -> DatasetFacts:
    return replace(DatasetFacts("d1", "D", "d", False, b"{}", "f1", 1, 1, 10, 1000), **given)


def image_facts(name: str, **given: Any) -> ImageFacts:
    return msgspec.structs.replace(ImageFacts(f"id-{name}", name, "/", 100, 1, "new", "train"), **given)
