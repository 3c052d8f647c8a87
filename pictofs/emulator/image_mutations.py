"""Mutations of images and their annotations."""

from __future__ import annotations

from typing import Any

from pictofs.emulator.content import BytesContent, Content, StoredObject, content_type_of
from pictofs.emulator.model import Annotation, Dataset, Image
from pictofs.emulator.mutation import BadMutation, Operation, decoded
from pictofs.emulator.picture import dimensions_of, picture
from pictofs.emulator.service import Service, image_key
from pictofs.emulator.settings import STATUSES

_FIELDS = ("status", "split", "tags", "is_archived")


class ImageMutations:
    """Adds, replaces, deletes, moves and relabels images."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def operations(self) -> dict[str, Operation]:
        """The operations by their names."""
        return {
            "add_image": self.add,
            "replace_image": self.replace,
            "delete_image": self.delete,
            "move_image": self.move,
            "rename_image": self.rename,
            "set_image": self.set,
            "edit_annotation": self.edit_annotation,
        }

    def _image(self, dataset: str, image: str) -> tuple[Dataset, Image]:
        """An image of a dataset by id, or by `directory/filename`."""
        found = self._service.dataset_by_name_or_id(dataset)
        by_id = found.images.get(image)
        return found, by_id if by_id is not None else self._service.image_by_path(found, image.lstrip("/"))

    def _touch(self, dataset: Dataset, touch: bool) -> None:
        if touch:
            self._service.touch(dataset)

    def _content(
        self, filename: str, content: str | None, size: int | None, salt: int
    ) -> tuple[Content, int, int]:
        """Bytes given in base64, or a generated picture of `size` bytes; with their width and height."""
        body = decoded(content)
        if body is None:
            try:
                body = picture(filename, salt, size)
            except ValueError as error:
                raise BadMutation(f"size: {error}") from None
        return BytesContent(body), *dimensions_of(body)

    async def add(
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
        """Add an image as the newest."""
        found = self._service.dataset_by_name_or_id(dataset)
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

    async def replace(
        self,
        dataset: str,
        image: str,
        content: str | None = None,
        size: int | None = None,
        same_id: bool = True,
        keep_created_at: bool = True,
        touch: bool = True,
    ) -> dict[str, Any]:
        """Give an image other bytes: a new generation of its object, or a new id and object."""
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

    async def delete(
        self, dataset: str, image: str, permanent: bool = True, touch: bool = True
    ) -> dict[str, Any]:
        """Delete or archive an image."""
        found, before = self._image(dataset, image)
        if permanent:
            found.images.remove(before.id)
        else:
            found.images.update(before.id, is_archived=True)
        self._touch(found, touch)
        return _shown(before)

    async def move(self, dataset: str, image: str, directory_path: str, touch: bool = True) -> dict[str, Any]:
        """Move an image to another directory; its object stays."""
        found, before = self._image(dataset, image)
        after = found.images.update(before.id, directory_path=_directory(directory_path))
        self._touch(found, touch)
        return _shown(after)

    async def rename(self, dataset: str, image: str, filename: str, touch: bool = True) -> dict[str, Any]:
        """Give an image another filename; its object stays."""
        found, before = self._image(dataset, image)
        after = found.images.update(before.id, filename=filename)
        self._touch(found, touch)
        return _shown(after)

    async def set(
        self, dataset: str, image: str, values: dict[str, Any], touch: bool = True
    ) -> dict[str, Any]:
        """Change status, split, tags or is_archived."""
        found, before = self._image(dataset, image)
        unknown = set(values) - set(_FIELDS)
        if unknown:
            raise BadMutation(f"values: only {', '.join(_FIELDS)}")
        if "tags" in values:
            values = {**values, "tags": tuple(values["tags"])}
        after = found.images.update(before.id, **values)
        self._touch(found, touch)
        return _shown(after)

    async def edit_annotation(
        self,
        dataset: str,
        image: str,
        annotations: list[Annotation] | None = None,
        keep_count: bool = False,
        touch: bool = True,
    ) -> dict[str, Any]:
        """Replace, add or change annotations."""
        found, before = self._image(dataset, image)
        labels = annotations
        if labels is None:
            labels = _edited(before.load_annotations(), self._service.now_us(), keep_count)
        if keep_count and len(labels) != before.annotation_count:
            raise BadMutation("keep_count: the annotations given are more or fewer than before")
        after = self._service.save_annotations(found, before, labels, touch=touch)
        return _shown(after)


def _directory(path: str) -> str:
    return "/" + path.strip("/")


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
