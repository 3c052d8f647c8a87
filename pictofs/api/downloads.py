"""What `client.datasets.download` and `client.exports.download` are told and bring back.

The carrying itself joins this room and storage, so it lies above both (`pictofs/download/`): a client is
given a `Downloads`, or takes the one that the package's root composes, and hands it an order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from pictofs.api.documents import render
from pictofs.api.models import Dataset
from pictofs.errors import UsageError

if TYPE_CHECKING:
    from pictofs.api.client import Client

MODES = ("full", "images_only", "annotations_only")
SCHEMA = 1  # of a report as JSON
WORKERS = 16  # transfers at once, unless the caller says otherwise
FileProgress = Callable[[int, int, str], object]  # files done, files in all, the file just done
ByteProgress = Callable[[int, int], object]  # bytes here, bytes in all


class DownloadFailure(msgspec.Struct, frozen=True, kw_only=True):
    """One file that did not arrive: `kind` is image or annotation, `path` is below the dataset's folder."""

    filename: str
    kind: str
    reason: str
    id: str = ""
    directory_path: str = "/"
    path: str = ""


class DownloadReport(msgspec.Struct, kw_only=True):
    """How a download went. `folder` is the dataset's own, below the directory that was asked for."""

    dataset_id: str
    dataset: str = ""
    folder: str = ""
    mode: str = "full"
    status_filter: str | None = None
    images_downloaded: int = 0
    annotations_downloaded: int = 0
    bytes_downloaded: int = 0
    failures: list[DownloadFailure] = msgspec.field(default_factory=list)

    def document(self) -> bytes:
        """The report as JSON, for `retry` another day."""
        shown = {**msgspec.to_builtins(self), "success": self.success}
        return render({"schema": SCHEMA, **shown})

    @classmethod
    def read(cls, document: bytes) -> DownloadReport:
        """The report behind `document`. UsageError where it is none."""
        why = ""
        try:
            if msgspec.json.decode(document, type=_Versioned).schema == SCHEMA:
                return msgspec.json.decode(document, type=cls)
            why = "it was written by another version"
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            why = str(error)
        raise UsageError(f"this is no report of a download: {why}")

    @property
    def success(self) -> bool:
        """Whether everything that was wanted is there."""
        return not self.failures

    @property
    def total_attempted(self) -> int:
        """Files wanted."""
        return self.images_downloaded + self.annotations_downloaded + len(self.failures)


class _Versioned(msgspec.Struct):
    schema: int


@dataclass(frozen=True, slots=True)
class Network:
    """How a client reaches the network; transfers from the storage host go the same way."""

    timeout_s: float
    ca_file: str | None
    proxy: str | None


@dataclass(frozen=True, slots=True)
class DatasetOrder:
    """A dataset to be written below `output_dir`; with `retry` only what failed in that report."""

    dataset: Dataset
    output_dir: Path
    mode: str = "full"
    status_filter: str | None = None
    max_workers: int = WORKERS
    progress: FileProgress | None = None
    retry: DownloadReport | None = None

    def check(self) -> DatasetOrder:
        """Itself; UsageError for what cannot be."""
        if self.mode not in MODES:
            raise UsageError(f"mode={self.mode}: one of {', '.join(MODES)}")
        if self.max_workers < 1:
            raise UsageError(f"max_workers={self.max_workers}: at least 1")
        if self.retry is not None and self.retry.dataset_id != self.dataset.id:
            raise UsageError(
                f"the report is of dataset {self.retry.dataset or self.retry.dataset_id!r}, "
                f"not of {self.dataset.name!r}"
            )
        return self


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """A completed export's archive to be written to `output_path`: a file, a folder, or None for here."""

    dataset: Dataset
    export: str
    output_path: Path | None = None
    progress: ByteProgress | None = None


class Downloads(Protocol):
    """What carries out orders. Everything is done when a method returns; it may be called from any thread."""

    def dataset(self, client: Client, order: DatasetOrder) -> DownloadReport:
        """Write a dataset. Raises as `client` does before the first file, then reports and does not raise."""

    def export(self, client: Client, order: ExportOrder) -> Path:
        """Write an archive; where it is. Raises as `client` does, and TransferError."""


def folder_of(path: str | PathLike[str]) -> Path:
    """A path as a person writes it."""
    return Path(path).expanduser()
