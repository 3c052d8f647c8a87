"""A whole dataset to files: images over signed URLs, annotations over the API, both at once.

    listing ─▶ placing ─▶ files ─┬─ image: signing ─▶ storage ─▶ part ─┐
                                 └─ annotation: API in a few threads ──┴─▶ published ─▶ report

One thread, the caller's, decides and counts; transfers and calls leave word in a queue. An image that no
batch of signed URLs reaches is fetched through the API. What fails is written down and the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from pictofs.api import Client, DownloadFailure, DownloadReport, Image, Links
from pictofs.api.downloads import DatasetOrder
from pictofs.download import placing
from pictofs.download.calling import Calling
from pictofs.download.folder import Folder
from pictofs.download.placing import File
from pictofs.download.setbacks import Setbacks
from pictofs.download.signing import Signed, Signing
from pictofs.errors import Damaged, ObjectGone, PictofsError, UrlExpired
from pictofs.storage import Carrier, Get, Got, Transfer

CALLS = 8  # API requests at once: as many connections as the client keeps
WAITING = 2  # transfers in hand for each that runs, so that no connection waits for this thread
PATIENCE = 20  # failures in a row, or two for each worker, after which a host is given up
RENEWALS = 3  # of one file's URL
EMPTY_BODY = b'{"annotations": []}'  # what B and C answer for an image without annotations

MakeCarrier = Callable[[int], Carrier]  # of so many connections; not started yet


@dataclass(slots=True)
class _Fetch:
    """A file on its way."""

    file: File
    part: str
    signed: Signed | None = None
    transfer: Transfer | None = None
    renewals: int = 0


class DatasetDownload:
    """One order, carried out once by `run`."""

    def __init__(self, client: Client, order: DatasetOrder, make_carrier: MakeCarrier) -> None:
        self._client = client
        self._order = order
        self._dataset = order.dataset
        self._make_carrier = make_carrier
        patience = max(PATIENCE, 2 * order.max_workers)
        self._storage, self._api = Setbacks(patience), Setbacks(patience)
        self._news: SimpleQueue[tuple[_Fetch, Any]] = SimpleQueue()
        self._images: deque[_Fetch] = deque()
        self._calls: deque[_Fetch] = deque()
        self._transfers = self._asked = self._done = 0
        self._carrier: Carrier | None = None
        self._empty = client.annotations.document(EMPTY_BODY)
        where = order.output_dir / placing.folder_name(self._dataset)
        self._folder = Folder(where.absolute())
        retried = order.retry
        self._report = DownloadReport(
            dataset_id=self._dataset.id,
            dataset=self._dataset.name,
            folder=str(where.absolute()),
            mode=retried.mode if retried else order.mode,
            status_filter=retried.status_filter if retried else order.status_filter,
        )

    def run(self) -> DownloadReport:
        """See Downloads.dataset."""
        status = None if self._order.retry else self._order.status_filter
        listed = [image for page in self._client.images.pages(self._dataset, status=status) for image in page]
        if self._order.retry:
            files, gone = placing.again(listed, self._order.retry)
        else:
            files, gone = placing.files(listed, self._order.mode), []
        self._total = len(files) + len(gone)
        self._signing = Signing(self._sign, listed, status=status)
        pictures = [file.image for file in files if file.kind == placing.IMAGE]
        if pictures:
            self._signing.url(pictures[0])  # what is refused altogether is raised, not reported file by file
        with self._folder:
            for failure in gone:
                file = File(failure.kind, _missing(failure), failure.path)
                self._fail(file, "it is no longer in the dataset")
            self._carry(files)
        self._report.failures.sort(key=lambda failure: failure.path)
        return self._report

    # the thread that decides

    def _carry(self, files: list[File]) -> None:
        for file in files:
            (self._images if file.kind == placing.IMAGE else self._calls).append(_Fetch(file, ""))
        self._calling = Calling(min(CALLS, self._order.max_workers))
        whole = False
        try:
            while self._done < self._total:
                self._begin()
                if self._transfers or self._asked:
                    self._hear(*self._news.get())
            whole = True
        finally:
            if self._carrier is not None:
                self._carrier.stop()
            self._calling.close(wait=whole)

    def _begin(self) -> None:
        """As many transfers and calls as may be in hand."""
        while self._images and self._transfers < WAITING * self._order.max_workers:
            self._send(self._images.popleft())
        while self._calls and self._asked < WAITING * CALLS:
            self._ask(self._calls.popleft())

    def _hear(self, fetch: _Fetch, outcome: Any) -> None:
        """How a transfer or a call ended."""
        if fetch.transfer is not None:
            self._transfers -= 1
        else:
            self._asked -= 1
        if isinstance(outcome, (UrlExpired, ObjectGone)) and self._renewed(fetch, outcome):
            return
        if isinstance(outcome, BaseException) and not isinstance(outcome, PictofsError):
            raise outcome
        setbacks = self._api if fetch.transfer is None else self._storage
        try:
            if isinstance(outcome, PictofsError):
                raise outcome
            self._publish(fetch, outcome)
        except PictofsError as error:
            setbacks.failure(error)
            self._fail(fetch.file, str(error))
        else:
            setbacks.success()

    def _send(self, fetch: _Fetch) -> None:
        """An image to the storage host, or through the API where no URL reaches it."""
        if self._storage.given_up is not None:
            self._fail(fetch.file, f"not tried: {self._storage.given_up}")
            return
        try:
            fetch.signed = self._signing.url(fetch.file.image)
        except PictofsError as error:
            self._fail(fetch.file, str(error))
            return
        if fetch.signed is None:
            self._calls.append(fetch)
            return
        if self._carrier is None:
            self._carrier = self._make_carrier(self._order.max_workers)
            self._carrier.start()
        fetch.part = self._folder.part()
        self._transfers += 1
        get = Get(fetch.signed.url, sink=fetch.part)
        fetch.transfer = self._carrier.submit(get, lambda outcome: self._news.put((fetch, outcome)))

    def _renewed(self, fetch: _Fetch, error: UrlExpired | ObjectGone) -> bool:
        """Whether the file is on its way again, under a fresh URL."""
        before, transfer = fetch.signed, fetch.transfer
        assert before is not None
        assert transfer is not None
        assert self._carrier is not None
        fetch.renewals += 1
        # An object that is gone was perhaps replaced: the batch names the one of now, once.
        most = RENEWALS if isinstance(error, UrlExpired) else 1
        try:
            if fetch.renewals > most or not self._signing.refused(before):
                raise error
            fetch.signed = self._signing.url(fetch.file.image)
        except PictofsError:
            self._carrier.cancel(transfer)
            return False
        if fetch.signed is None or not isinstance(error, UrlExpired):
            self._carrier.cancel(transfer)
            fetch.transfer = None
            self._images.appendleft(fetch)
            return True
        self._transfers += 1
        self._carrier.resume(transfer, fetch.signed.url)
        return True

    def _ask(self, fetch: _Fetch) -> None:
        """An annotation, or an image without a URL, from the API."""
        file, client, dataset = fetch.file, self._client, self._dataset
        if file.kind == placing.ANNOTATION and file.image.annotation_count == 0 and client.dialect != "a":
            self._asked += 1
            self._news.put((fetch, self._empty))
            return
        if self._api.given_up is not None:
            self._fail(file, f"not tried: {self._api.given_up}")
            return

        def body() -> bytes:
            if file.kind == placing.ANNOTATION:
                return client.annotations.get(dataset, file.image)
            image, total_bytes = client.images.read(file.image)
            if len(image) != total_bytes:
                raise Damaged(f"{len(image)} bytes came where {total_bytes} were promised")
            return image

        self._asked += 1
        self._calling.submit(body, lambda outcome: self._news.put((fetch, outcome)))

    def _publish(self, fetch: _Fetch, outcome: Got | bytes) -> None:
        """Put it in its place. TransferError."""
        if isinstance(outcome, bytes):
            size_bytes = len(outcome)
            self._folder.write(outcome, fetch.file.path)
        else:
            self._signing.arrived()
            size_bytes = outcome.body_bytes
            self._folder.publish(fetch.part, fetch.file.path)
        self._report.bytes_downloaded += size_bytes
        if fetch.file.kind == placing.IMAGE:
            self._report.images_downloaded += 1
        else:
            self._report.annotations_downloaded += 1
        self._count(fetch.file)

    def _fail(self, file: File, reason: str) -> None:
        image = file.image
        self._report.failures.append(
            DownloadFailure(
                filename=image.filename,
                kind=file.kind,
                reason=reason,
                id=image.id,
                directory_path=image.directory_path,
                path=file.path,
            )
        )
        self._count(file)

    def _count(self, file: File) -> None:
        self._done += 1
        if self._order.progress is not None:
            self._order.progress(self._done, self._total, file.image.filename)

    def _sign(self, status: str | None) -> Links:
        return self._client.datasets.links(self._dataset, "images_only", status)


def _missing(failure: DownloadFailure) -> Image:
    return Image(id=failure.id, filename=failure.filename, directory_path=failure.directory_path)
