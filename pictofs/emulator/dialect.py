"""What a wire dialect is: how rows, lists, single things and errors are written, and no decisions.

A is "documents" (bare arrays and objects), B "keyed" (`{"datasets": […]}`), C "enveloped" (`{"data": …}`).
Which field stands in which dialect is the contract of the whole emulator; absent ones are absent on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictofs.emulator.identity import iso
from pictofs.emulator.model import Dataset, Export, Image
from pictofs.emulator.service import Refusal, Service

Row = dict[str, Any]
API_PATH = "/api/v1/developer"


def optional_iso(time_us: int | None) -> str | None:
    """The time in RFC 3339; None stays None."""
    return None if time_us is None else iso(time_us)


class Dialect:
    """What the dialects have in common: the service they speak of."""

    letter = ""

    def __init__(self, service: Service) -> None:
        self.service = service

    def rows(self, kind: str, rows: Sequence[Row], limit: int, offset: int, total: int) -> Any:
        """The body of a list; `kind` is datasets, exports, images or projects."""
        raise NotImplementedError

    def single(self, kind: str, row: Row) -> Any:
        """The body of one thing; `kind` is dataset, export, image or project."""
        raise NotImplementedError

    def error(self, refusal: Refusal) -> Any:
        """The body of a refusal."""
        raise NotImplementedError

    def dataset(self, dataset: Dataset) -> Row:
        """One dataset, without its images."""
        raise NotImplementedError

    def image(self, dataset: Dataset, image: Image) -> Row:
        """One image of a listing."""
        raise NotImplementedError

    def item(self, dataset: Dataset, image: Image, mode: str) -> Row:
        """One row of the batch download."""
        raise NotImplementedError

    def download(self, dataset: Dataset, items: list[Row], expires_us: int) -> Any:
        """The body of the batch download."""
        raise NotImplementedError

    def export(self, dataset: Dataset, export: Export, *, created: bool = False) -> Row:
        """One export; `created` is the answer to its order."""
        raise NotImplementedError

    def export_url(self, url: str, expires_us: int, file_size: int) -> Any:
        """The body that carries an export's signed URL."""
        raise NotImplementedError

    def annotations(self, image: Image, *, document: bool) -> Any:
        """The annotations of one image; `document` where the file was asked for."""
        return {"annotations": image.load_annotations()}

    def deleted(self, summary: Row) -> Any:
        """The body of a deletion."""
        raise NotImplementedError

    def _image_url(self, dataset: Dataset, image: Image) -> str:
        self.service.expect(dataset, image.stored)
        return self.service.signed_url(image.stored)

    def _counts(self, dataset: Dataset) -> Row:
        totals = dataset.images.totals
        return {
            "image_count": totals.images,
            "completed_image_count": totals.complete,
            "annotation_count": totals.annotations,
            "total_size": totals.size_bytes,
        }
