"""`user.pictofs.*`: what the service says of a file that stat has no field for. Pure.

Names: id name status split tags width height annotation_count version md5 crc32c cached. A value that is
not known is left out, and reading it is ENODATA. Tags are joined by commas, `cached` is 0 or 1, `version` is
the storage generation (or ETag) of an image and a hash of an annotation's body.
"""

from __future__ import annotations

from pictofs.catalog.model import (
    AnnotationRow,
    DatasetRow,
    ExportRow,
    ImageRow,
    MemberRow,
    OrganizationRow,
)

PREFIX = "user.pictofs."


def of_organization(row: OrganizationRow) -> dict[str, str]:
    """An organization's folder."""
    return _known({"id": row.remote_id, "name": row.name})


def of_dataset(row: DatasetRow) -> dict[str, str]:
    """A dataset's folder, and its dataset.json."""
    return _known({"id": row.remote_id, "name": row.name, "status": "archived" if row.archived else ""})


def of_image(row: ImageRow, whole: bool) -> dict[str, str]:
    """An image."""
    return _known({
        "id": row.remote_id,
        "name": row.remote_name,
        "status": row.status,
        "split": row.split,
        "tags": ",".join(row.tags),
        "width": row.width,
        "height": row.height,
        "annotation_count": row.annotation_count,
        "version": row.generation,
        "md5": row.md5,
        "crc32c": row.crc32c,
        "cached": int(whole),
    })


def of_annotation(row: AnnotationRow, image: ImageRow, whole: bool) -> dict[str, str]:
    """An annotation; id, name, status and split are its image's."""
    return _known({
        "id": image.remote_id,
        "name": image.remote_name,
        "status": image.status,
        "split": image.split,
        "annotation_count": image.annotation_count,
        "version": row.version,
        "cached": int(whole),
    })


def of_export(row: ExportRow, whole: bool) -> dict[str, str]:
    """An export's archive, and its status file."""
    return _known({
        "id": row.remote_id,
        "name": row.remote_name,
        "status": row.status,
        "cached": int(whole),
    })


def of_member(row: MemberRow, whole: bool | None) -> dict[str, str]:
    """A member of an archive, or a directory of it; `whole` None where that takes too long to tell."""
    return _known({"name": row.name, "cached": None if whole is None else int(whole)})


def _known(values: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None and value != ""}
