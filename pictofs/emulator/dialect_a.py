"""Dialect A, "documents": bare arrays and objects, slugs, no sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictofs.emulator.dialect import API_PATH, Dialect, Row, optional_iso
from pictofs.emulator.identity import iso
from pictofs.emulator.model import Dataset, Export, Image
from pictofs.emulator.service import Refusal


class DialectA(Dialect):
    """Bare arrays and objects, slugs, no sizes."""

    letter = "a"

    def rows(self, kind: str, rows: Sequence[Row], limit: int, offset: int, total: int) -> Any:
        """A bare array: its end is an empty page, or image_count."""
        return rows

    def single(self, kind: str, row: Row) -> Any:
        """The bare object."""
        return row

    def error(self, refusal: Refusal) -> Any:
        """`{"error": "not_found", "message": "…"}`."""
        return {"error": refusal.code, "message": refusal.message}

    def dataset(self, dataset: Dataset) -> Row:
        """With a slug; without total_size."""
        counts = self._counts(dataset)
        del counts["total_size"]
        return {
            "id": dataset.id,
            "name": dataset.name,
            "slug": dataset.slug,
            "description": dataset.description,
            **counts,
            "classes": [{"name": each.get("name"), "color": each.get("color")} for each in dataset.classes],
            "created_at": iso(dataset.created_us),
            "updated_at": iso(dataset.updated_us),
        }

    def image(self, dataset: Dataset, image: Image) -> Row:
        """id, filename, annotation_count: all that the documents name."""
        return {"id": image.id, "filename": image.filename, "annotation_count": image.annotation_count}

    def item(self, dataset: Dataset, image: Image, mode: str) -> Row:
        """With download_url and a relative annotation_url, each unless the mode leaves it out."""
        row: Row = {"id": image.id, "filename": image.filename}
        if mode != "annotations_only":
            row["download_url"] = self._image_url(dataset, image)
        if mode != "images_only":
            row["annotation_url"] = f"{API_PATH}/annotations/{image.id}/file"
        return row

    def download(self, dataset: Dataset, items: list[Row], expires_us: int) -> Any:
        """`{dataset, images, expires_at}`."""
        return {
            "dataset": {"id": dataset.id, "name": dataset.name},
            "images": items,
            "expires_at": iso(expires_us),
        }

    def export(self, dataset: Dataset, export: Export, *, created: bool = False) -> Row:
        """With the dataset's slug as dataset_name; the answer to an order holds little else."""
        row: Row = {
            "id": export.id,
            "name": export.name,
            "dataset_name": dataset.slug,
            "status": export.status,
            "created_at": iso(export.created_us),
        }
        if created:
            return row
        row |= {
            "image_count": export.image_count,
            "annotation_count": export.annotation_count,
            "file_size": export.file_size,
            "include_images": export.include_images,
            "class_filter": export.class_filter,
            "status_filter": export.status_filter,
            "completed_at": optional_iso(export.completed_us),
        }
        if export.error_message is not None:
            row["error_message"] = export.error_message
        return row

    def export_url(self, url: str, expires_us: int, file_size: int) -> Any:
        """`{download_url, expires_at, file_size}`."""
        return {"download_url": url, "expires_at": iso(expires_us), "file_size": file_size}

    def annotations(self, image: Image, *, document: bool) -> Any:
        """The document: the image, and what is marked on it."""
        return {
            "image": {
                "id": image.id,
                "filename": image.filename,
                "width": image.width,
                "height": image.height,
            },
            "annotations": image.load_annotations(),
        }

    def deleted(self, summary: Row) -> Any:
        """The bare summary."""
        return summary
