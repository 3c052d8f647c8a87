"""Dialect B, "keyed": `{"datasets": […]}`, project words, download_url on export rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictofs.emulator.dialect import API_PATH, Dialect, Row, optional_iso
from pictofs.emulator.identity import iso
from pictofs.emulator.model import Dataset, Export, Image
from pictofs.emulator.service import Refusal

_C_ONLY_GEOMETRY = ("oriented_box", "instance_id")  # SDK 1.0 rejects a whole list that holds them


class DialectB(Dialect):
    """Keyed bodies, project words, download_url on export rows."""

    letter = "b"

    def rows(self, kind: str, rows: Sequence[Row], limit: int, offset: int, total: int) -> Any:
        """`{"datasets": […]}`: no total, no has_more."""
        return {kind: rows}

    def single(self, kind: str, row: Row) -> Any:
        """`{"dataset": {…}}`."""
        return {kind: row}

    def error(self, refusal: Refusal) -> Any:
        """`{"detail": "…"}`, or the list of details that a validation failure has."""
        return {"detail": refusal.details if refusal.status == 422 and refusal.details else refusal.message}

    def dataset(self, dataset: Dataset) -> Row:
        """With archived_images and total_size."""
        return {
            "id": dataset.id,
            "organization_id": self.service.organization.id,
            "name": dataset.name,
            "description": dataset.description,
            **self._counts(dataset),
            "archived_images": dataset.images.totals.archived,
            "classes": dataset.classes,
            "annotation_types": dataset.annotation_types,
            "is_archived": dataset.is_archived,
            "storage_class": dataset.storage_class,
            "created_at": iso(dataset.created_us),
            "updated_at": iso(dataset.updated_us),
        }

    def image(self, dataset: Dataset, image: Image) -> Row:
        """With mime_type, virtual_folder_path, image_width; annotation_url only where there are some."""
        row: Row = {
            "id": image.id,
            "dataset_id": dataset.id,
            "filename": image.filename,
            "status": image.status,
            "split": image.split,
            "tags": list(image.tags),
            "annotation_count": image.annotation_count,
            "file_size": image.stored.size,
            "image_width": image.width or None,
            "image_height": image.height or None,
            "mime_type": image.stored.content_type,
            "virtual_folder_path": image.directory_path,
            "is_archived": image.is_archived,
            "image_url": self.service.image_url(image),
            "created_at": iso(image.created_us),
        }
        if image.annotation_count:
            row["annotation_url"] = f"{API_PATH}/annotations/{image.id}/file"
        return row

    def item(self, dataset: Dataset, image: Image, mode: str) -> Row:
        """With a signed image_url; annotation_url relative, and only where there are annotations."""
        row: Row = {"filename": image.filename}
        if not self.service.switches.sparse_items:
            row = {"id": image.id, "filename": image.filename}
        if mode != "annotations_only":
            row["image_url"] = self._image_url(dataset, image)
        if mode != "images_only" and image.annotation_count:
            row["annotation_url"] = f"{API_PATH}/annotations/{image.id}/file"
        return row

    def download(self, dataset: Dataset, items: list[Row], expires_us: int) -> Any:
        """`{dataset_id, items}`; when the URLs expire stands in them alone."""
        return {
            "dataset_id": dataset.id,
            "dataset_name": dataset.name,
            "total_items": len(items),
            "items": items,
        }

    def export(self, dataset: Dataset, export: Export, *, created: bool = False) -> Row:
        """With project_id, and a signed download_url once completed, except on the answer to the order."""
        row: Row = {
            "id": export.id,
            "organization_id": self.service.organization.id,
            "project_id": dataset.id,
            "dataset_name": dataset.name,
            "name": export.name,
            "format": export.format,
            "status": export.status,
            "include_images": export.include_images,
            "class_filter": export.class_filter,
            "status_filter": export.status_filter,
            "file_size": export.file_size,
            "image_count": export.image_count,
            "annotation_count": export.annotation_count,
            "error_message": export.error_message,
            "created_at": iso(export.created_us),
            "completed_at": optional_iso(export.completed_us),
            "expires_at": optional_iso(export.expires_us),
        }
        if not created:
            ready = export.status == "completed" and export.stored is not None
            row["download_url"] = self.service.signed_url(export.stored) if ready and export.stored else None
        return row

    def export_url(self, url: str, expires_us: int, file_size: int) -> Any:
        """`{download_url}`."""
        return {"download_url": url}

    def annotations(self, image: Image, *, document: bool) -> Any:
        """`{"annotations": […]}` without the fields that this dialect does not know yet."""
        known = [
            {name: value for name, value in each.items() if name not in _C_ONLY_GEOMETRY}
            for each in image.load_annotations()
        ]
        return {"annotations": known}

    def deleted(self, summary: Row) -> Any:
        """`{"deleted": {…}}`."""
        return {"deleted": summary}
