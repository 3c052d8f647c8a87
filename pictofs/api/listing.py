"""The images of a dataset, whole, by the way that each dialect has.

    A   embedded in the dataset, all at once
    B   embedded in the dataset, 10,000 a page
    C   a listing of its own, 1,000 a page, newest first, filtered by the service
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pictofs.api import models
from pictofs.api.datasets import Datasets, path_names
from pictofs.api.dialect import Dialect
from pictofs.api.models import Dataset, Image
from pictofs.api.paging import Pages, Rows, Walk
from pictofs.api.service import PAGE_ROWS, Service
from pictofs.errors import UsageError

EMBED_ROWS = 10_000


class Listing:
    """Walks over the images of datasets."""

    def __init__(self, service: Service, datasets: Datasets) -> None:
        self._service = service
        self._datasets = datasets

    def pages(
        self, dataset: Dataset, filters: Mapping[str, str], page_size: int = PAGE_ROWS
    ) -> Iterator[list[Image]]:
        """The images that match all filters (of `directory_path`, `status`, `split`, `filename`), in pages.

        The iterator goes on where it stood after a failure. UsageError, here or while iterating, for a filter
        that neither the service nor its rows can answer; `include_archived` is C's alone.
        """
        if self._service.dialect.letter == "c":
            return self._listed(dataset, filters, page_size)
        if "include_archived" in filters:
            raise UsageError("this service lists no archived images: they are shown in dialect c alone")
        pages = self._embedded(dataset)
        return _Chosen(pages, self._chooser(dataset, filters)) if filters else pages

    def walk(self, dataset: Dataset) -> Pages[Image]:
        """Every image, as a walk whose pages may come early."""
        if self._service.dialect.letter == "c":
            return self._listed(dataset, {}, PAGE_ROWS)
        return self._embedded(dataset)

    def _listed(self, meant: Dataset, filters: Mapping[str, str], page_size: int) -> Pages[Image]:
        dataset = path_names(meant)["id"]

        def fetch(offset: int, limit: int) -> Rows[Image]:
            query = {"dataset": dataset, "limit": str(limit), "offset": str(offset), **filters}
            page = self._service.page("images", {}, query)
            return Rows(models.images(page.rows), page.total, page.has_more)

        size = min(page_size, PAGE_ROWS)
        expected = meant.image_count or None
        return Pages(fetch, Walk(_identity, page_size=size, newest_first=True, expected=expected))

    def _embedded(self, meant: Dataset) -> Pages[Image]:
        names = path_names(meant)
        whole = self._service.dialect.letter == "a"

        def fetch(offset: int, limit: int) -> Rows[Image]:
            query = {"include_images": "true"}
            if not whole:
                query |= {"images_limit": str(limit), "images_offset": str(offset)}
            page = self._service.read("dataset", names, query, Dialect.embedded)
            return Rows(models.images(page.rows), page.total, False if whole else None)

        return Pages(fetch, Walk(_identity, page_size=EMBED_ROWS))

    def _chooser(self, meant: Dataset, filters: Mapping[str, str]) -> Callable[[list[Image]], list[Image]]:
        of_status: set[str] | None = None

        def chosen(rows: list[Image]) -> list[Image]:
            nonlocal of_status
            if filters.get("status") and any(not row.status for row in rows):
                if of_status is None:
                    of_status = self._ids_of_status(meant, filters["status"])
                rows = [row for row in rows if row.id in of_status]
                others = {name: filters[name] for name in filters if name != "status"}
            else:
                others = dict(filters)
            if "split" in others and self._service.dialect.letter == "a":
                raise UsageError("this service (dialect a) does not tell the split of images")
            return [row for row in rows if all(getattr(row, name) == others[name] for name in others)]

        return chosen

    def _ids_of_status(self, meant: Dataset, status: str) -> set[str]:
        """For rows that do not tell their status: the ids of that status' batch of links."""
        batch = self._datasets.links(meant, "images_only", status)
        ids = {link.id for link in batch.items}
        if batch.capped or "" in ids:
            raise UsageError("this service does not tell the status of every image: leave status_filter out")
        return ids


class _Chosen(Iterator[list[Image]]):
    """Pages with some rows left out; like them it goes on after a failure."""

    def __init__(self, pages: Iterator[list[Image]], choose: Callable[[list[Image]], list[Image]]) -> None:
        self._pages = pages
        self._choose = choose
        self._rows: list[Image] | None = None    # a page that came and was not chosen from yet

    def __next__(self) -> list[Image]:
        while True:
            if self._rows is None:
                self._rows = next(self._pages)
            chosen = self._choose(self._rows)
            self._rows = None
            if chosen:
                return chosen


def _identity(image: Image) -> str:
    return image.id
