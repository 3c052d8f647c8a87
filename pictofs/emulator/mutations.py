"""`POST /mutate`: changes that somebody else makes to the organization while a client looks on.

Each operation is a function of the `Mutator`; its keyword arguments are the fields of the request body. Unless `touch`
is false (or updated_at is frozen) a change of a dataset moves its updated_at. Bodies: docs/emulator.md.
"""

from __future__ import annotations

import base64
import binascii
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any

from pictofs.emulator.content import BytesContent, Content, StoredObject, content_type_of
from pictofs.emulator.exports import ExportJobs
from pictofs.emulator.formats import FORMATS
from pictofs.emulator.model import Annotation, Dataset, Export, Image
from pictofs.emulator.picture import dimensions_of, picture
from pictofs.emulator.service import Refusal, Service, Switches, image_key
from pictofs.emulator.settings import ROLES, STATUSES

_IMAGE_FIELDS = ("status", "split", "tags", "is_archived")


class BadMutation(ValueError):
    """A mutation that cannot be: the message says why."""


class Mutator:
    """Changes one service."""

    def __init__(self, service: Service, jobs: ExportJobs) -> None:
        self._service, self._jobs = service, jobs
        self._operations: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            name: getattr(self, f"_{name}")
            for name in (
                "add_image",
                "replace_image",
                "delete_image",
                "move_image",
                "rename_image",
                "set_image",
                "edit_annotation",
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
                "set_role",
                "settings",
            )
        }

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

    def _image(self, dataset: str, image: str) -> tuple[Dataset, Image]:
        """An image of a dataset by id, or by `directory/filename`."""
        found = self._dataset(dataset)
        by_id = found.images.get(image)
        return found, by_id if by_id is not None else self._service.image_by_path(found, image.lstrip("/"))

    def _touch(self, dataset: Dataset, touch: bool) -> None:
        if touch:
            self._service.touch(dataset)

    def _content(
        self, filename: str, content: str | None, size: int | None, salt: int
    ) -> tuple[Content, int, int]:
        """Bytes given in base64, or a generated picture of `size` bytes; with their width and height."""
        if content is not None:
            try:
                body = base64.b64decode(content, validate=True)
            except (binascii.Error, ValueError):
                raise BadMutation("content must be base64") from None
        else:
            try:
                body = picture(filename, salt, size)
            except ValueError as error:
                raise BadMutation(f"size: {error}") from None
        return BytesContent(body), *dimensions_of(body)

    # images

    async def _add_image(
        self,
        dataset: str,
        filename: str,
        directory_path: str = "/",
        content: str | None = None,
        size: int | None = None,
        status: str = "new",
        split: str | None = None,
        tags: list[str] | None = None,
        annotations: list[Annotation] | None = None,
        touch: bool = True,
    ) -> dict[str, Any]:
        found = self._dataset(dataset)
        if status not in STATUSES:
            raise BadMutation(f"status: one of {', '.join(STATUSES)}")
        if not filename:
            raise BadMutation("filename must not be empty")
        labels, image_id = annotations or [], self._service.new_id("image", found.id, filename)
        now_us = self._service.now_us()
        body, width, height = self._content(filename, content, size, now_us)
        stored = StoredObject(
            image_key(found.id, image_id, filename), body, content_type_of(filename), now_us, now_us
        )
        image = Image(
            image_id,
            found.id,
            filename,
            _directory(directory_path),
            status,
            split,
            tuple(tags or ()),
            len(labels),
            width,
            height,
            now_us,
            stored,
            lambda: labels,
        )
        found.images.add(image)
        self._touch(found, touch)
        return _shown(image)

    async def _replace_image(
        self,
        dataset: str,
        image: str,
        content: str | None = None,
        size: int | None = None,
        same_id: bool = True,
        keep_created_at: bool = True,
        touch: bool = True,
    ) -> dict[str, Any]:
        found, before = self._image(dataset, image)
        now_us = self._service.now_us()
        body, width, height = self._content(before.filename, content, size, now_us)
        if same_id:
            stored = StoredObject(before.stored.key, body, before.stored.content_type, now_us, now_us)
            created_us = before.created_us if keep_created_at else now_us
            after = found.images.update(
                before.id, stored=stored, width=width, height=height, created_us=created_us
            )
        else:
            image_id = self._service.new_id("image", found.id, before.filename)
            key = image_key(found.id, image_id, before.filename)
            found.images.remove(before.id)
            after = Image(
                image_id,
                found.id,
                before.filename,
                before.directory_path,
                before.status,
                before.split,
                before.tags,
                before.annotation_count,
                width,
                height,
                now_us,
                StoredObject(key, body, before.stored.content_type, now_us, now_us),
                before.load_annotations,
            )
            found.images.add(after)
        self._touch(found, touch)
        return _shown(after)

    async def _delete_image(
        self, dataset: str, image: str, permanent: bool = True, touch: bool = True
    ) -> dict[str, Any]:
        found, before = self._image(dataset, image)
        if permanent:
            found.images.remove(before.id)
        else:
            found.images.update(before.id, is_archived=True)
        self._touch(found, touch)
        return _shown(before)

    async def _move_image(
        self, dataset: str, image: str, directory_path: str, touch: bool = True
    ) -> dict[str, Any]:
        found, before = self._image(dataset, image)
        after = found.images.update(before.id, directory_path=_directory(directory_path))
        self._touch(found, touch)
        return _shown(after)

    async def _rename_image(
        self, dataset: str, image: str, filename: str, touch: bool = True
    ) -> dict[str, Any]:
        found, before = self._image(dataset, image)
        after = found.images.update(before.id, filename=filename)
        self._touch(found, touch)
        return _shown(after)

    async def _set_image(
        self, dataset: str, image: str, values: dict[str, Any], touch: bool = True
    ) -> dict[str, Any]:
        found, before = self._image(dataset, image)
        unknown = set(values) - set(_IMAGE_FIELDS)
        if unknown:
            raise BadMutation(f"values: only {', '.join(_IMAGE_FIELDS)}")
        if "tags" in values:
            values = {**values, "tags": tuple(values["tags"])}
        after = found.images.update(before.id, **values)
        self._touch(found, touch)
        return _shown(after)

    async def _edit_annotation(
        self,
        dataset: str,
        image: str,
        annotations: list[Annotation] | None = None,
        keep_count: bool = False,
        touch: bool = True,
    ) -> dict[str, Any]:
        found, before = self._image(dataset, image)
        labels = annotations
        if labels is None:
            labels = _edited(before.load_annotations(), self._service.now_us(), keep_count)
        if keep_count and len(labels) != before.annotation_count:
            raise BadMutation("keep_count: the annotations given are more or fewer than before")
        after = self._service.save_annotations(found, before, labels, touch=touch)
        return _shown(after)

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
                await self._jobs.complete(found, export, _decoded(content))
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
        await self._jobs.complete(found, chosen, _decoded(content))
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


