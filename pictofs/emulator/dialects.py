"""The three wire dialects: how rows, lists, single things and errors are written. Pure rendering, no decisions.

A is "documents" (bare arrays and objects), B "keyed" (`{"datasets": […]}`), C "enveloped" (`{"data": …}`). Which
field stands in which dialect is the contract of the whole emulator; absent ones are absent on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictofs.emulator.identity import iso
from pictofs.emulator.model import Dataset, Export, Image
from pictofs.emulator.service import Refusal, Service

Row = dict[str, Any]
API_PATH = "/api/v1/developer"
_FOREIGN = "https://keys-must-not-come-here.invalid"
_C_ONLY_GEOMETRY = ("oriented_box", "instance_id")  # SDK 1.0 rejects a whole list that holds them


def _optional_iso(time_us: int | None) -> str | None:
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

    def _counts(self, dataset: Dataset) -> Row:
        totals = dataset.images.totals
        return {
            "image_count": totals.images,
            "completed_image_count": totals.complete,
            "annotation_count": totals.annotations,
            "total_size": totals.size_bytes,
        }


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
            row["download_url"] = self.service.signed_url(image.stored)
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
            "completed_at": _optional_iso(export.completed_us),
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
        """With mime_type, virtual_folder_path, image_width; annotation_url only where there are annotations."""
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
            row["image_url"] = self.service.signed_url(image.stored)
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
            "completed_at": _optional_iso(export.completed_us),
            "expires_at": _optional_iso(export.expires_us),
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
            row["image_url"] = self.service.signed_url(image.stored)
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


def dialect_of(letter: str, service: Service) -> Dialect:
    """The dialect of this letter, speaking of this service."""
    return {"a": DialectA, "b": DialectB, "c": DialectC}[letter](service)
