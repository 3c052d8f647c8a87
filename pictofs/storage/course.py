"""One transfer from its first request to its last: what to ask for next, and what came of it.

    ask() ─▶ request ─▶ begin(head) ─▶ take(bytes)… ─▶ end(failure) ─▶ Got | error | Again ─▶ ask() …

It moves no bytes over a wire itself; both clients drive it, with whatever the wire brought. Bytes that came
are kept over broken attempts: the next one asks for the rest, by Range, of the same version, by If-Match. A
200 where a range was asked for begins anew and is cut to the range. Only what was compared with the host's
lengths and checksum leaves as Got.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import google_crc32c

from pictofs.errors import Damaged, ObjectChanged, PictofsError, TransferError, UrlExpired
from pictofs.storage.address import described, origin, redirected
from pictofs.storage.answer import Answer, base64_of, error_code
from pictofs.storage.checksum import EMPTY_CRC32C, Checksum
from pictofs.storage.refusal import REDIRECT, refusal
from pictofs.storage.retry import Budget, Cause, Failure, Watch
from pictofs.storage.sink import Sink, open_sink
from pictofs.storage.transfer import Get, Got

REDIRECTS = 3
_SINK_ERRORS = (OSError, ValueError)  # the second for a file that its owner has closed


@dataclass(slots=True)
class Ask:
    """One request. `span` is the value of Range without its unit; `fresh`: over no connection of before."""

    url: str
    span: str | None
    if_match: str | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt, so many seconds from now."""

    after_s: float
    why: str


