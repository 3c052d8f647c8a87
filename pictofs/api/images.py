"""Images: `client.images`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from pictofs.api import models
from pictofs.api.datasets import Datasets, looks_like_id
from pictofs.api.listing import Listing
from pictofs.api.models import Dataset, Image
from pictofs.api.paging import Pager, Pages
from pictofs.api.service import PAGE_ROWS, Service
from pictofs.api.transport import Answer, Request
from pictofs.errors import NotFound, ServerFault, UsageError

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_LENGTH = re.compile(r"bytes \*/(\d+)")
_Rows = list[Image]


class Images:
    """Listing the images of a dataset, and single images through the API."""

    def __init__(self, service: Service, datasets: Datasets) -> None:
        self._service = service
        self.datasets = datasets
        self._listing = Listing(service, datasets)

    def pages(self, dataset: Dataset | str, *, status: str | None = None) -> Iterator[_Rows]:
        """Every image of a dataset exactly once, a page at a time, while others come and go.

        Where `next` raises (RateLimited), the next `next` goes on with the same page. Costs n/1000 requests
        in C, n/10,000 in B, one in A. UsageError for a `status` that the service has no way to tell.
        """
        filters = {} if status is None else {"status": status}
        return self._listing.pages(self.datasets.resolve(dataset), filters)

    def walk(self, dataset: Dataset) -> Pages[Image]:
        """The same, whole, with pages that may be fetched early where the dialect's list allows it.

        How many there will be is believed of the dataset.
        """
        return self._listing.walk(dataset)

    def iter(
        self,
        dataset: Dataset | str,
        *,
        directory_path: str | None = None,
        status: str | None = None,
        split: str | None = None,
        filename: str | None = None,
        include_archived: bool = False,
        page_size: int = PAGE_ROWS,
        max_total: int | None = None,
    ) -> Pager[Image]:
        """The images that match every filter given. C filters by itself, elsewhere all are listed for it.

        UsageError where the dialect cannot tell: archived images outside of C, a trait that its rows lack.
        """
        given = {
            "directory_path": directory_path,
            "status": status,
            "split": split,
            "filename": filename,
            "include_archived": "true" if include_archived else None,
        }
        filters = {name: value for name, value in given.items() if value is not None}
        meant = self.datasets.resolve(dataset)
        size = page_size if max_total is None else max(1, min(page_size, max_total))
        return Pager(lambda: self._listing.pages(meant, filters, size), max_total=max_total)

    def list(
        self,
        dataset: Dataset | str,
        *,
        limit: int = 100,
        offset: int = 0,
        directory_path: str | None = None,
        status: str | None = None,
        split: str | None = None,
        filename: str | None = None,
        include_archived: bool = False,
    ) -> _Rows:
        """So many of `iter` after the first `offset`."""
        found = self.iter(
            dataset,
            directory_path=directory_path,
            status=status,
            split=split,
            filename=filename,
            include_archived=include_archived,
            max_total=offset + limit,
        )
        return [*islice(found, offset, None)]

    def get(self, dataset: Dataset | str, image: str, directory_path: str | None = None) -> Image:
        """One image of a dataset, by its id or its file name.

        NotFound; UsageError where several directories have a file of that name and none was given.
        """
        meant = self.datasets.resolve(dataset)
        if looks_like_id(image) and self._service.dialect.has("image"):
            row = self._service.one("image", {"image": image})
            # The endpoint answers for the whole organization.
            if str(row.get("dataset_id") or meant.id) == meant.id:
                return models.images([row])[0]
        found = self.iter(meant, filename=image, directory_path=directory_path, max_total=2).all()
        if not found:
            raise NotFound(f"there is no image {image!r} in this dataset", status=404)
        if len(found) > 1:
            one, other = found
            raise UsageError(f"{image!r} is in {one.directory_path} and in {other.directory_path}: say which")
        return found[0]

    def read(
        self, image: Image | str, first: int | None = None, last: int | None = None
    ) -> tuple[bytes, int]:
        """(bytes `first` to `last`, both included, of an image; the image's whole size), one API request.

        For what no signed URL reaches. A service that does not know ranges sends the whole; no more of it is
        read than is needed. NotFound; UsageError in dialect A, which signs everything.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        start, stop = first or 0, None if last is None else last + 1
        if first is not None or last is not None:
            headers["Range"] = f"bytes={start}-{'' if last is None else last}"
        named = image if isinstance(image, str) else image.id
        path = self._service.dialect.path("image bytes", image=named)
        request = Request("GET", path, headers=headers, enough_bytes=stop)
        return self._service.fetch(request, lambda answer: _cut(answer, start, stop))


def _cut(answer: Answer, start: int, stop: int | None) -> tuple[bytes, int]:
    """(the bytes asked for, the whole size) of an answer to a ranged or plain request. ServerFault."""
    said = answer.headers.get("content-range", "")
    if answer.status == 416:
        length = _LENGTH.fullmatch(said)
        if length is None:
            raise ServerFault("the service refuses a range without saying the image's size", status=416)
        return b"", int(length[1])
    if answer.status == 206:
        sent = _RANGE.fullmatch(said)
        if sent is None or int(sent[1]) != start or int(sent[2]) - start + 1 != len(answer.body):
            raise ServerFault("the service sent another range than was asked for", status=206)
        return answer.body, int(sent[3])
    told = answer.headers.get("content-length", "")
    whole = told.isdigit() and "content-encoding" not in answer.headers
    return answer.body[start:stop], int(told) if whole else len(answer.body)
