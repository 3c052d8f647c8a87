"""What the storage host answers: a pure decision from a request, an object and its checksums."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple
from xml.sax.saxutils import escape

from pictofs.emulator.content import Hashes, StoredObject
from pictofs.emulator.delivery import head_of
from pictofs.emulator.ranges import Unsatisfiable, byte_range, precondition, range_holds
from pictofs.emulator.signing import Rejected


class Answer(NamedTuple):
    """Head, and what follows it: a run of an object's bytes, or a body of its own."""

    status: int
    head: bytes
    body: bytes
    stored: StoredObject | None = None
    start: int = 0
    end: int = 0

    @property
    def length(self) -> int:
        """Bytes after the head."""
        return self.end - self.start if self.stored is not None else len(self.body)


def error_answer(
    status: int,
    code: str,
    message: str,
    details: str = "",
    extra: Mapping[str, str] | None = None,
    *,
    bare: bool = False,
) -> Answer:
    """An XML error as Google Cloud Storage writes it; `bare` leaves the body out, as HEAD must."""
    inner = f"<Details>{escape(details)}</Details>" if details else ""
    body = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>"
        f"<Message>{escape(message)}</Message>{inner}</Error>"
    ).encode()
    headers = {
        "Content-Type": "application/xml; charset=UTF-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "private, max-age=0",
        **(extra or {}),
        "Date": http_date(int(time.time())),
    }
    return Answer(status, head_of(status, headers), b"" if bare else body)


def rejection(error: Rejected, *, bare: bool = False) -> Answer:
    """The answer to a URL that is not honoured."""
    return error_answer(error.status, error.code, error.message, error.details, bare=bare)


def no_such_key(path: str, *, bare: bool = False) -> Answer:
    """The answer where no object lives."""
    return error_answer(
        404, "NoSuchKey", "The specified key does not exist.", f"No such object: {path}", bare=bare
    )


def unreadable(error: OSError, *, bare: bool = False) -> Answer:
    """The answer where the bytes cannot be had."""
    return error_answer(500, "InternalError", "We encountered an internal error.", str(error), bare=bare)


def object_answer(
    stored: StoredObject, hashes: Hashes, headers: Mapping[bytes, bytes], shown: str, *, bare: bool = False
) -> Answer:
    """200, 206, 304, 412 or 416; `shown` is what x-goog-hash carries: both, crc32c, md5 or none."""
    modified_s = stored.modified_us // 1_000_000
    verdict = precondition(headers, hashes.etag, modified_s, stored.generation) if headers else 200
    if verdict == 304:
        return Answer(304, _object_head(304, stored, hashes, shown, None), b"")
    if verdict == 412:
        return error_answer(
            412,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold.",
            bare=bare,
        )
    start, end, status = 0, stored.size, 200
    wanted = headers.get(b"range")
    if wanted is not None and range_holds(headers.get(b"if-range"), hashes.etag, modified_s):
        try:
            found = byte_range(wanted.decode("latin-1"), stored.size)
        except Unsatisfiable:
            return error_answer(
                416,
                "InvalidRange",
                "The requested range cannot be satisfied.",
                wanted.decode("latin-1"),
                {"Content-Range": f"bytes */{stored.size}"},
                bare=bare,
            )
        if found is not None:
            (start, end), status = found, 206
    head = _object_head(status, stored, hashes, shown, (start, end))
    return Answer(status, head, b"") if bare else Answer(status, head, b"", stored, start, end)


def _object_head(
    status: int, stored: StoredObject, hashes: Hashes, shown: str, span: tuple[int, int] | None
) -> bytes:
    # By hand, not through head_of: this is the one place that every GET of a benchmark passes.
    if stored.head_lines is None:
        stored.head_lines = (
            f"Content-Type: {stored.content_type}\r\nETag: {hashes.etag}\r\n"
            f"Last-Modified: {http_date(stored.modified_us // 1_000_000)}\r\n"
            f"x-goog-generation: {stored.generation}\r\nx-goog-metageneration: 1\r\n"
            f"x-goog-stored-content-length: {stored.size}\r\nx-goog-storage-class: STANDARD\r\n"
            "Accept-Ranges: bytes\r\nCache-Control: private, max-age=0\r\n"
        )
    lines = [_STATUS_LINES[status], stored.head_lines]
    if shown == "both":
        lines.append(f"x-goog-hash: crc32c={hashes.crc32c},md5={hashes.md5}\r\n")
    elif shown != "none":
        lines.append(f"x-goog-hash: {shown}={hashes.crc32c if shown == 'crc32c' else hashes.md5}\r\n")
    if span is not None:
        lines.append(f"Content-Length: {span[1] - span[0]}\r\n")
        if status == 206:
            lines.append(f"Content-Range: bytes {span[0]}-{span[1] - 1}/{stored.size}\r\n")
    lines.append(f"Date: {_date()}\r\n\r\n")
    return "".join(lines).encode("latin-1")


_STATUS_LINES = {
    200: "HTTP/1.1 200 OK\r\n",
    206: "HTTP/1.1 206 Partial Content\r\n",
    304: "HTTP/1.1 304 Not Modified\r\n",
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_second: tuple[int, str] = (0, "")


def http_date(seconds: int) -> str:
    """The time as HTTP writes it; email.utils.formatdate takes six times as long."""
    t = time.gmtime(seconds)
    clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    return f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} {clock} GMT"


def _date() -> str:
    global _second
    now = int(time.time())
    if _second[0] != now:
        _second = (now, http_date(now))
    return _second[1]
