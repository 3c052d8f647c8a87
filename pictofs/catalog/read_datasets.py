"""Reading organizations, datasets, directories and exports."""

from __future__ import annotations

from functools import lru_cache

from pictofs import names
from pictofs.catalog.columns import key_digest, unpack_directory
from pictofs.catalog.connected import Connected, Row
from pictofs.catalog.model import DatasetCount, DatasetRow, DirectoryRow, ExportRow, OrganizationRow, Totals

_ORGANIZATION = "SELECT pk, origin, remote_id, name, slug, document, checked_ns, tried_ns FROM organization"
_DATASET = (
    "SELECT pk, organization, remote_id, plain, slug, file_name, archived, document, fingerprint, "
    "created_ns, "
    "updated_ns, image_count, total_bytes, checked_ns, listed_ns, listed_fingerprint, exports_listed_ns, "
    "listing_generation, root_directory, gone_ns FROM dataset"
)
_DIRECTORY = "SELECT pk, dataset, parent, file_name, path, mtime_ns, subdirectories FROM directory"
_EXPORT = (
    "SELECT pk, ifnull(ino, pk), dataset, file_name, remote_id, plain, status, size, created_ns, "
    "completed_ns, "
    "document, gone FROM export"
)


# The same few rows are read for every file that is fetched: what SQLite gives is turned into an object once.
@lru_cache(256)
def _dataset(row: Row) -> DatasetRow:
    fields = list(row)
    fields[3], fields[4] = names.decode(row[3]), names.decode(row[4]) if row[4] else ""
    fields[6], fields[19] = bool(row[6]), bool(row[19])
    return DatasetRow(*fields)


@lru_cache(1024)
def _directory(row: Row) -> DirectoryRow:
    fields = list(row)
    fields[4] = unpack_directory(row[4])
    return DirectoryRow(*fields)


def _export(row: Row) -> ExportRow:
    fields = list(row)
    fields[5], fields[11] = names.decode(row[5]), bool(row[11])
    return ExportRow(*fields)


class DatasetReads(Connected):
    """What exists above the images."""

    def organization(self, pk: int) -> OrganizationRow | None:
        """The organization of that pk."""
        row = self._row(f"{_ORGANIZATION} WHERE pk = ?", (pk,))
        return OrganizationRow(*row) if row else None

    def organizations(self) -> list[OrganizationRow]:
        """All of them, in the order in which they came."""
        return [OrganizationRow(*row) for row in self._rows(f"{_ORGANIZATION} ORDER BY pk")]

    def organization_for_key(self, origin: str, key: str) -> OrganizationRow | None:
        """The organization that `key` belonged to when it was last used at `origin`: no request needed."""
        digest = key_digest(self._value("SELECT value FROM meta WHERE name = 'salt'"), origin, key)
        row = self._row(
            f"{_ORGANIZATION} WHERE pk = (SELECT organization FROM api_key WHERE digest = ?)", (digest,)
        )
        return OrganizationRow(*row) if row else None

    def dataset(self, pk: int) -> DatasetRow | None:
        """The dataset of that pk, also one that is gone."""
        row = self._row(f"{_DATASET} WHERE pk = ?", (pk,))
        return _dataset(row) if row else None

    def datasets(self, organization: int, archived: bool = False) -> list[DatasetRow]:
        """Those that exist, by file name; archived ones only when asked for."""
        sql = f"{_DATASET} WHERE organization = ? AND gone_ns = 0 AND archived <= ? ORDER BY file_name"
        return [_dataset(row) for row in self._rows(sql, (organization, int(archived)))]

    def dataset_named(self, organization: int, file_name: str) -> DatasetRow | None:
        """By the name given; else, hidden, by remote name, slug or remote id, in this order."""
        row = self._row(
            f"{_DATASET} WHERE organization = ? AND gone_ns = 0 AND file_name = ?", (organization, file_name)
        )
        if row is None:
            plain = names.encode(file_name)
            row = self._row(
                f"{_DATASET} WHERE organization = ?1 AND gone_ns = 0 AND (plain IN (?2, ?3) OR slug IN (?2, "
                "?3) OR "
                "remote_id = ?2) "
                "ORDER BY plain NOT IN (?2, ?3), slug NOT IN (?2, ?3), created_ns, remote_id LIMIT 1",
                (organization, file_name, plain),
            )
        return _dataset(row) if row else None

    def directory(self, pk: int) -> DirectoryRow | None:
        """The directory of that pk."""
        row = self._row(f"{_DIRECTORY} WHERE pk = ?", (pk,))
        return _directory(row) if row else None

    def subdirectory(self, parent: int, file_name: str) -> DirectoryRow | None:
        """The directory of that name in `parent`."""
        row = self._row(
            f"{_DIRECTORY} WHERE parent = ? AND parent > 0 AND file_name = ?", (parent, file_name)
        )
        return _directory(row) if row else None

    def subdirectories(self, parent: int, after: str = "", limit: int = 1000) -> list[DirectoryRow]:
        """At most `limit` directories in `parent` behind the name `after`, by file name."""
        sql = f"{_DIRECTORY} WHERE parent = ? AND parent > 0 AND file_name > ? ORDER BY file_name LIMIT ?"
        return [_directory(row) for row in self._rows(sql, (parent, after, limit))]

    def export(self, pk: int) -> ExportRow | None:
        """The export of that pk, also an old version."""
        row = self._row(f"{_EXPORT} WHERE pk = ?", (pk,))
        return _export(row) if row else None

    def exports(self, dataset: int) -> list[ExportRow]:
        """The current version of every export, by file name."""
        return [
            _export(row)
            for row in self._rows(f"{_EXPORT} WHERE dataset = ? AND gone = 0 ORDER BY file_name", (dataset,))
        ]

    def export_named(self, dataset: int, file_name: str) -> ExportRow | None:
        """By its file name without `.zip`."""
        row = self._row(f"{_EXPORT} WHERE dataset = ? AND gone = 0 AND file_name = ?", (dataset, file_name))
        return _export(row) if row else None

    def image_counts(self, organization: int) -> list[DatasetCount]:
        """Per dataset how many images are known, and how many of them are whole in the store."""
        sql = (
            "SELECT d.pk, d.file_name, c.images, c.cached FROM dataset d JOIN dataset_count c ON c.dataset = "
            "d.pk "
            "WHERE d.organization = ? AND d.gone_ns = 0 ORDER BY d.file_name"
        )
        return [DatasetCount(*row) for row in self._rows(sql, (organization,))]

    def totals(self, organization: int) -> Totals:
        """Bytes and files of an organization: as counted here once listed, as the service says before."""
        sql = (
            "SELECT ifnull(sum(max(d.total_bytes, c.known_bytes)), 0), "
            "ifnull(sum(CASE WHEN d.listed_ns THEN c.images ELSE d.image_count END), 0) "
            "FROM dataset d JOIN dataset_count c ON c.dataset = d.pk WHERE d.organization = ? AND d.gone_ns "
            "= 0"
        )
        return Totals(*self._rows(sql, (organization,))[0])
