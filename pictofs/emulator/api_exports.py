"""Endpoints of exports: order, list, look at, download, delete."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pictofs.emulator.api_datasets import DatasetEndpoints
from pictofs.emulator.desk import Desk, fields, json_response, segment, text_field
from pictofs.emulator.exports import ExportJobs
from pictofs.emulator.formats import FORMATS
from pictofs.emulator.identity import looks_like_id
from pictofs.emulator.model import Dataset, Export
from pictofs.emulator.service import Refusal

_PAGE, _PAGE_MOST = 100, 1000
_STATUSES = ("pending", "processing", "completed", "failed")


class ExportEndpoints:
    """The exports of the organization."""

    def __init__(self, desk: Desk, datasets: DatasetEndpoints, jobs: ExportJobs) -> None:
        self._desk, self._service, self._dialect = desk, desk.service, desk.dialect
        self._datasets, self._jobs = datasets, jobs

    def routes(self) -> list[Route]:
        """The routes of the dialect."""
        route = self._desk.route
        both = [route("/exports/", self.listing), route("/exports/", self.create, ("POST",))]
        if self._dialect.letter == "c":
            return [
                *both,
                route("/exports/bulk-delete", self.delete_many, ("POST",)),
                route("/exports/{export}", self.one),
                route("/exports/{export}", self.delete, ("DELETE",)),
                route("/exports/{export}/download", self.download),
            ]
        return [
            *both,
            route("/exports/{dataset}/{export}", self.one),
            route("/exports/{dataset}/{export}", self.delete, ("DELETE",)),
            route("/exports/{dataset}/{export}/download", self.download),
        ]

    def _asked(self, request: Request) -> tuple[Dataset, Export]:
        name = segment(request, "export")
        if self._dialect.letter != "c":
            dataset = self._datasets.found(segment(request, "dataset"))
            return dataset, self._service.export_by_name(dataset, name)
        if "dataset" in request.query_params:
            dataset = self._datasets.found(request.query_params["dataset"])
            return dataset, self._service.export_by_name(dataset, name)
        if not looks_like_id(name):
            raise self._desk.invalid("dataset", "an export name needs its dataset")
        return self._service.export_by_id(name)

    async def listing(self, request: Request) -> Response:
        """A page of exports, newest first, of one dataset and status where asked."""
        limit, offset = self._desk.window(request, _PAGE, _PAGE_MOST)
        name = request.query_params.get("dataset_name")
        dataset = self._datasets.found(name) if name is not None else None
        found = self._service.exports(dataset, self._desk.choice(request, "status", _STATUSES))
        page = found[offset : offset + limit]
        rows = [self._dialect.export(self._service.datasets[export.dataset_id], export) for export in page]
        return json_response(self._dialect.rows("exports", rows, limit, offset, len(found)))

    async def create(self, request: Request) -> Response:
        """Order an export: member and up; the answer is pending."""
        self._service.require("member")
        body = await fields(request)
        dataset = self._datasets.found(text_field(body, "dataset_name"))
        name, form = text_field(body, "name"), body.get("format") or "pictograph"
        if form not in FORMATS:
            raise Refusal(422, "validation_error", f"format must be one of {', '.join(FORMATS)}")
        classes = body.get("class_filter")
        if classes is not None and not (
            isinstance(classes, list) and all(isinstance(c, str) for c in classes)
        ):
            raise Refusal(422, "validation_error", "class_filter must be a list of strings")
        export = self._service.create_export(
            dataset,
            name,
            format=form,
            include_images=bool(body.get("include_images")),
            class_filter=classes,
            status_filter=body.get("status_filter"),
            organize_by_split=bool(body.get("organize_by_split")),
        )
        self._jobs.start(dataset, export)
        return json_response(
            self._dialect.single("export", self._dialect.export(dataset, export, created=True)), 201
        )

    async def one(self, request: Request) -> Response:
        """One export."""
        return json_response(self._dialect.single("export", self._dialect.export(*self._asked(request))))

    async def download(self, request: Request) -> Response:
        """The signed URL of a completed export's ZIP; 400 before that, 404 once it is gone."""
        _, export = self._asked(request)
        if export.status != "completed":
            raise Refusal(400, "export_not_ready", f"Export is not ready (status: {export.status})")
        if export.stored is None:
            raise Refusal(404, "not_found", "Export has expired")
        expires_us = int(self._service.clock() + self._service.switches.url_ttl) * 1_000_000
        url = self._service.signed_url(export.stored)
        return json_response(self._dialect.export_url(url, expires_us, export.stored.size))

    async def delete(self, request: Request) -> Response:
        """Delete an export and its ZIP: admin and up."""
        self._service.require("admin")
        dataset, export = self._asked(request)
        del dataset.exports[export.name]
        return json_response(self._dialect.deleted({"id": export.id, "name": export.name, "deleted": True}))

    async def delete_many(self, request: Request) -> Response:
        """Delete many by id: admin and up; ids that are not there are named, not refused."""
        self._service.require("admin")
        wanted = (await fields(request)).get("export_ids")
        if not isinstance(wanted, list) or not wanted:
            raise Refusal(422, "validation_error", "export_ids must be a list that is not empty")
        gone, missing = [], []
        for export_id in dict.fromkeys(map(str, wanted)):
            try:
                dataset, export = self._service.export_by_id(export_id)
            except Refusal:
                missing.append(export_id)
                continue
            del dataset.exports[export.name]
            gone.append(export_id)
        return json_response({"data": {"succeeded": gone, "not_found": missing, "count": len(gone)}})
