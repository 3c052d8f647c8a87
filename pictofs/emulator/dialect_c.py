"""Dialect C, "enveloped": `{"data": …}` with pagination, dataset words, annotations by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictofs.emulator.dialect import API_PATH, Row
from pictofs.emulator.dialect_b import DialectB
from pictofs.emulator.identity import iso
from pictofs.emulator.model import Dataset, Export, Image
from pictofs.emulator.service import Refusal

_FOREIGN = "https://keys-must-not-come-here.invalid"


class DialectC(DialectB):
    """Enveloped bodies with pagination, dataset words, annotations by path."""

    letter = "c"

    def rows(self, kind: str, rows: Sequence[Row], limit: int, offset: int, total: int) -> Any:
        """`{"data": […], "pagination": {limit, offset, total?, has_more}}`."""
        pagination: Row = {"limit": limit, "offset": offset, "has_more": offset + len(rows) < total}
        if not self.service.switches.no_totals:
            pagination["total"] = total
        return {"data": rows, "pagination": pagination}

    def single(self, kind: str, row: Row) -> Any:
        """`{"data": {…}}`."""
        return {"data": row}

    def error(self, refusal: Refusal) -> Any:
        """`{"error": {code, message, details}, "detail": …}`."""
        details = {"errors": refusal.details} if isinstance(refusal.details, list) else refusal.details
        return {
            "error": {"code": refusal.code, "message": refusal.message, "details": details},
            "detail": refusal.message,
        }

    def dataset(self, dataset: Dataset) -> Row:
        """With archived_image_count."""
        row = super().dataset(dataset)
        row["archived_image_count"] = row.pop("archived_images")
        row["is_public"] = False
        return row

    def image(self, dataset: Dataset, image: Image) -> Row:
        """With content_type, directory_path, width; annotation_url always."""
        return {
            "id": image.id,
            "dataset_id": dataset.id,
            "filename": image.filename,
            "status": image.status,
            "split": image.split,
            "tags": list(image.tags),
            "annotation_count": image.annotation_count,
            "file_size": image.stored.size,
            "width": image.width or None,
            "height": image.height or None,
            "content_type": image.stored.content_type,
            "directory_path": image.directory_path,
            "is_archived": image.is_archived,
            "image_url": self.service.image_url(image),
            "annotation_url": self._annotation_url(dataset, image),
            "created_at": iso(image.created_us),
        }

    def item(self, dataset: Dataset, image: Image, mode: str) -> Row:
        """With directory_path and, with or without annotations, an annotation_url."""
        row: Row = {"filename": image.filename}
        if not self.service.switches.sparse_items:
            row = {"id": image.id, "filename": image.filename, "directory_path": image.directory_path}
        if mode != "annotations_only":
            row["image_url"] = self._image_url(dataset, image)
        if mode != "images_only":
            row["annotation_url"] = self._annotation_url(dataset, image)
        return row

    def _annotation_url(self, dataset: Dataset, image: Image) -> str:
        path = self.service.annotation_path(dataset, image)
        kind = self.service.switches.annotation_urls
        if kind == "relative":
            return path
        return (_FOREIGN if kind == "foreign" else self.service.base_url.removesuffix(API_PATH)) + path

    def download(self, dataset: Dataset, items: list[Row], expires_us: int) -> Any:
        """`{"data": {id, items}}`."""
        return {"data": {"id": dataset.id, "name": dataset.name, "items": items}}

    def export(self, dataset: Dataset, export: Export, *, created: bool = False) -> Row:
        """As B, with dataset_id for project_id."""
        row = super().export(dataset, export, created=created)
        row["dataset_id"] = row.pop("project_id")
        return row

    def export_url(self, url: str, expires_us: int, file_size: int) -> Any:
        """`{"data": {download_url, expires_at, file_size}}`."""
        return {"data": {"download_url": url, "expires_at": iso(expires_us), "file_size": file_size}}

    def annotations(self, image: Image, *, document: bool) -> Any:
        """`{"annotations": […]}`, not enveloped, whole."""
        return {"annotations": image.load_annotations()}

    def deleted(self, summary: Row) -> Any:
        """`{"data": {…}}`."""
        return {"data": summary}