def _directory(path: str) -> str:
    return "/" + path.strip("/")


def _decoded(content: str | None) -> bytes | None:
    if content is None:
        return None
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadMutation("content must be base64") from None


def _edited(annotations: list[Annotation], now_us: int, keep_count: bool) -> list[Annotation]:
    """The annotations with the first one moved, or where the count may change, one more."""
    box = {"x": float(now_us % 97), "y": float(now_us % 89), "w": 11.0, "h": 7.0}
    extra: Annotation = {
        "id": f"edit-{now_us}",
        "name": "edited",
        "type": "bbox",
        "bounding_box": box,
        "confidence": 1.0,
        "attributes": [],
    }
    if not keep_count:
        return [*annotations, extra]
    return [extra, *annotations[1:]] if annotations else []


def _shown(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "filename": image.filename,
        "directory_path": image.directory_path,
        "file_size": image.stored.size,
        "annotation_count": image.annotation_count,
        "generation": image.stored.generation,
        "status": image.status,
    }


def _dataset_shown(dataset: Dataset) -> dict[str, Any]:
    return {"id": dataset.id, "name": dataset.name, "slug": dataset.slug, "is_archived": dataset.is_archived}


def _export_shown(export: Export) -> dict[str, Any]:
    return {"id": export.id, "name": export.name, "status": export.status, "file_size": export.file_size}
