"""Datasets: `client.datasets`."""

from __future__ import annotations

import re
from collections.abc import Callable
from os import PathLike

from pictofs.api import models
from pictofs.api.dialect import Dialect
from pictofs.api.documents import decode
from pictofs.api.downloads import WORKERS, DatasetOrder, DownloadReport, FileProgress, folder_of
from pictofs.api.models import Dataset, Link, Links
from pictofs.api.paging import Pager, Pages, Rows, Walk
from pictofs.api.service import PAGE_ROWS, Service
from pictofs.api.transport import Answer
from pictofs.errors import NotFound, UsageError

BATCH_LINKS = 10_000       # links that one batch holds at most (B, C); dialect A states no cap
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Datasets:
    """Reading datasets and the signed URLs of what they hold. `carry` carries out the order of a download."""

    def __init__(self, service: Service, carry: Callable[[DatasetOrder], DownloadReport]) -> None:
        self._service = service
        self._carry = carry

    # the list

    def list(self, limit: int = 100, offset: int = 0, archived: bool = False) -> list[Dataset]:
        """One page. `archived`: the archived ones, which the service hides else (and may list alone)."""
        page = self._service.datasets(limit, offset, archived=archived)
        return [models.dataset(row) for row in page.rows]

    def iter(
        self, page_size: int = PAGE_ROWS, max_total: int | None = None, archived: bool = False
    ) -> Pager[Dataset]:
        """Every dataset once, at most `max_total`; iterate it, or take `.all()`."""

        def fetch(offset: int, limit: int) -> Rows[Dataset]:
            page = self._service.datasets(limit, offset, archived=archived)
            return Rows([models.dataset(row) for row in page.rows], page.total, page.has_more)

        size = max(1, min(page_size, PAGE_ROWS, PAGE_ROWS if max_total is None else max_total))
        return Pager(lambda: Pages(fetch, Walk(lambda row: row.id, page_size=size)), max_total=max_total)

    # one

    def get(
        self,
        name: str,
        include_images: bool = False,
        images_limit: int = 1000,
        images_offset: int = 0,
    ) -> Dataset:
        """One dataset by whatever names it: name, slug or id. NotFound when nothing does.

        What looks like an id is tried as one first. In dialect A, whose paths know slugs alone, a name that
        is none is looked for in the list.
        """
        asked = name
        ways = [self.get_by_name, self.get_by_id]
        if self._service.dialect.letter == "c":
            ways = ways[:1]  # its one slot takes either
        elif looks_like_id(asked):
            ways.reverse()
        for way in ways:
            try:
                return way(asked, include_images, images_limit, images_offset)
            except NotFound:
                continue
        if self._service.dialect.letter == "a":
            for listed in self.iter():
                if asked in (listed.name, listed.slug):
                    return self.get_by_id(listed.id, include_images, images_limit, images_offset)
        raise NotFound(f"there is no dataset {asked!r}", status=404)

    def get_by_id(
        self, dataset_id: str, include_images: bool = False, images_limit: int = 1000, images_offset: int = 0
    ) -> Dataset:
        """One dataset by its id. NotFound."""
        return self._get("dataset", dataset_id, include_images, images_limit, images_offset)

    def get_by_name(
        self, name: str, include_images: bool = False, images_limit: int = 1000, images_offset: int = 0
    ) -> Dataset:
        """One dataset by its name, in dialect A by its slug. NotFound."""
        return self._get("dataset by name", name, include_images, images_limit, images_offset)

    def _get(self, thing: str, named: str, include_images: bool, limit: int, offset: int) -> Dataset:
        query = {"include_images": "true"} if include_images else {}
        if include_images and self._service.dialect.letter != "a":
            query |= {"images_limit": str(limit), "images_offset": str(offset)}

        names = {"id": named, "name": named, "slug": named}
        row = self._service.read(thing, names, query, lambda spoken, body: spoken.one("dataset", body))
        return models.dataset(row, models.images(row.get("images") or []) if include_images else None)

    def resolve(self, dataset: Dataset | str) -> Dataset:
        """The dataset itself, or the one that a text names (one request)."""
        return dataset if isinstance(dataset, Dataset) else self.get(dataset)

    # files

    def download(
        self,
        name: Dataset | str,
        output_dir: str | PathLike[str] = ".",
        *,
        mode: str = "full",
        status_filter: str | None = None,
        max_workers: int = WORKERS,
        progress: FileProgress | None = None,
        retry: DownloadReport | None = None,
    ) -> DownloadReport:
        """Write images and annotations to `output_dir/<dataset>/images/…` and `…/annotations/…`.

        `mode` is full, images_only or annotations_only. Datasets of more images than one batch of signed
        URLs names are whole all the same. `progress` is called in this thread with (files done, files in
        all, name) after each file. Files are there whole or not at all; one that fails is in the report's
        `failures` and nothing is raised for it. `retry` is such a report: only its failures are fetched.
        """
        order = DatasetOrder(
            self.resolve(name), folder_of(output_dir), mode, status_filter, max_workers, progress, retry
        )
        return self._carry(order.check())

    # signed URLs

    def links(
        self,
        dataset: Dataset | str,
        mode: str = "images_only",
        status: str | None = None,
        limit: int = BATCH_LINKS,
    ) -> Links:
        """One batch of signed URLs: of all images, or of those of one status; B and C stop at 10,000.

        `mode` is full, images_only or annotations_only. Dialect A knows no status (UsageError) and no cap.
        NotFound, also where the name has come to mean another dataset than the one meant.
        """
        meant = self.resolve(dataset)
        capless = self._service.dialect.letter == "a"
        if capless and status is not None:
            raise UsageError("this service (dialect a) does not tell images by status: omit status_filter")
        limit = min(limit, BATCH_LINKS)
        query = {"mode": mode}
        if not capless:
            query["limit"] = str(limit)
            if status is not None:
                query["status_filter"] = status

        def pick(spoken: Dialect, answer: Answer) -> tuple[str, list[Link]]:
            body = decode(answer.body)
            found = models.links(
                spoken.page("links", body).rows,
                ends_at=spoken.find_or("links' end", body, None),
                server_ahead_s=answer.server_ahead_s,
            )
            return str(spoken.find_or("links' dataset", body, "")), found

        signed, items = self._service.answer("links", path_names(meant), query, pick)
        if meant.id and signed and signed != meant.id:
            raise NotFound(f"dataset {meant.name!r} has been renamed: another has its name now", status=404)
        said = [link.expires_s for link in items if link.expires_s is not None]
        more = len(items) >= limit or (status is None and len(items) < meant.image_count)
        return Links(items=items, expires_s=min(said, default=None), capped=more and not capless)


def looks_like_id(text: str) -> bool:
    """Whether a text has the shape of an id."""
    return _ID.fullmatch(text) is not None


def path_names(dataset: Dataset) -> dict[str, str]:
    """What the paths of each dialect call a dataset; where one of its names alone is known, that for all."""
    name = dataset.name or dataset.slug or dataset.id
    return {"id": dataset.id or name, "name": name, "slug": dataset.slug or name}
