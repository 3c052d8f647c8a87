"""What `--json` prints of a thing: the same fields in all dialects, under the service's own names; null where
the service does not tell. docs/commands.md lists them.
"""

from __future__ import annotations

import json
from typing import Any

from pictofs.api import Budget, Dataset, Export, Image, Organization
from pictofs.api.times import rfc3339


def of_dataset(dataset: Dataset) -> dict[str, Any]:
    """A dataset; with `images` where they were asked for."""
    found: dict[str, Any] = {
        "id": dataset.id,
        "name": dataset.name,
        "slug": dataset.slug or None,
        "description": dataset.description,
        "image_count": dataset.image_count,
        "completed_image_count": dataset.completed_image_count,
        "archived_image_count": dataset.archived_image_count,
        "annotation_count": dataset.annotation_count,
        "total_size": dataset.total_size if "total_size" in json.loads(dataset.document) else None,
        "classes": list(dataset.classes),
        "annotation_types": list(dataset.annotation_types),
        "is_archived": dataset.is_archived,
        "created_at": rfc3339(dataset.created_ns) or None,
        "updated_at": rfc3339(dataset.updated_ns) or None,
    }
    if dataset.images is not None:
        found["images"] = [of_image(image) for image in dataset.images]
    return found


def of_image(image: Image) -> dict[str, Any]:
    """An image."""
    return {
        "id": image.id,
        "filename": image.filename,
        "directory_path": image.directory_path,
        "file_size": image.file_size,
        "width": image.width,
        "height": image.height,
        "content_type": image.content_type or None,
        "status": image.status or None,
        "split": image.split or None,
        "tags": list(image.tags),
        "annotation_count": image.annotation_count,
        "is_archived": image.is_archived,
        "created_at": rfc3339(image.created_ns) or None,
    }


def of_export(export: Export) -> dict[str, Any]:
    """An export."""
    return {
        "id": export.id,
        "name": export.name,
        "dataset_id": export.dataset_id or None,
        "dataset_name": export.dataset_name or None,
        "format": export.format or None,
        "status": export.status or None,
        "error_message": export.error_message or None,
        "include_images": export.include_images,
        "class_filter": list(export.class_filter),
        "status_filter": export.status_filter or None,
        "file_size": export.file_size,
        "image_count": export.image_count,
        "annotation_count": export.annotation_count,
        "created_at": rfc3339(export.created_ns) or None,
        "completed_at": rfc3339(export.completed_ns) or None,
        "expires_at": rfc3339(export.expires_ns) or None,
    }


def of_account(me: Organization, budget: Budget | None, origin: str, dialect: str) -> dict[str, Any]:
    """Whose key it is, and what is left of the hour's requests."""
    return {
        "organization": {"id": me.id or None, "name": me.name, "slug": me.slug or None},
        "role": me.role or None,
        "budget": budget
        and {
            "limit": budget.limit,
            "remaining": budget.remaining,
            "reset": rfc3339(int(budget.reset_s * 1e9)) or None,
        },
        "base_url": origin,
        "dialect": dialect,
    }
