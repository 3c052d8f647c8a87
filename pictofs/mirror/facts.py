"""Between the api's models and the catalog's rows, both ways. Pure."""

from __future__ import annotations

from pictofs.api import Dataset, Export, Image
from pictofs.catalog.model import (
    DatasetFacts,
    DatasetRow,
    DirectoryRow,
    ExportFacts,
    ExportRow,
    ImageFacts,
    ImageRow,
)


def of_dataset(dataset: Dataset) -> DatasetFacts:
    """What the catalog keeps of a dataset."""
    return DatasetFacts(
        remote_id=dataset.id,
        name=dataset.name,
        slug=dataset.slug,
        archived=dataset.is_archived,
        document=dataset.document,
        fingerprint=dataset.fingerprint,
        created_ns=dataset.created_ns,
        updated_ns=dataset.updated_ns,
        image_count=dataset.image_count,
        total_bytes=dataset.total_size,
    )


def of_image(image: Image) -> ImageFacts:
    """What the catalog keeps of an image."""
    return ImageFacts(
        remote_id=image.id,
        remote_name=image.filename,
        directory_path=image.directory_path,
        size_bytes=image.file_size,
        created_ns=image.created_ns,
        status=image.status,
        split=image.split,
        width=image.width,
        height=image.height,
        annotation_count=image.annotation_count,
        tags=image.tags,
    )


def of_export(export: Export, now_ns: int) -> ExportFacts:
    """What the catalog keeps of an export. One whose archive has expired is listed as completed for ever."""
    over = export.status == "completed" and 0 < export.expires_ns <= now_ns
    return ExportFacts(
        remote_id=export.id,
        remote_name=export.name,
        status="expired" if over else export.status,
        size_bytes=export.file_size,
        created_ns=export.created_ns,
        completed_ns=export.completed_ns,
        document=export.document,
    )


def to_dataset(row: DatasetRow) -> Dataset:
    """The dataset to ask the api with."""
    return Dataset(id=row.remote_id, name=row.name, slug=row.slug, image_count=row.image_count)


def to_image(row: ImageRow, directory: DirectoryRow | None) -> Image:
    """The image to ask the api with."""
    path = directory.remote_path if directory else "/"
    return Image(id=row.remote_id, filename=row.remote_name, directory_path=path, file_size=row.size_bytes)


def to_export(row: ExportRow) -> Export:
    """The export to ask the api with."""
    return Export(id=row.remote_id, name=row.remote_name, file_size=row.size_bytes)
