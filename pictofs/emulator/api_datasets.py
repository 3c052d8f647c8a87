"""Endpoints of datasets, projects and the organization, with the batch download."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pictofs.emulator.desk import Desk, fields, json_response, segment, text_field
from pictofs.emulator.identity import iso, looks_like_id
from pictofs.emulator.model import Dataset
from pictofs.emulator.service import Refusal
from pictofs.emulator.settings import STATUSES

_MODES = ("full", "images_only", "annotations_only")
_EMBED_MOST, _BATCH_MOST = 10_000, 10_000
_PAGE, _PAGE_MOST = 100, 1000
_PROJECTS, _PROJECTS_MOST = 50, 200


class DatasetEndpoints:
    """Reading, writing and batch-downloading datasets."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._service, self._dialect = desk, desk.service, desk.dialect

    def routes(self) -> list[Route]:
        """The routes of the dialect."""
        route = self._desk.route
        listed = [route("/datasets/", self.listing)]
        if self._dialect.letter == "c":
            return [
                *listed,
                route("/datasets/", self.create, ("POST",)),
                route("/datasets/{dataset}", self.one),
                route("/datasets/{dataset}", self.update, ("PATCH",)),
                route("/datasets/{dataset}", self.delete, ("DELETE",)),
                route("/datasets/{dataset}/download", self.download),
                route("/datasets/{dataset}/archive", self.archive, ("POST",)),
                route("/datasets/{dataset}/unarchive", self.unarchive, ("POST",)),
                route("/organizations/me", self.organization),
            ]
        by_name = [
            *listed,
            route("/datasets/by-name/{dataset}", self.one),
            route("/datasets/by-name/{dataset}/download", self.download),
            route("/datasets/{dataset_id}", self.one),
        ]
        if self._dialect.letter == "a":
            return by_name
        return [
            *by_name,
            route("/projects/", self.projects),
            route("/projects/", self.create, ("POST",)),
            route("/projects/{dataset}", self.project),
            route("/projects/{dataset}", self.update, ("PATCH",)),
            route("/projects/{dataset}", self.delete, ("DELETE",)),
            route("/organizations/me", self.organization),
        ]

    def found(self, name: str) -> Dataset:
        """The dataset that a path or parameter names: slug in a, name in b, name or id in c."""
        if self._dialect.letter == "a":
            return self._service.dataset_by_slug(name)
        if self._dialect.letter == "b":
            return self._service.dataset_by_name(name)
        return self._service.dataset_by_name_or_id(name)

    def _asked(self, request: Request) -> Dataset:
        if "dataset_id" not in request.path_params:
            return self.found(segment(request, "dataset"))
        dataset_id = segment(request, "dataset_id")
        if not looks_like_id(dataset_id):
            raise Refusal(404, "not_found", "Dataset not found")
        return self._service.dataset_by_id(dataset_id)

    async def listing(self, request: Request) -> Response:
        """A page of datasets; archived ones instead with `archived=true`."""
        limit, offset = self._desk.window(request, _PAGE, _PAGE_MOST)
        everything = self._service.listed(self._desk.truth(request, "archived"))
        rows = [self._dialect.dataset(dataset) for dataset in everything[offset : offset + limit]]
        return json_response(self._dialect.rows("datasets", rows, limit, offset, len(everything)))

    async def projects(self, request: Request) -> Response:
        """The same rows under the name that writes use."""
        limit, offset = self._desk.window(request, _PROJECTS, _PROJECTS_MOST)
        everything = self._service.listed(False)
        rows = [self._dialect.dataset(dataset) for dataset in everything[offset : offset + limit]]
        return json_response(self._dialect.rows("projects", rows, limit, offset, len(everything)))

    async def one(self, request: Request) -> Response:
        """One dataset, with its images where they are asked for."""
        dataset = self._asked(request)
        row = self._dialect.dataset(dataset)
        wanted = self._desk.truth(request, "include_images")
        if self._dialect.letter == "b":  # SDK 0.1 asks with images_limit alone
            wanted = wanted or "images_limit" in request.query_params
        if wanted:
            positions = dataset.images.select()
            if self._dialect.letter != "a":
                limit, offset = self._desk.window(request, 1000, _EMBED_MOST, "images_limit", "images_offset")
                positions = positions[offset : offset + limit]
            images = dataset.images
            row["images"] = await self._desk.made(
                positions, lambda at: self._dialect.image(dataset, images.at(at))
            )
        return json_response(self._dialect.single("dataset", row))

    async def project(self, request: Request) -> Response:
        """One project."""
        dataset = self.found(segment(request, "dataset"))
        return json_response(self._dialect.single("project", self._dialect.dataset(dataset)))

    async def download(self, request: Request) -> Response:
        """Signed URLs of every image at once; b and c stop at the batch cap and take a status."""
        dataset = self._asked(request)
        mode = self._desk.choice(request, "mode", _MODES) or "full"
        images = dataset.images
        if self._dialect.letter == "a":
            positions = images.select()
        else:
            status = self._desk.choice(request, "status_filter", STATUSES)
            limit = self._desk.number(request, "limit", _BATCH_MOST, 1)
            positions = images.select(status=status)[
                : min(limit, _BATCH_MOST, self._service.switches.batch_cap)
            ]
        expires_us = int(self._service.clock() + self._service.switches.url_ttl) * 1_000_000
        items = await self._desk.made(positions, lambda at: self._dialect.item(dataset, images.at(at), mode))
        return json_response(self._dialect.download(dataset, items, expires_us))

    async def create(self, request: Request) -> Response:
        """A new dataset: member and up."""
        self._service.require("member")
        body = await fields(request)
        name = text_field(body, "name")
        given = _edits(body)
        dataset = self._service.create_dataset(name, **given)
        return json_response(self._written(dataset), 201)

    async def update(self, request: Request) -> Response:
        """Change some fields: member and up."""
        self._service.require("member")
        dataset = self.found(segment(request, "dataset"))
        body = await fields(request)
        edits = _edits(body)
        new_name = body.get("new_name" if self._dialect.letter == "c" else "name")
        if new_name is not None:
            self._service.rename_dataset(dataset, new_name)
        for field, value in edits.items():
            setattr(dataset, field, value)
        self._service.touch(dataset)
        return json_response(self._written(dataset))

    def _written(self, dataset: Dataset) -> Any:
        return self._dialect.single("project", self._dialect.dataset(dataset))

    async def delete(self, request: Request) -> Response:
        """Delete for good: admin and up."""
        self._service.require("admin")
        dataset = self.found(segment(request, "dataset"))
        return json_response(self._dialect.deleted(self._service.delete_dataset(dataset)))

    async def archive(self, request: Request) -> Response:
        """Hide from the default list: admin and up."""
        return self._archived(request, True)

    async def unarchive(self, request: Request) -> Response:
        """Show in the default list again: admin and up."""
        return self._archived(request, False)

    def _archived(self, request: Request, archived: bool) -> Response:
        self._service.require("admin")
        dataset = self.found(segment(request, "dataset"))
        if dataset.is_archived != archived:
            dataset.is_archived = archived
            self._service.touch(dataset)
        return json_response(self._dialect.single("dataset", self._dialect.dataset(dataset)))

    async def organization(self, request: Request) -> Response:
        """The organization of the key: keyed in b and c alike."""
        organization, totals = (
            self._service.organization,
            [d.images.totals for d in self._service.datasets.values()],
        )
        row = {
            "id": organization.id,
            "name": organization.name,
            "slug": organization.slug,
            "subscription_tier": organization.subscription_tier,
            "credits_remaining": 1000,
            "credits_monthly_allowance": 1000,
            "credits_reset_at": None,
            "max_users": 50,
            "max_images": max(1_000_000, sum(total.images for total in totals)),
            "max_storage_bytes": max(1 << 40, sum(total.size_bytes for total in totals)),
            "member_count": 1,
            "pending_invite_count": 0,
            "created_at": iso(organization.created_us),
            "updated_at": iso(organization.created_us),
        }
        return json_response({"organization": row})


def _edits(body: dict[str, Any]) -> dict[str, Any]:
    """What a write sets of a dataset. Raises the 422 of a wrong type."""
    editable = ("description", "annotation_types", "classes")
    given = {name: body[name] for name in editable if body.get(name) is not None}
    for name, kind in (("annotation_types", str), ("classes", dict)):
        values = given.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise Refusal(422, "validation_error", f"{name} must be a list of {kind.__name__}")
    if not all("name" in each for each in given.get("classes", [])):
        raise Refusal(422, "validation_error", "a class needs a name")
    if not isinstance(given.get("description", ""), str):
        raise Refusal(422, "validation_error", "description must be a string")
    return given
