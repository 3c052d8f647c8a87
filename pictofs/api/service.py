"""The service in its dialect. Which it speaks is found out by one request, and that request is not wasted.

A list of datasets has another shape in each dialect, so `GET /datasets/` tells them apart; its rows are kept
a few seconds as the first page of the listing that usually follows. Whoever asks first finds out, the others
wait for it. A later body of another shape (the service was upgraded) makes the next call find out anew.

One lock, held for assignments only; the thread that finds out holds none.
"""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from pictofs.api.dialect import LETTERS, Dialect, Misshapen, recognise
from pictofs.api.documents import decode
from pictofs.api.paging import Rows
from pictofs.api.refusals import misshapen
from pictofs.api.transport import Answer, Request, Transport
from pictofs.errors import Forbidden, KeyRefused, PictofsError, ServerFault, UsageError

PAGE_ROWS = 1000
FIRST_PAGE_KEPT_S = 10.0
T = TypeVar("T")


class Service:
    """Requests by what is meant, answers without envelopes. Thread-safe; asks nothing before the first call.

    `dialect` is a, b, c, or auto. Everything raises ServiceError as `Transport.fetch` does.
    """

    def __init__(
        self, transport: Transport, *, dialect: str = "auto", clock: Callable[[], float] = time.monotonic
    ) -> None:
        if dialect not in (*LETTERS, "auto"):
            raise UsageError(f"dialect={dialect}: one of auto, {', '.join(LETTERS)}")
        self._transport = transport
        self._forced = dialect != "auto"
        self._clock = clock
        self._lock = threading.Lock()
        self._dialect = Dialect(dialect) if self._forced else None
        self._finding: Future[Dialect] | None = None
        self._first: tuple[float, Rows[Any]] | None = None

    @property
    def known(self) -> Dialect | None:
        """The dialect if it is set or was found out; asks nothing."""
        return self._dialect

    @property
    def dialect(self) -> Dialect:
        """The dialect, found out now if need be."""
        with self._lock:
            if self._dialect is not None:
                return self._dialect
            finding, leads = self._finding, self._finding is None
            if finding is None:
                finding = self._finding = Future()
        if leads:
            self._find_out(finding)
        error = finding.exception()
        if error is not None:
            # A copy each: threads that raise one exception object would mix their tracebacks.
            raise error if leads else copy.copy(error)
        return finding.result()

    def _find_out(self, finding: Future[Dialect]) -> None:
        try:
            found = self._list_datasets(())[0]
        except BaseException as error:
            with self._lock:
                self._finding = None
            finding.set_exception(error)
            if not isinstance(error, PictofsError):
                raise
        else:
            with self._lock:
                self._finding = None
            finding.set_result(found)

    # reading

    def datasets(self, limit: int, offset: int, *, archived: bool = False) -> Rows[Any]:
        """A page of the list of datasets. KeyRefused where the key may not even read that."""
        if offset == 0 and not archived:
            _ = self.dialect  # finding it out may have brought the page
            kept = self._take_first()
            if kept is not None and (len(kept.rows) >= limit or limit >= PAGE_ROWS):
                return kept if limit >= PAGE_ROWS else Rows(kept.rows[:limit], kept.total)
        query = [("limit", str(limit)), ("offset", str(offset))]
        if archived:
            query.append(("archived", "true"))
        return self._list_datasets(tuple(query))[1]

    def look(self) -> None:
        """Ask for the first page and keep it: what tells most cheaply whether the key is good."""
        with self._lock:
            kept = self._first
        if kept is None or self._clock() - kept[0] > FIRST_PAGE_KEPT_S:
            self._list_datasets(())

    def one(
        self, thing: str, names: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """A single thing, out of its envelope."""
        return self.read(thing, names, query, lambda dialect, body: dialect.one(thing, body))

    def page(self, thing: str, names: Mapping[str, str], query: Mapping[str, str]) -> Rows[Any]:
        """A page of a list, out of its envelope."""
        return self.read(thing, names, query, lambda dialect, body: dialect.page(thing, body))

    def read(
        self,
        thing: str,
        names: Mapping[str, str],
        query: Mapping[str, str] | None,
        pick: Callable[[Dialect, Any], T],
    ) -> T:
        """What `pick` takes out of the body; it may raise Misshapen."""
        return self.answer(thing, names, query, lambda dialect, answer: pick(dialect, decode(answer.body)))

    def answer(
        self,
        thing: str,
        names: Mapping[str, str],
        query: Mapping[str, str] | None,
        pick: Callable[[Dialect, Answer], T],
    ) -> T:
        """The same, of the whole answer."""
        dialect = self.dialect
        request = Request("GET", dialect.path(thing, **names), tuple((query or {}).items()))
        return self._send(dialect, request, pick)

    def fetch(self, request: Request, read: Callable[[Answer], T]) -> T:
        """What `read` makes of the answer to a request of no dialect: bytes, the service's URLs."""
        return self._transport.fetch(request, read)

    # writing

    def write(
        self, method: str, thing: str, names: Mapping[str, str], body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Create or change a thing; what the service says of it then. UsageError without such an endpoint."""
        dialect = self.dialect
        request = Request(
            method,
            dialect.path(thing, **names),
            headers={"Idempotency-Key": uuid.uuid4().hex},
            body=json.dumps(body).encode(),
            repeatable=dialect.retries_writes,
        )
        return self._send(dialect, request, lambda spoken, answer: spoken.one(thing, decode(answer.body)))

    def delete(self, thing: str, names: Mapping[str, str]) -> dict[str, Any]:
        """Delete a thing; the service's summary, empty where it sends none."""
        dialect = self.dialect
        request = Request("DELETE", dialect.path(thing, **names), gone_is_done=True)

        def summary(spoken: Dialect, answer: Answer) -> dict[str, Any]:
            told = answer.status < 300 and answer.body.strip()
            body = decode(answer.body) if told else {}
            found = spoken.find_or("deleted", body, body)
            return found if isinstance(found, dict) else {}

        return self._send(dialect, request, summary)

    # within

    def _send(self, dialect: Dialect, request: Request, pick: Callable[[Dialect, Answer], T]) -> T:
        why = ""
        try:
            return self._transport.fetch(request, lambda answer: pick(dialect, answer))
        except Misshapen as error:
            why = str(error)
        self._forget(dialect)
        mend = "; set dialect=auto" if self._forced else ""
        raise misshapen(request.what, f"{why} (dialect {dialect.letter}{mend})")

    def _list_datasets(self, query: tuple[tuple[str, str], ...]) -> tuple[Dialect, Rows[Any]]:
        """A page of datasets in whatever dialect it comes; without a query the first, which is kept."""
        first = not query
        request = Request("GET", "/datasets/", query or (("limit", str(PAGE_ROWS)), ("offset", "0")))
        refused: Forbidden | None = None
        body: Any = None
        try:
            body = self._transport.fetch(request, lambda answer: decode(answer.body))
        except Forbidden as error:
            refused = error
        if refused is not None:
            # Every key may read this list, so a 403 here is a 403 on everything.
            raise KeyRefused(
                str(refused), status=refused.status, code=refused.code, request_id=refused.request_id
            )
        spoken = recognise(body)
        if spoken is None:
            raise misshapen(request.what, "it is no list of datasets; see base_url")
        if self._forced and spoken != self._dialect:
            raise ServerFault(
                f"the service speaks dialect {spoken.letter}: set dialect={spoken.letter} or auto", status=200
            )
        page = spoken.page("datasets", body)
        with self._lock:
            self._dialect = spoken
            if first:
                self._first = (self._clock(), page)
        return spoken, page

    def _take_first(self) -> Rows[Any] | None:
        """The page kept, once, while it is fresh."""
        with self._lock:
            kept, self._first = self._first, None
        return kept[1] if kept is not None and self._clock() - kept[0] <= FIRST_PAGE_KEPT_S else None

    def _forget(self, dialect: Dialect) -> None:
        with self._lock:
            if not self._forced and self._dialect == dialect:
                self._dialect = None