class Course:
    """The state of one transfer. Not thread-safe: one attempt at a time."""

    def __init__(
        self,
        get: Get,
        *,
        timeout_s: float,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._get = get
        self._url = get.url
        self._clock = clock
        self._budget = Budget(timeout_s, draw)
        self._sink: Sink = open_sink(get.sink)
        self._start = get.first or 0
        self._stop = None if get.last is None else get.last + 1  # exclusive
        self._next = self._best = self._start  # the byte wanted next, the furthest one so far
        self._at = 0  # the object's byte that arrives next in this attempt
        self._total: int | None = None
        self._promised = "", ""  # crc32c and md5 of the object, as the host said last
        self._etag = self._generation = ""  # of the bytes that are held
        self._crc32c = EMPTY_CRC32C  # of the bytes that are held
        self._md5: Checksum | None = None  # of them too, where there is no crc32c to compare
        self._whole: Checksum | None = None  # of all that arrives, where more arrives than is wanted
        self._answer: Answer | None = None
        self._error: PictofsError | None = None  # found while the attempt ran; its end tells
        self._damaged = self._fresh = self._expired = False
        self._hops = 0
        self._began_s: float | None = None
        self._attempt_s = 0.0

    @property
    def _once(self) -> bool:
        """It holds a key: no second request, and none to where the answer points."""
        return self._get.headers is not None

    @property
    def received_bytes(self) -> int:
        """Bytes of the body that are held."""
        return self._next - self._start

    @property
    def streams(self) -> bool:
        """The body must be taken as it comes: it goes to a file."""
        return self._get.sink is not None

    @property
    def host(self) -> str:
        """The origin to connect to. Raises TransferError where the URL is not fit to be fetched."""
        return origin(self._url)

    def ask(self) -> Ask:
        """The next request; an attempt begins."""
        now_s = self._attempt_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        self._budget.began(now_s)
        self._answer = self._error = self._whole = None
        held = self._next > self._start
        span = None
        if held or self._stop is not None or self._get.first is not None:
            span = f"{self._next}-{'' if self._stop is None else self._stop - 1}"
        if_match = self._get.if_match or (self._etag if held and _strong(self._etag) else None)
        return Ask(self._url, span, if_match, self._fresh)

    def watch(self) -> Watch:
        """How long the attempt that `ask` began may be silent."""
        return self._budget.watch(self._attempt_s)

    def begin(self, answer: Answer) -> bool:
        """The head is here; whether its body is wanted. A refusal's is not, and may go to `end`."""
        self._answer = answer
        if answer.status not in (200, 206):
            return False
        at = 0 if answer.status == 200 else answer.first
        total = answer.total if answer.status == 206 else None if answer.transcoded else answer.length
        self._error = self._unfit(answer, at, total)
        if self._error is None and answer.status == 200 and self._next > self._start:
            self._error = self._forget()
        if self._error is not None:
            return False
        if not (answer.crc32c or answer.md5):
            answer.crc32c, answer.md5 = self._promised  # of the same version, when it said more
        self._promised = answer.crc32c, answer.md5
        self._at = at or 0
        self._etag, self._generation, self._total = answer.etag, answer.generation, total
        checkable = not answer.transcoded and bool(answer.crc32c or answer.md5)
        wanted = self._start == 0 and (self._stop is None or (total is not None and self._stop >= total))
        if checkable and wanted and not answer.crc32c and self._next == 0:
            self._md5 = Checksum(answer)
        if checkable and not wanted and answer.status == 200:
            self._whole = Checksum(answer)
        return True

    def take(self, data: bytes) -> bool:
        """The next bytes of a wanted body; whether more is wanted."""
        at = self._at
        self._at = at + len(data)
        if self._whole is not None:
            self._whole.update(data)
        if at < self._next or (self._stop is not None and self._at > self._stop):
            data = data[max(0, self._next - at) : None if self._stop is None else max(0, self._stop - at)]
        if data:
            self._crc32c = google_crc32c.extend(self._crc32c, data)
            if self._md5 is not None:
                self._md5.update(data)
            try:
                self._sink.write(data)
            except _SINK_ERRORS as error:
                self._error = self._unwritable(error)
                return False
            self._next += len(data)
        if self._total is None and self._get.sink is None and self._at > self._get.limit_bytes:
            self._error = self._too_large()
            return False
        return True

    def end(
        self, failure: Failure | None, refusal: bytes = b"", first_byte_s: float = 0.0
    ) -> Got | PictofsError | Again:
        """The attempt is over: with nothing more to come, or with `failure`. `refusal` is an error's body."""
        now_s = self._clock()
        if self._next > self._best:
            self._best = self._next
            self._budget.progressed(now_s)
        answer = self._answer
        if self._error is not None:
            return self._damage(self._error) if isinstance(self._error, Damaged) else self._fail(self._error)
        if answer is not None and answer.status in (200, 206):
            if self._total is None and failure is None:
                self._total = self._at  # it came in chunks and says no length; its end was in order
            if self._total is not None and self._next >= self._end_of(self._total):
                return self._finish(answer, first_byte_s)
            if failure is None:
                failure = Failure(Cause.TRUNCATED, f"the body ended after {self._at} bytes, too early")
        elif answer is not None:
            return self._refused(answer, refusal)
        return self._again(failure or Failure(Cause.CONNECTION, "there was no answer"))

    def renew(self, url: str) -> None:
        """Go on with another URL of the same object. Raises ValueError unless the last one had expired."""
        if not self._expired:
            raise ValueError("only a transfer whose URL expired can be resumed")
        self._url = url
        self._expired = False
        self._hops = 0
        self._budget.renew()

    def abandon(self) -> None:
        """Nothing will come of it; what a sink holds is removed."""
        self._sink.abandon()

    def forgo(self) -> None:
        """It ended, and if a fresh URL would continue it, none will come."""
        if self._expired:
            self._expired = False
            self._sink.abandon()

    # What a head or a refusal means

    def _unfit(self, answer: Answer, at: int | None, total: int | None) -> PictofsError | None:
        status = answer.status
        if status == 206:
            asked = self._next > self._start or self._stop is not None or self._get.first is not None
            if not asked or at is None or total is None or answer.last is None:
                return self._wrong_part("a part without saying which")
            right = at == self._next and at <= answer.last < total and answer.last < self._end_of(total)
            if not right or answer.length not in (None, answer.last - at + 1):
                return self._wrong_part("other bytes than were asked for")
        if self._moved_on(answer, total):
            return self._changed("was replaced by another version", status)
        if total is None:
            return None
        size_bytes = self._end_of(total) - self._start
        if size_bytes < 0 or (size_bytes == 0 and self._start > 0):
            return self._changed(f"has {total} bytes, and byte {self._start} was asked for", status)
        expected = self._get.expect_bytes
        if expected not in (None, size_bytes):
            return self._changed(f"sends {size_bytes} bytes where {expected} were expected", status)
        held_bytes = total if status == 200 else size_bytes
        return self._too_large() if self._get.sink is None and held_bytes > self._get.limit_bytes else None

    def _moved_on(self, answer: Answer, total: int | None) -> bool:
        get = self._get
        if get.generation and answer.generation and get.generation != answer.generation:
            return True
        # A host that does not know If-Match sends its ETag all the same. Lists and `*` are for the host.
        single = get.if_match and _strong(get.if_match) and "," not in get.if_match
        if single and answer.etag and get.if_match != answer.etag:
            return True
        if self._generation and answer.generation:
            return self._generation != answer.generation
        if self._etag and answer.etag:
            return self._etag != answer.etag
        return self._total is not None and total is not None and self._total != total

    def _refused(self, answer: Answer, body: bytes) -> Got | PictofsError | Again:
        status, what = answer.status, described(self._url)
        if status in REDIRECT:
            self._hops += 1
            try:
                if self._once:
                    raise TransferError(f"{what} redirects, where no key may follow")
                if self._hops > REDIRECTS or not answer.location:
                    raise TransferError(f"{what} redirects in a circle")
                self._url = redirected(self._url, answer.location)
            except TransferError as elsewhere:
                elsewhere.status = status
                return self._fail(elsewhere)
            return Again(0.0, "redirected")
        if status == 416:
            if answer.total == 0 and self._start == 0:
                self._total = 0  # an empty object has no first byte to ask for
                return self._finish(answer, 0.0)
            return self._fail(self._changed(f"is shorter than byte {self._next}", status))
        error = refusal(status, error_code(body), what)
        if error is not None:
            return self._fail(error)
        return self._again(Failure(Cause.STATUS, f"the storage host answered {status}"), answer)

    # How it goes on

    def _again(self, failure: Failure, answer: Answer | None = None) -> PictofsError | Again:
        wait_s = self._budget.wait_s(failure.cause, self._clock(), answer.retry_after_s if answer else None)
        if self._once:
            wait_s = None
        if wait_s is None:
            kind = Damaged if failure.cause is Cause.TRUNCATED else TransferError
            many = self._budget.attempts
            tried = f"; given up after {many} attempts" if many > 1 else ""
            text = f"{described(self._url)}: {failure.text}{tried}"
            if answer is None:
                return self._fail(kind(text))
            return self._fail(kind(text, status=answer.status, retry_after_s=answer.retry_after_s))
        self._fresh = failure.cause in (Cause.STALLED, Cause.TIMEOUT)
        if self._next > self._start and not (_strong(self._etag) or self._generation):
            # Nothing would tell whether the rest is of the same version.
            error_of_sink = self._forget()
            if error_of_sink is not None:
                return self._fail(error_of_sink)
        return Again(wait_s, failure.text)

    def _damage(self, error: PictofsError) -> PictofsError | Again:
        if self._damaged or self._once:
            return self._fail(error)
        self._damaged = self._fresh = True
        self._etag = self._generation = ""
        self._promised = "", ""
        self._total = None
        error_of_sink = self._forget()
        return Again(0.0, str(error)) if error_of_sink is None else self._fail(error_of_sink)

    def _finish(self, answer: Answer, first_byte_s: float) -> Got | PictofsError | Again:
        total = self._total or 0
        whole = self._start == 0 and self._next == total
        if answer.transcoded or answer.status == 416:
            agrees = True
        elif whole and answer.crc32c:
            agrees = base64_of(self._crc32c.to_bytes(4, "big")) == answer.crc32c
        else:
            checksum = self._md5 if whole else self._whole if self._at == total else None
            agrees = checksum is None or checksum.agrees()
        if not agrees:
            return self._damage(Damaged(f"{described(self._url)}: wrong checksum", status=answer.status))
        try:
            body = self._sink.finish()
        except _SINK_ERRORS as error:
            return self._fail(self._unwritable(error))
        elapsed_s = self._clock() - (self._began_s if self._began_s is not None else self._attempt_s)
        return Got(
            body=body,
            first=self._start,
            total_bytes=total,
            etag=answer.etag,
            generation=answer.generation,
            md5=answer.md5,
            crc32c_object=answer.crc32c,
            crc32c=self._crc32c,
            last_modified_ns=answer.last_modified_ns,
            whole=whole,
            body_bytes=self._next - self._start,
            attempts=self._budget.attempts,
            first_byte_s=first_byte_s,
            elapsed_s=elapsed_s,
            told=answer.told,
        )

    def _fail(self, error: PictofsError) -> PictofsError:
        if isinstance(error, UrlExpired):
            self._expired = True
            try:
                self._sink.suspend()
                return error
            except _SINK_ERRORS as disk:
                error = self._unwritable(disk)
                self._expired = False
        self._sink.abandon()
        return error

    def _forget(self) -> PictofsError | None:
        """Begin the body anew."""
        self._next = self._start
        self._crc32c = EMPTY_CRC32C
        self._md5 = None
        try:
            self._sink.restart()
        except _SINK_ERRORS as error:
            return self._unwritable(error)
        return None

    def _end_of(self, total: int) -> int:
        return total if self._stop is None else min(self._stop, total)

    def _changed(self, how: str, status: int) -> ObjectChanged:
        return ObjectChanged(f"{described(self._url)} {how}", status=status)

    def _wrong_part(self, what: str) -> Damaged:
        return Damaged(f"{described(self._url)}: the host sent {what}", status=206)

    def _unwritable(self, error: OSError | ValueError) -> TransferError:
        return TransferError(
            f"{described(self._url)}: cannot write what arrived: {getattr(error, 'strerror', None) or error}"
        )

    def _too_large(self) -> TransferError:
        what, limit_bytes = described(self._url), self._get.limit_bytes
        return TransferError(f"{what} sends more than the {limit_bytes} bytes that may be held in memory")


def _strong(etag: str) -> bool:
    """Whether If-Match can be asked with it: a weak one never matches."""
    return bool(etag) and etag.isascii() and etag.isprintable() and not etag.startswith("W/") and etag != "*"
