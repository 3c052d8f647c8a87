"""The state of the emulated service and every operation on it, without transport and without wire dialect.

The API, the control port and the storage host all act through one `Service`, on one event loop, so nothing
here is locked. What a caller may not do, or what is not there, is a `Refusal` that the dialect renders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pictofs.emulator.content import StoredObject
from pictofs.emulator.identity import EPOCH_US, looks_like_id, named_id, slug_of
from pictofs.emulator.model import Annotation, Dataset, Export, Image, ImageTable, Organization
from pictofs.emulator.settings import ROLES, STATUSES, EmulatorSettings
from pictofs.emulator.signing import Grant, Rejected, Signer, expired

BUCKET = "pictograph-emulator"
_EXPECTED_MOST = 30_000  # about 40 MB
EXPORT_LIFE_US = 7 * 24 * 3600 * 1_000_000  # a completed export stays a week


class Refusal(Exception):
    """The service says no: HTTP status, a machine's word and a person's sentence."""

    def __init__(self, status: int, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


@dataclass(slots=True)
class Switches:
    """What can be changed while the emulator runs; the fields are those of `EmulatorSettings`."""

    url_ttl: int
    latency_ms: float
    storage_latency_ms: float
    bandwidth: int
    rate_limit: int
    rate_window_s: float
    page_cap: int
    batch_cap: int
    freeze_updated_at: bool
    export_pending_ms: float
    hold_exports: bool
    sparse_items: bool
    no_totals: bool
    annotation_urls: str
    hashes: str
    api_ranges: bool

    @classmethod
    def of(cls, settings: EmulatorSettings) -> Switches:
        """The switches as the settings have them."""
        return cls(**{name: getattr(settings, name) for name in cls.__slots__})


@dataclass(slots=True)
class Service:
    """One organization, its datasets, its key, and the signer of its storage URLs."""

    organization: Organization
    switches: Switches
    signer: Signer
    api_key: str
    role: str
    clock: Callable[[], float] = time.time
    datasets: dict[str, Dataset] = field(default_factory=dict)  # by id, oldest first
    key_revoked: bool = False
    base_url: str = ""  # of the Developer API, set once its port is known
    storage_url: str = ""
    _last_us: int = 0
    _made: int = 0
    _found: dict[str, tuple[Dataset, int, StoredObject]] = field(
        default_factory=dict
    )  # by path, see `stored_at`

    # time and identity

    def now_us(self) -> int:
        """Microseconds since 1970, never the same twice."""
        self._last_us = max(self._last_us + 1, int(self.clock() * 1_000_000))
        return self._last_us

    def new_id(self, *parts: object) -> str:
        """An id for something made at run time: depends on what was made before, not on the clock."""
        self._made += 1
        return named_id(self.organization.id, self._made, *parts)

    # roles

    def require(self, role: str) -> None:
        """Raise the 403 of a key whose role is below this one."""
        if ROLES.index(self.role) < ROLES.index(role):
            raise Refusal(
                403,
                "forbidden",
                f"This action requires the {role} role or higher; the API key is {self.role}.",
            )

    # datasets

    def listed(self, archived: bool) -> list[Dataset]:
        """The datasets of a list: the active ones, or the archived ones instead."""
        return [dataset for dataset in self.datasets.values() if dataset.is_archived == archived]

    def dataset_by_id(self, dataset_id: str) -> Dataset:
        """Raises the 404."""
        found = self.datasets.get(dataset_id.lower())
        if found is None:
            raise Refusal(404, "not_found", "Dataset not found")
        return found

    def dataset_by_name(self, name: str) -> Dataset:
        """Case-sensitive; raises the 404."""
        for dataset in self.datasets.values():
            if dataset.name == name:
                return dataset
        raise Refusal(404, "not_found", "Dataset not found")

    def dataset_by_slug(self, slug: str) -> Dataset:
        """Raises the 404."""
        for dataset in self.datasets.values():
            if dataset.slug == slug:
                return dataset
        raise Refusal(404, "not_found", "Dataset not found")

    def dataset_by_name_or_id(self, name: str) -> Dataset:
        """An id where it has the shape of one and exists, else a name; raises the 404."""
        if looks_like_id(name) and name.lower() in self.datasets:
            return self.datasets[name.lower()]
        return self.dataset_by_name(name)

    def add_dataset(self, dataset: Dataset) -> Dataset:
        """Put a dataset in; its name must be free, its slug is made unique."""
        self._free_name(dataset.name)
        taken = {each.slug for each in self.datasets.values()}
        if dataset.slug in taken:
            dataset.slug = f"{dataset.slug}-{dataset.id[:8]}"
        self.datasets[dataset.id] = dataset
        return dataset

    def create_dataset(self, name: str, **fields: Any) -> Dataset:
        """A new, empty dataset. 409 for a name that is taken, 422 for one that cannot be."""
        _check_name(name)
        identity, now_us = self.new_id("dataset", name), self.now_us()
        return self.add_dataset(
            Dataset(identity, name, slug_of(name, identity), now_us, now_us, ImageTable(), **fields)
        )

    def rename_dataset(self, dataset: Dataset, name: str) -> None:
        """Give it another name and slug. 409, 422 as for a new one."""
        if name == dataset.name:
            return
        _check_name(name)
        self._free_name(name)
        dataset.name, dataset.slug = name, slug_of(name, dataset.id)
        self.touch(dataset)

    def _free_name(self, name: str) -> None:
        if any(dataset.name == name for dataset in self.datasets.values()):
            raise Refusal(409, "conflict", f"A dataset named '{name}' already exists")

    def delete_dataset(self, dataset: Dataset) -> dict[str, Any]:
        """Take the dataset and its objects away; returns the summary that the service answers with."""
        del self.datasets[dataset.id]
        images = dataset.images.totals.images + dataset.images.totals.archived
        return {
            "id": dataset.id,
            "name": dataset.name,
            "deleted": True,
            "images_deleted": images,
            "directories_deleted": len(dataset.images.directories()),
            "gcs_blobs_deleted": images + len(dataset.exports),
        }

    def touch(self, dataset: Dataset) -> None:
        """Move the dataset's updated_at to now, unless the switch holds it still."""
        if not self.switches.freeze_updated_at:
            dataset.updated_us = self.now_us()

    # images

    def image_by_id(self, image_id: str) -> tuple[Dataset, Image]:
        """The image of this id in any dataset; raises the 404."""
        for dataset in self.datasets.values():
            image = dataset.images.get(image_id.lower())
            if image is not None:
                return dataset, image
        raise Refusal(404, "not_found", "Image not found")

    def image_by_path(self, dataset: Dataset, path: str) -> Image:
        """The image at `directory/filename`; raises the 404."""
        image = dataset.images.by_path(path)
        if image is None:
            raise Refusal(404, "not_found", "Image not found")
        return image

    def save_annotations(
        self, dataset: Dataset, image: Image, annotations: list[Annotation], *, touch: bool = True
    ) -> Image:
        """Replace the annotations of an image; its status stays."""
        saved = dataset.images.update(
            image.id, annotation_count=len(annotations), load_annotations=lambda: annotations
        )
        if touch:
            self.touch(dataset)
        return saved

    # exports

    def exports(self, dataset: Dataset | None, status: str | None) -> list[Export]:
        """The exports of one dataset or all, newest first."""
        chosen: Iterable[Dataset] = self.datasets.values() if dataset is None else (dataset,)
        found = [
            export
            for each in chosen
            for export in each.exports.values()
            if status is None or export.status == status
        ]
        return sorted(found, key=lambda export: (-export.created_us, export.id))

    def export_by_name(self, dataset: Dataset, name: str) -> Export:
        """Raises the 404."""
        if name not in dataset.exports:
            raise Refusal(404, "not_found", "Export not found")
        return dataset.exports[name]

    def export_by_id(self, export_id: str) -> tuple[Dataset, Export]:
        """Raises the 404."""
        for dataset in self.datasets.values():
            for export in dataset.exports.values():
                if export.id == export_id.lower():
                    return dataset, export
        raise Refusal(404, "not_found", "Export not found")

    def create_export(
        self,
        dataset: Dataset,
        name: str,
        *,
        format: str = "pictograph",
        include_images: bool = False,
        class_filter: list[str] | None = None,
        status_filter: str | None = None,
        organize_by_split: bool = False,
    ) -> Export:
        """A new pending export. 409 for a name that the dataset has already, 422 for an unknown status."""
        if not name.strip() or len(name) > 100:
            raise Refusal(422, "validation_error", "An export name has 1 to 100 characters")
        if status_filter is not None and status_filter not in STATUSES:
            raise Refusal(422, "validation_error", f"status_filter must be one of {', '.join(STATUSES)}")
        if name in dataset.exports:
            raise Refusal(409, "conflict", f"An export named '{name}' already exists for this dataset")
        export = Export(
            self.new_id("export", dataset.id, name),
            dataset.id,
            name,
            format,
            include_images,
            class_filter,
            status_filter,
            "pending",
            self.now_us(),
            organize_by_split=organize_by_split,
        )
        dataset.exports[name] = export
        return export

    # storage

    def signed_url(self, stored: StoredObject, method: str = "GET") -> str:
        """An absolute URL for one object, good for `url_ttl` seconds from now."""
        path = self.signer.sign(method, f"/{BUCKET}/{stored.key}", self.switches.url_ttl, self.clock())
        return self.storage_url + path

    def stored_at(self, path: str) -> StoredObject | None:
        """The object that lives at this path (not percent-encoded) now; None where there is none."""
        known = self._found.get(path)
        if known is not None and known[0].images.revision == known[1] and known[0].id in self.datasets:
            return known[2]
        parts = path.split("/", 5)
        dataset = self.datasets.get(parts[2]) if len(parts) == 6 and parts[1] == BUCKET else None
        if dataset is None:
            return None
        if parts[3] == "exports":
            stored = next((each.stored for each in dataset.exports.values() if each.id == parts[4]), None)
            return stored if stored is not None and path == f"/{BUCKET}/{stored.key}" else None
        image = dataset.images.get(parts[4]) if parts[3] == "images" else None
        if image is None or path != f"/{BUCKET}/{image.stored.key}":
            return None
        self.expect(dataset, image.stored)
        return image.stored

    def expect(self, dataset: Dataset, stored: StoredObject) -> None:
        """Keep an image's object at hand, with what is computed of it: finding it by its id takes 30 µs."""
        self._found[f"/{BUCKET}/{stored.key}"] = (dataset, dataset.images.revision, stored)
        if len(self._found) > _EXPECTED_MOST:
            del self._found[next(iter(self._found))]  # the oldest

    def granted(self, method: str, raw_path: str, raw_query: str) -> Grant:
        """Verify a signed URL now. Raises `Rejected`."""
        return self.signer.verify(method, raw_path, raw_query, self.clock())

    def image_url(self, image: Image) -> str:
        """The API's own URL of the image bytes: needs the key."""
        return f"{self.base_url}/images/{image.id}"

    def annotation_path(self, dataset: Dataset, image: Image) -> str:
        """The path by which dialect c addresses an image's annotations, from the host's root."""
        return f"/api/v1/developer/annotations/{_quoted(dataset.name)}/{quote(image.path, safe='/')}"


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or "/" in name or len(name) > 120:
        raise Refusal(422, "validation_error", "A dataset name has 1 to 120 characters and no '/'")


