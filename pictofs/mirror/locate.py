"""Where a node belongs: its organization, its dataset, its own row. Reads the catalog, a few rows at most."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import (
    AnnotationRow,
    DatasetRow,
    ExportRow,
    ImageRow,
    Kind,
    OrganizationRow,
    node_kind,
    node_pk,
)

OF_DATASET = frozenset({Kind.DATASET, Kind.DATASET_JSON, Kind.EXPORTS, Kind.SPLITS, Kind.STATUSES})
OF_DIRECTORY = frozenset({Kind.IMAGES, Kind.ANNOTATIONS})
OF_VIEW = frozenset({Kind.VIEW, Kind.VIEW_IMAGES, Kind.VIEW_ANNOTATIONS})
OF_IMAGE = frozenset({Kind.IMAGE, Kind.IMAGE_LINK, Kind.ANNOTATION, Kind.ANNOTATION_LINK})
OF_EXPORT = frozenset({Kind.EXPORT, Kind.EXPORT_STATUS, Kind.EXPORT_OPENED})
OF_ARCHIVE = frozenset({Kind.MEMBER, Kind.MEMBER_DIRECTORY})


@dataclass(frozen=True, slots=True)
class Place:
    """A node and the rows around it; those that its kind has not are None."""

    node: int
    kind: Kind
    organization: int
    dataset: DatasetRow | None = None
    image: ImageRow | None = None
    annotation: AnnotationRow | None = None
    export: ExportRow | None = None


def place(reader: CatalogReader, node: int) -> Place | None:
    """The place of a node; None for one that the catalog does not know (any more), and for control files."""
    try:
        kind = node_kind(node)
    except ValueError:
        return None
    pk = node_pk(node)
    if kind is Kind.ORGANIZATION:
        return Place(node, kind, pk) if isinstance(reader.organization(pk), OrganizationRow) else None
    image = annotation = export = None
    dataset_pk = 0
    if kind in OF_DATASET:
        dataset_pk = pk
    elif kind in OF_DIRECTORY:
        directory = reader.directory(pk)
        dataset_pk = directory.dataset if directory else 0
    elif kind in OF_VIEW:
        dataset_pk = _dataset_of_view(reader, kind, pk)
    elif kind in OF_IMAGE:
        if kind is Kind.ANNOTATION:
            annotation = reader.annotation(pk)
            image = reader.image_of_annotation(pk)
        else:
            image = reader.image(pk)
        dataset_pk = image.dataset if image else 0
    elif kind in OF_EXPORT or kind in OF_ARCHIVE:
        export = reader.export(pk) if kind in OF_EXPORT else _export_of(reader, pk)
        dataset_pk = export.dataset if export else 0
    dataset = reader.dataset(dataset_pk) if dataset_pk else None
    if dataset is None:
        return None
    return Place(node, kind, dataset.organization, dataset, image, annotation, export)


def organization(reader: CatalogReader, node: int, datasets: MutableMapping[int, int]) -> int:
    """The pk of the organization that a file of blocks belongs to; 0 for no such node.

    `datasets` remembers which organization a dataset is of, which never changes: each block asks for it.
    """
    try:
        kind = node_kind(node)
    except ValueError:
        return 0
    pk = node_pk(node)
    row: ImageRow | ExportRow | None = None
    if kind is Kind.IMAGE:
        row = reader.image(pk)
    elif kind is Kind.ANNOTATION:
        row = reader.image_of_annotation(pk)
    elif kind is Kind.EXPORT:
        row = reader.export(pk)
    elif kind is Kind.MEMBER:
        row = _export_of(reader, pk)
    if row is None:
        return 0
    found = datasets.get(row.dataset)
    if found is None:
        dataset = reader.dataset(row.dataset)
        found = dataset.organization if dataset else 0
        datasets[row.dataset] = found
    return found


def _export_of(reader: CatalogReader, pk: int) -> ExportRow | None:
    member = reader.member(pk)
    return reader.export(member.export) if member else None


def _dataset_of_view(reader: CatalogReader, kind: Kind, pk: int) -> int:
    if kind is not Kind.VIEW:
        directory = reader.view_directory(pk)
        if directory is None:
            return 0
        pk = directory.view
    view = reader.view(pk)
    return view.dataset if view else 0
