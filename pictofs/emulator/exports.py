"""The life of an export: pending, processing, then completed with a real ZIP, or failed.

The ZIP is written by a thread into the emulator's scratch folder, from a list of images taken when processing
begins. Two exports of the same unchanged dataset with the same arguments are equal byte for byte.
"""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pictofs.emulator.content import BytesContent, Content, FileContent, StoredObject
from pictofs.emulator.formats import FORMATS, Member, Sample
from pictofs.emulator.model import Dataset, Export, Image
from pictofs.emulator.service import EXPORT_LIFE_US, Service, export_key

_STAMP = (2024, 1, 1, 0, 0, 0)  # of every member, so that the archive depends on its content alone
_PIECE = 1 << 20


class ExportJobs:
    """Runs the exports of a service on its event loop; `close` ends them."""

    def __init__(self, service: Service, scratch: Path) -> None:
        self._service, self._scratch = service, scratch
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, dataset: Dataset, export: Export) -> None:
        """Let a pending export take its course, unless the switch holds exports back."""
        if not self._service.switches.hold_exports:
            task = asyncio.get_running_loop().create_task(self._course(dataset, export))
            self._tasks[export.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(export.id, None))

    async def _course(self, dataset: Dataset, export: Export) -> None:
        pause_s = self._service.switches.export_pending_ms / 1000
        await asyncio.sleep(pause_s)
        if export.status == "pending":
            export.status = "processing"
            await asyncio.sleep(pause_s)
        if export.status == "processing":
            await self.complete(dataset, export)

    async def complete(self, dataset: Dataset, export: Export, body: bytes | None = None) -> None:
        """Write the ZIP now, or take `body` for it: then completed, or failed where it cannot be."""
        self._stop(export)
        export.status = "processing"
        chosen = list(samples(dataset, export))
        content: Content
        if body is not None:
            content = BytesContent(body)
        else:
            path = self._scratch / f"{export.id}-{self._service.now_us()}.zip"
            try:
                await asyncio.to_thread(write_zip, path, export, dataset, chosen)
            except OSError as error:
                self.fail(export, f"The archive could not be written: {error}")
                return
            content = FileContent(path)
        now_us = self._service.now_us()
        key = export_key(dataset.id, export.id, export.name)
        export.stored = StoredObject(key, content, "application/zip", now_us, now_us)
        export.file_size = content.size
        export.image_count = len(chosen)
        export.annotation_count = sum(len(sample.annotations) for sample in chosen)
        export.completed_us, export.expires_us = now_us, now_us + EXPORT_LIFE_US
        export.error_message, export.status = None, "completed"

    def fail(self, export: Export, message: str) -> None:
        """Mark the export failed."""
        self._stop(export)
        export.status, export.error_message, export.stored = "failed", message, None

    def _stop(self, export: Export) -> None:
        # Somebody else decides how it ends; the course itself must not cancel itself.
        task = self._tasks.get(export.id)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def close(self) -> None:
        """End whatever is still on its course."""
        running = list(self._tasks.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def samples(dataset: Dataset, export: Export) -> Iterator[Sample]:
    """The images that the export's filters let through, oldest first, with such annotations."""
    for position in dataset.images.select(status=export.status_filter):
        image = dataset.images.at(position)
        annotations = image.load_annotations()
        if export.class_filter is not None:
            annotations = [each for each in annotations if each.get("name") in export.class_filter]
            if not annotations:
                continue
        yield Sample(image, annotations)


def _part(image: Image, by_split: bool) -> str:
    return {"val": "valid/", "test": "test/"}.get(image.split or "", "train/") if by_split else ""


def write_zip(path: Path, export: Export, dataset: Dataset, chosen: list[Sample]) -> None:
    """Write one archive: labels in the export's format, and with images their bytes, uncompressed."""
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:

        def put(member: Member, prefix: str = "") -> None:
            info = zipfile.ZipInfo(prefix + member.name, _STAMP)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, member.body)

        for prefix in sorted({_part(sample.image, export.organize_by_split) for sample in chosen} or {""}):
            group = [s for s in chosen if _part(s.image, export.organize_by_split) == prefix]
            for member in FORMATS[export.format](dataset, group):
                put(member, prefix)
            if export.include_images:
                for sample in group:
                    _put_image(archive, sample.image, f"{prefix}images/{sample.image.path}")


def _put_image(archive: zipfile.ZipFile, image: Image, name: str) -> None:
    info = zipfile.ZipInfo(name, _STAMP)
    info.compress_type, info.external_attr = zipfile.ZIP_STORED, 0o644 << 16
    stored = image.stored
    info.file_size = stored.size
    with archive.open(info, "w") as member:
        for start in range(0, stored.size, _PIECE):
            member.write(stored.content.read(start, min(start + _PIECE, stored.size)))
