"""`POST /mutate`: changes that somebody else makes to the organization while a client looks on.

Each operation is a function of the `Mutator`; its keyword arguments are the fields of the request body.
Unless `touch` is false (or updated_at is frozen) a change of a dataset moves its updated_at. Bodies:
docs/emulator.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pictofs.emulator.exports import ExportJobs
from pictofs.emulator.formats import FORMATS
from pictofs.emulator.image_mutations import ImageMutations
from pictofs.emulator.model import Dataset, Export
from pictofs.emulator.mutation import BadMutation, Operation, decoded
from pictofs.emulator.service import Refusal, Service, Switches
from pictofs.emulator.settings import ROLES

_OWN = (
    "add_dataset",
    "rename_dataset",
    "delete_dataset",
    "archive_dataset",
    "touch_dataset",
    "add_export",
    "complete_export",
    "fail_export",
    "delete_export",
    "expire_export",
    "revoke_key",
    "restore_key",
    "set_key",
    "set_role",
    "settings",
)


class Mutator:
    """Changes one service."""

    def __init__(self, service: Service, jobs: ExportJobs) -> None:
        self._service, self._jobs = service, jobs
        self._operations: dict[str, Operation] = ImageMutations(service).operations()
        for name in _OWN:
            self._operations[name] = getattr(self, f"_{name}")

    async def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one change and say what it changed. Raises `BadMutation`."""
        given = dict(body)
        name = given.pop("op", None)
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None:
            raise BadMutation(f"op {name!r}: one of {', '.join(self._operations)}")
        try:
            inspect.signature(operation).bind(**given)
        except TypeError as error:
            raise BadMutation(f"{name}: {error}") from None
        try:
            return await operation(**given)
        except Refusal as refusal:
            raise BadMutation(f"{name}: {refusal.message}") from None

    # finding

    def _dataset(self, dataset: str) -> Dataset:
        return self._service.dataset_by_name_or_id(dataset)

    def _touch(self, dataset: Dataset, touch: bool) -> None:
        if touch:
            self._service.touch(dataset)

    # datasets

    async def _add_dataset(self, name: str, description: str | None = None) -> dict[str, Any]:
        return _dataset_shown(self._service.create_dataset(name, description=description))

    async def _rename_dataset(self, dataset: str, name: str, touch: bool = True) -> dict[str, Any]:
        found = self._dataset(dataset)
        before_us = found.updated_us
        self._service.rename_dataset(found, name)
        if not touch:
            found.updated_us = before_us
        return _dataset_shown(found)

    async def _delete_dataset(self, dataset: str) -> dict[str, Any]:
        return self._service.delete_dataset(self._dataset(dataset))

    async def _archive_dataset(
        self, dataset: str, archived: bool = True, touch: bool = True
    ) -> dict[str, Any]:
        found = self._dataset(dataset)
        found.is_archived = archived
        self._touch(found, touch)
        return _dataset_shown(found)

    async def _touch_dataset(self, dataset: str) -> dict[str, Any]:
        found = self._dataset(dataset)
        self._service.touch(found)
        return _dataset_shown(found)

    # exports

    async def _add_export(
        self,
        dataset: str,
        name: str,
        format: str = "pictograph",
        include_images: bool = False,
        class_filter: list[str] | None = None,
        status_filter: str | None = None,
        status: str = "completed",
        content: str | None = None,
        error_message: str | None = None,
    ) -> dict[str, Any]:
        found = self._dataset(dataset)
        if format not in FORMATS:
            raise BadMutation(f"format: one of {', '.join(FORMATS)}")
        export = self._service.create_export(
            found,
            name,
            format=format,
            include_images=include_images,
            class_filter=class_filter,
            status_filter=status_filter,
        )
        match status:
            case "completed":
                await self._jobs.complete(found, export, decoded(content))
            case "failed":
                self._jobs.fail(export, error_message or "The export failed")
            case "pending" | "processing":
                export.status = status
            case _:
                del found.exports[name]
                raise BadMutation("status: pending, processing, completed or failed")
        return _export_shown(export)

    async def _complete_export(self, dataset: str, export: str, content: str | None = None) -> dict[str, Any]:
        found = self._dataset(dataset)
        chosen = self._service.export_by_name(found, export)
        await self._jobs.complete(found, chosen, decoded(content))
        return _export_shown(chosen)

    async def _fail_export(
        self, dataset: str, export: str, message: str = "The export failed"
    ) -> dict[str, Any]:
        chosen = self._service.export_by_name(self._dataset(dataset), export)
        self._jobs.fail(chosen, message)
        return _export_shown(chosen)

    async def _delete_export(self, dataset: str, export: str) -> dict[str, Any]:
        found = self._dataset(dataset)
        chosen = self._service.export_by_name(found, export)
        del found.exports[chosen.name]
        return _export_shown(chosen)

    async def _expire_export(self, dataset: str, export: str) -> dict[str, Any]:
        chosen = self._service.export_by_name(self._dataset(dataset), export)
        chosen.stored, chosen.expires_us = None, self._service.now_us()
        return _export_shown(chosen)

    # the key, and the switches

    async def _revoke_key(self) -> dict[str, Any]:
        self._service.key_revoked = True
        return {"key_revoked": True}

    async def _restore_key(self) -> dict[str, Any]:
        self._service.key_revoked = False
        return {"key_revoked": False}

    async def _set_key(self, api_key: str) -> dict[str, Any]:
        if not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable() or not api_key:
            raise BadMutation("api_key: printable ASCII characters")
        self._service.api_key = api_key
        return {}

    async def _set_role(self, role: str) -> dict[str, Any]:
        if role not in ROLES:
            raise BadMutation(f"role: one of {', '.join(ROLES)}")
        self._service.role = role
        return {"role": role}

    async def _settings(self, **values: Any) -> dict[str, Any]:
        switches = self._service.switches
        known = {each.name for each in fields(Switches)}
        for name, value in values.items():
            if name not in known:
                raise BadMutation(f"settings: {name} is none of {', '.join(sorted(known))}")
            now = getattr(switches, name)
            numbers = (int, float) if isinstance(now, float) else (type(now),)
            if not isinstance(value, numbers) or (isinstance(value, bool) and not isinstance(now, bool)):
                raise BadMutation(f"settings: {name} must be a {type(now).__name__}")
        for name, value in values.items():
            setattr(switches, name, value)
        return {each.name: getattr(switches, each.name) for each in fields(Switches)}


def _dataset_shown(dataset: Dataset) -> dict[str, Any]:
    return {"id": dataset.id, "name": dataset.name, "slug": dataset.slug, "is_archived": dataset.is_archived}


def _export_shown(export: Export) -> dict[str, Any]:
    return {"id": export.id, "name": export.name, "status": export.status, "file_size": export.file_size}
