"""Endpoints of images, their bytes, their annotations and the directories they lie in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pictofs.emulator.api_datasets import DatasetEndpoints
from pictofs.emulator.desk import Desk, fields, json_response, segment
from pictofs.emulator.identity import looks_like_id, named_id
from pictofs.emulator.model import Dataset, Image
from pictofs.emulator.ranges import Unsatisfiable, byte_range
from pictofs.emulator.service import Refusal
from pictofs.emulator.settings import STATUSES

_PAGE, _PAGE_MOST = 100, 1000
_LISTING_PARAMETERS = frozenset(
    {
        "dataset",
        "limit",
        "offset",
        "directory_path",
        "status",
        "split",
        "filename",
        "include_archived",
        "min_confidence_lt",
    }
)
_METADATA = "/metadata"


class ImageEndpoints:
    """Listing images, their bytes by API, annotations, directories."""

    def __init__(self, desk: Desk, datasets: DatasetEndpoints) -> None:
        self._desk, self._service, self._dialect = desk, desk.service, desk.dialect
        self._datasets = datasets

    def routes(self) -> list[Route]:
        """The routes of the dialect."""
        route = self._desk.route
        if self._dialect.letter == "a":
            return [route("/annotations/{image}/file", self.document)]
        by_id = [route("/images/{image}/metadata", self.metadata), route("/images/{image}", self.bytes_by_id)]
        if self._dialect.letter == "b":
            return [
                *by_id,
                route("/images/{image}", self.delete_by_id, ("DELETE",)),
                route("/annotations/{image}", self.annotations_by_id),
                route("/annotations/{image}/file", self.document),
                route("/annotations/{image}", self.save_by_id, ("POST",)),
                route("/annotations/{image}", self.clear_by_id, ("DELETE",)),
            ]
        return [
            route("/annotations/{dataset}/{path:path}", self.annotations_by_path),
            route("/images/", self.listing),
            *by_id,
            route("/images/{dataset}/{path:path}", self.by_path),
            route("/images/{dataset}/{path:path}", self.delete_by_path, ("DELETE",)),
            route("/annotations/{dataset}/{path:path}", self.save_by_path, ("POST",)),
            route("/annotations/{dataset}/{path:path}", self.clear_by_path, ("DELETE",)),
            route("/directories/{dataset}", self.directories),
            route("/directories/{dataset}/tree", self.tree),
        ]

    def _by_id(self, request: Request) -> tuple[Dataset, Image]:
        image_id = segment(request, "image")
        if not looks_like_id(image_id):
            raise Refusal(404, "not_found", "Image not found")
        return self._service.image_by_id(image_id)

    def _by_path(self, request: Request) -> tuple[Dataset, Image]:
        dataset = self._datasets.found(segment(request, "dataset"))
        return dataset, self._service.image_by_path(dataset, segment(request, "path"))

    # listing

    async def listing(self, request: Request) -> Response:
        """A page of a dataset's images, newest first; an unknown parameter is a 422."""
        asked = request.query_params
        unknown = sorted(set(asked) - _LISTING_PARAMETERS)
        if unknown:
            raise self._desk.invalid(unknown[0], f"Unknown query parameter(s): {', '.join(unknown)}")
        if "dataset" not in asked:
            raise self._desk.invalid("dataset", "Field required")
        dataset = self._datasets.found(asked["dataset"])
        limit, offset = self._desk.window(request, _PAGE, _PAGE_MOST)
        positions = dataset.images.select(
            status=self._desk.choice(request, "status", STATUSES),
            split=self._desk.choice(request, "split", ("train", "val", "test")),
            directory_path=asked.get("directory_path"),
            filename=asked.get("filename"),
            archived=self._desk.truth(request, "include_archived"),
        )
        if "min_confidence_lt" in asked:
            positions = self._unsure(dataset, positions, asked["min_confidence_lt"])
        total = len(positions)
        end = max(0, total - offset)
        page = positions[max(0, end - limit) : end][::-1]
        rows = await self._desk.made(page, lambda at: self._dialect.image(dataset, dataset.images.at(at)))
        return json_response(self._dialect.rows("images", rows, limit, offset, total))

    def _unsure(self, dataset: Dataset, positions: Iterable[int], limit: str) -> list[int]:
        try:
            below = float(limit)
        except ValueError:
            raise self._desk.invalid("min_confidence_lt", "must be a number") from None
        return [
            at
            for at in positions
            if any(each.get("confidence", 1.0) < below for each in dataset.images.at(at).load_annotations())
        ]

    # one image

    async def metadata(self, request: Request) -> Response:
        """The row of one image; in c also of an image named `metadata` in a dataset, which is its bytes."""
        if self._dialect.letter == "c" and not looks_like_id(segment(request, "image")):
            return await self._send(*self._at(segment(request, "image"), "metadata"), request)
        dataset, image = self._by_id(request)
        body = self._dialect.single("image", self._dialect.image(dataset, image))
        if self._dialect.letter == "b" and self._desk.truth(request, "include_annotations"):
            body |= self._dialect.annotations(image, document=False)
        return json_response(body)

    def _at(self, name: str, path: str) -> tuple[Dataset, Image]:
        dataset = self._datasets.found(name)
        return dataset, self._service.image_by_path(dataset, path)

    async def bytes_by_id(self, request: Request) -> Response:
        """The bytes of one image."""
        return await self._send(*self._by_id(request), request)

    async def by_path(self, request: Request) -> Response:
        """The bytes of one image, or with /metadata behind its path, its row."""
        dataset = self._datasets.found(segment(request, "dataset"))
        path = segment(request, "path")
        image = dataset.images.by_path(path)
        if image is None and path.endswith(_METADATA):
            image = self._service.image_by_path(dataset, path.removesuffix(_METADATA))
            return json_response(self._dialect.single("image", self._dialect.image(dataset, image)))
        return await self._send(*self._at(dataset.id, path), request)

    async def _send(self, dataset: Dataset, image: Image, request: Request) -> Response:
        stored = image.stored
        start, end, status, headers = 0, stored.size, 200, {}
        wanted = request.headers.get("range")
        if wanted is not None and self._service.switches.api_ranges:
            try:
                found = byte_range(wanted, stored.size)
            except Unsatisfiable:
                return Response(status_code=416, headers={"content-range": f"bytes */{stored.size}"})
            if found is not None:
                (start, end), status = found, 206
                headers["content-range"] = f"bytes {start}-{end - 1}/{stored.size}"
        body = await asyncio.to_thread(stored.content.read, start, end)
        return Response(body, status, headers, media_type=stored.content_type)

    async def delete_by_id(self, request: Request) -> Response:
        """Archive or delete an image: admin and up."""
        return self._delete(*self._by_id(request), request)

    async def delete_by_path(self, request: Request) -> Response:
        """Archive or delete an image: admin and up."""
        return self._delete(*self._by_path(request), request)

    def _delete(self, dataset: Dataset, image: Image, request: Request) -> Response:
        self._service.require("admin")
        permanent = self._desk.truth(request, "permanent")
        if permanent:
            dataset.images.remove(image.id)
        else:
            dataset.images.update(image.id, is_archived=True)
        self._service.touch(dataset)
        return json_response(self._dialect.deleted({"id": image.id, "permanent": permanent}))

    # annotations

    async def annotations_by_id(self, request: Request) -> Response:
        """The annotations of an image."""
        return json_response(self._dialect.annotations(self._by_id(request)[1], document=False))

    async def document(self, request: Request) -> Response:
        """The annotation file of an image."""
        return json_response(self._dialect.annotations(self._by_id(request)[1], document=True))

    async def annotations_by_path(self, request: Request) -> Response:
        """The annotations of an image; an id in the place of a path is a 404."""
        return json_response(self._dialect.annotations(self._by_path(request)[1], document=False))

    async def save_by_id(self, request: Request) -> Response:
        """Replace the annotations of an image: annotator and up."""
        return await self._save(*self._by_id(request), request)

    async def save_by_path(self, request: Request) -> Response:
        """Replace the annotations of an image: annotator and up."""
        return await self._save(*self._by_path(request), request)

    async def _save(self, dataset: Dataset, image: Image, request: Request) -> Response:
        self._service.require("annotator")
        annotations = (await fields(request)).get("annotations")
        if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
            raise Refusal(422, "validation_error", "annotations must be a list of objects")
        saved = self._service.save_annotations(dataset, image, annotations)
        summary = {
            "image_id": image.id,
            "previous_count": image.annotation_count,
            "new_count": saved.annotation_count,
            "status": image.status,
        }
        return json_response(summary)

    async def clear_by_id(self, request: Request) -> Response:
        """Take an image's annotations away: admin and up."""
        return self._clear(*self._by_id(request))

    async def clear_by_path(self, request: Request) -> Response:
        """Take an image's annotations away: admin and up."""
        return self._clear(*self._by_path(request))

    def _clear(self, dataset: Dataset, image: Image) -> Response:
        self._service.require("admin")
        self._service.save_annotations(dataset, image, [])
        return json_response({"image_id": image.id, "deleted_count": image.annotation_count})

    # directories

    async def directories(self, request: Request) -> Response:
        """Every directory of a dataset, a bare array; `parent_path` restricts it to the children of one."""
        dataset = self._datasets.found(segment(request, "dataset"))
        parent = request.query_params.get("parent_path")
        rows = [self._directory(dataset, path, count) for path, count in dataset.images.directories().items()]
        if parent is not None:
            rows = [row for row in rows if row["full_path"].rpartition("/")[0] == parent.rstrip("/")]
        return json_response(rows)

    async def tree(self, request: Request) -> Response:
        """The same, children nested in their parents."""
        dataset = self._datasets.found(segment(request, "dataset"))
        nodes: dict[str, dict[str, Any]] = {}
        roots: list[dict[str, Any]] = []
        for path, count in dataset.images.directories().items():  # sorted: a parent comes before its children
            nodes[path] = self._directory(dataset, path, count) | {"children": []}
            parent = path.rpartition("/")[0]
            (nodes[parent]["children"] if parent in nodes else roots).append(nodes[path])
        return json_response(roots)

    def _directory(self, dataset: Dataset, path: str, count: int) -> dict[str, Any]:
        parent = path.rpartition("/")[0]
        return {
            "id": named_id("directory", dataset.id, path),
            "project_id": dataset.id,
            "name": path.rpartition("/")[2],
            "parent_directory_id": named_id("directory", dataset.id, parent) if parent else None,
            "full_path": path,
            "image_count": count,
        }