def image_key(dataset_id: str, image_id: str, filename: str) -> str:
    """The storage path of an image within the bucket; it stays when the image is renamed or moved."""
    return f"{dataset_id}/images/{image_id}/{_segment(filename)}"


def export_key(dataset_id: str, export_id: str, name: str) -> str:
    """The storage path of an export's ZIP within the bucket."""
    return f"{dataset_id}/exports/{export_id}/{_segment(name)}.zip"


@lru_cache(maxsize=64)  # of a dataset, for each of its images
def _quoted(name: str) -> str:
    return quote(name, safe="")


def _segment(name: str) -> str:
    # One path segment that no client folds away: dot segments and slashes would be.
    return name.replace("/", "_") if name.strip(".") else "_" * max(1, len(name))


def make_service(settings: EmulatorSettings, clock: Callable[[], float] = time.time) -> Service:
    """A service without datasets."""
    identity = named_id("organization", settings.organization)
    organization = Organization(
        identity, settings.organization, slug_of(settings.organization, identity), EPOCH_US
    )
    secret = named_id("signing secret", settings.seed, settings.organization).encode()
    return Service(
        organization, Switches.of(settings), Signer(secret), settings.api_key, settings.role, clock
    )


__all__ = ["BUCKET", "EXPORT_LIFE_US", "Refusal", "Rejected", "Service", "Switches", "expired"]
