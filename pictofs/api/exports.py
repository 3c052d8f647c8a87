"""Exports: `client.exports`. An export is named by its dataset and its own name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from pictofs.api import models
from pictofs.api.datasets import Datasets, path_names
from pictofs.api.dialect import Dialect
from pictofs.api.documents import decode
from pictofs.api.downloads import ByteProgress, ExportOrder, folder_of
from pictofs.api.models import Dataset, Export, Link
from pictofs.api.paging import Pager, Pages, Rows, Walk
from pictofs.api.refusals import clean, misshapen
from pictofs.api.service import PAGE_ROWS, Service
from pictofs.api.transport import Answer
from pictofs.errors import ServerFault

DONE = ("completed", "failed")
WAIT_S = 300.0
FIRST_LOOK_S, LONGEST_LOOK_S = 0.5, 5.0    # an order is looked at ever more seldom: each look is a request


class Exports:
    """Reading, ordering and deleting exports. `sleep` waits between the looks at an order.

    `carry` carries out the order of a download.
    """

    def __init__(
        self,
        service: Service,
        datasets: Datasets,
        carry: Callable[[ExportOrder], Path],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._datasets = datasets
        self._carry = carry
        self._sleep = sleep
        self._clock = clock

    # reading

    def iter(
        self,
        dataset_name: Dataset | str | None = None,
        status: str | None = None,
        page_size: int = PAGE_ROWS,
        max_total: int | None = None,
    ) -> Pager[Export]:
        """Every export once: of one dataset or of the organization, of one status where given."""
        meant = None if dataset_name is None else self._datasets.resolve(dataset_name)
        asked: dict[str, str] = {}
        if meant is not None:
            asked["dataset_name"] = self._dataset_name(meant)
        if status is not None:
            asked["status"] = status

        def fetch(offset: int, limit: int) -> Rows[Export]:
            page = self._service.page("exports", {}, {**asked, "limit": str(limit), "offset": str(offset)})
            return Rows([models.export(row) for row in page.rows], page.total, page.has_more)

        def pages() -> Iterator[list[Export]]:
            for rows in Pages(fetch, Walk(_identity, page_size=min(page_size, PAGE_ROWS))):
                yield [row for row in rows if meant is None or _belongs(row, meant)]

        return Pager(pages, max_total=max_total)

    def list(
        self,
        dataset_name: Dataset | str | None = None,
        status: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Export]:
        """So many of `iter` after the first `offset`."""
        return list(islice(self.iter(dataset_name, status, max_total=offset + limit), offset, None))

    def get(self, dataset_name: Dataset | str, export_name: Export | str) -> Export:
        """One export. NotFound."""
        return models.export(self._service.one("export", self._names(dataset_name, export_name)))

    def url(self, dataset: Dataset | str, export: Export | str) -> Link:
        """The signed URL of a completed export's archive. NotFound; Unprocessable while it is not ready."""

        def pick(spoken: Dialect, answer: Answer) -> Link:
            row = spoken.one("export link", decode(answer.body))
            return models.links([row], server_ahead_s=answer.server_ahead_s)[0]

        link = self._service.answer("export link", self._names(dataset, export), None, pick)
        if not link.url:
            raise misshapen("the export's download", "it has no download_url")
        return link

    def download(
        self,
        dataset_name: Dataset | str,
        export_name: Export | str,
        output_path: str | PathLike[str] | None = None,
        *,
        progress: ByteProgress | None = None,
    ) -> Path:
        """Write a completed export's archive and say where: in `output_path`, or here as `<export>.zip`.

        The file is there when it is whole and its checksum is right. What came before a failure is kept
        beside it, and the next call for the same file goes on at the same byte. `progress` is called in this
        thread with (bytes here, bytes in all). NotFound; Unprocessable while it is not ready; TransferError.
        """
        path = None if output_path is None else folder_of(output_path)
        name = export_name if isinstance(export_name, str) else export_name.name
        return self._carry(ExportOrder(self._datasets.resolve(dataset_name), name, path, progress))

    # writing

    def create(
        self,
        dataset_name: Dataset | str,
        name: str,
        *,
        format: str | None = None,
        include_images: bool = False,
        class_filter: Sequence[str] | None = None,
        status_filter: str | None = None,
        wait: bool = False,
        timeout_s: float = WAIT_S,
        progress: Callable[[Export], object] | None = None,
    ) -> Export:
        """Order an export; pending, or with `wait` completed. Conflict where its name is taken."""
        meant = self._datasets.resolve(dataset_name)
        body: dict[str, Any] = {
            "dataset_name": self._dataset_name(meant),
            "name": name,
            "include_images": include_images,
        }
        if format is not None:
            body["format"] = format
        if class_filter is not None:
            body["class_filter"] = [*class_filter]
        if status_filter is not None:
            body["status_filter"] = status_filter
        ordered = models.export(self._service.write("POST", "new export", {}, body))
        return self.wait(meant, ordered, timeout_s=timeout_s, progress=progress) if wait else ordered

    def wait(
        self,
        dataset_name: Dataset | str,
        export_name: Export | str,
        *,
        timeout_s: float = WAIT_S,
        progress: Callable[[Export], object] | None = None,
    ) -> Export:
        """The export once it is completed; `progress` is called with each look at it.

        ServerFault where it failed or is not completed in time.
        """
        meant = self._datasets.resolve(dataset_name)
        until_s = self._clock() + timeout_s
        look_s = FIRST_LOOK_S
        while True:
            seen = self.get(meant, export_name)
            if progress is not None:
                progress(seen)
            if seen.status == "completed":
                return seen
            if seen.status == "failed":
                why = clean(seen.error_message) or "no reason given"
                raise ServerFault(f"export {seen.name!r} failed: {why}")
            if self._clock() + look_s > until_s:
                raise ServerFault(f"export {seen.name!r} is still {seen.status}: look at it again later")
            self._sleep(look_s)
            look_s = min(LONGEST_LOOK_S, look_s * 1.5)

    def delete(self, dataset_name: Dataset | str, export_name: Export | str) -> dict[str, Any]:
        """Delete an export and its archive; the service's summary. NotFound, Forbidden."""
        return self._service.delete("export", self._names(dataset_name, export_name))

    # within

    def _names(self, dataset: Dataset | str, export: Export | str) -> dict[str, str]:
        meant = self._datasets.resolve(dataset)
        return {**path_names(meant), "export": export if isinstance(export, str) else export.name}

    def _dataset_name(self, dataset: Dataset) -> str:
        return path_names(dataset)["slug" if self._service.dialect.letter == "a" else "name"]


def _belongs(export: Export, dataset: Dataset) -> bool:
    """Whether a row is of the dataset: by id where both have one, else by name or slug."""
    if export.dataset_id and dataset.id:
        return export.dataset_id == dataset.id
    return not export.dataset_name or export.dataset_name in (dataset.name, dataset.slug)


def _identity(export: Export) -> str:
    return export.id
