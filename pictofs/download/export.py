"""One export's archive to a file: resumed at the same byte, also by a later call, and checked when whole.

    who is it ─▶ part of that version ─▶ the rest of it ─▶ length and checksum ─▶ renamed to its place

The first request asks for one byte: the answer tells the version and the size, and the part's name carries
the version, so that bytes of two versions never meet in one file.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import google_crc32c

from pictofs import names
from pictofs.api import Client, Export
from pictofs.api.downloads import ExportOrder
from pictofs.download import placing
from pictofs.errors import (
    Damaged,
    ObjectChanged,
    PictofsError,
    TransferError,
    Unprocessable,
    UrlExpired,
    UsageError,
)
from pictofs.storage import Carrier, Get, Got

RENEWALS = 3  # of the URL, without a byte in between
PIECE_BYTES = 4 << 20
_News = SimpleQueue[int | Got | PictofsError]


class ExportDownload:
    """One order, carried out once by `run`. `make_carrier` gives transfers that are not started yet."""

    def __init__(self, client: Client, order: ExportOrder, make_carrier: Callable[[], Carrier]) -> None:
        self._client = client
        self._order = order
        self._carrier = make_carrier()
        self._url = ""

    def run(self) -> Path:
        """See Downloads.export."""
        export = self._client.exports.get(self._order.dataset, self._order.export)
        if export.status not in ("completed", ""):
            why = f" ({export.error_message})" if export.error_message else ""
            raise Unprocessable(f"export {export.name!r} is {export.status}{why}: nothing to download")
        target = self._target(export)
        self._renew()
        self._carrier.start()
        try:
            try:
                return self._arrive(target)
            except (ObjectChanged, Damaged):
                return self._arrive(target)  # another version by now, or bytes of long ago that went bad
        finally:
            self._carrier.stop()

    def _target(self, export: Export) -> Path:
        wanted = self._order.output_path or Path()
        path = wanted / placing.archive_name(export.name, export.id) if wanted.is_dir() else wanted
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path.parent}: {error.strerror}; name a folder that can be written") from None
        return path.absolute()

    def _arrive(self, target: Path) -> Path:
        seen = self._get(Get(self._url, 0, 0))
        with Part(target, seen) as part:
            if part.size_bytes < seen.total_bytes:
                resumed = part.size_bytes
                strong = seen.etag and not seen.etag.startswith("W/")
                get = Get(
                    self._url,
                    resumed or None,
                    if_match=seen.etag if strong else None,
                    generation=seen.generation or None,
                    sink=part.file,
                )
                try:
                    self._get(get, resumed, seen.total_bytes)
                except (ObjectChanged, Damaged):
                    part.discard()
                    raise
                if resumed:
                    part.check()  # a transfer checks what it brought itself, and this is more
            else:
                part.check()
            part.publish()
        return target

    def _get(self, get: Get, before: int = 0, total: int = 0) -> Got:
        """A transfer to its end, under fresh URLs as they are needed."""
        news: _News = SimpleQueue()
        transfer = self._carrier.submit(get, news.put, news.put)
        renewals = furthest = 0
        try:
            while True:
                word = news.get()
                if isinstance(word, Got):
                    return word
                if isinstance(word, int):
                    if word > furthest:
                        furthest, renewals = word, 0
                    if total and self._order.progress is not None:
                        self._order.progress(before + word, total)
                elif isinstance(word, UrlExpired) and renewals < RENEWALS:
                    renewals += 1
                    self._renew()
                    self._carrier.resume(transfer, self._url)
                else:
                    raise word
        finally:
            self._carrier.cancel(transfer)

    def _renew(self) -> None:
        self._url = self._client.exports.url(self._order.dataset, self._order.export).url


class Part:
    """What is here of one version of an archive; a context that holds its lock. UsageError, TransferError."""

    def __init__(self, target: Path, seen: Got) -> None:
        self._target = target
        self._seen = seen
        version = f"{seen.generation}\0{seen.etag}\0{seen.total_bytes}"
        self._resumable = bool(seen.generation or seen.etag)
        mark = hashlib.sha256(version.encode()).hexdigest()[:8]
        self._path = target.with_name(names.fit(f"{target.name}.{mark}{_SUFFIX}", f"~{mark}"))
        self.file: BinaryIO

    def __enter__(self) -> Part:
        try:
            # Not O_TRUNC: what came before is the point. Unbuffered: what is written survives a kill.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self.file = os.fdopen(descriptor, "r+b", buffering=0)
        except OSError as error:
            raise UsageError(f"{self._path.parent}: {error.strerror}; name another place") from None
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise UsageError(f"{self._target}: another download writes this file") from None
        if not self._resumable or self.size_bytes > self._seen.total_bytes:
            self.file.truncate(0)
        self.file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def size_bytes(self) -> int:
        """How much of it is here."""
        return os.fstat(self.file.fileno()).st_size

    def check(self) -> None:
        """Compare all of it with the host's checksum. Damaged, and then it is gone."""
        seen = self._seen
        crc32c, md5 = 0, hashlib.md5(usedforsecurity=False)
        self.file.seek(0)
        while piece := self.file.read(PIECE_BYTES):
            if seen.crc32c_object:
                crc32c = google_crc32c.extend(crc32c, piece)
            else:
                md5.update(piece)
        said = seen.crc32c_object or seen.md5
        found = crc32c.to_bytes(4, "big") if seen.crc32c_object else md5.digest()
        if said and base64.b64encode(found).decode() != said:
            self.discard()
            raise Damaged(f"{self._target.name}: wrong checksum; it is begun anew")

    def discard(self) -> None:
        """Forget what is here."""
        self._path.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give it its name; parts of other versions have no use any more. TransferError."""
        if self.size_bytes != self._seen.total_bytes:
            raise Damaged(f"{self._target.name}: {self.size_bytes} bytes came of {self._seen.total_bytes}")
        try:
            os.replace(self._path, self._target)
            for other in self._target.parent.iterdir():
                tail = other.name.removeprefix(self._target.name)
                if tail != other.name and _PART.fullmatch(tail):
                    other.unlink()
        except OSError as error:
            raise TransferError(f"{self._target}: {error.strerror}") from None


_SUFFIX = ".part"
_PART = re.compile(r"\.[0-9a-f]{8}\.part")
