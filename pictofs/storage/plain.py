"""The client on `requests`, where pycurl cannot be installed: slower by ten times, no less careful.

The only module outside `api` that imports `requests`. Like there, it works on the adapter, below
`requests.Session`: no cookies, no netrc, no redirects, no retries, URLs as they are written.

Workers take transfers off one queue and wait out their retries themselves; `done` is called in one thread,
as the other client does it. libcurl watches all sockets at once; here each worker waits for its own, so that
one which waits for the head of an answer notices a cancel or a stop only when its attempt's patience ends.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import requests
import requests.adapters
import urllib3.exceptions

from pictofs import __version__
from pictofs.errors import PictofsError, TransferError
from pictofs.storage.answer import read_head
from pictofs.storage.bandwidth import Bucket
from pictofs.storage.carrier import Done, Progress, Transfer, stopped
from pictofs.storage.course import Again, Ask, Course
from pictofs.storage.environment import ca_bundle, proxy_for
from pictofs.storage.failures import failure_of
from pictofs.storage.retry import Cause, Failure, Watch
from pictofs.storage.telling import Teller
from pictofs.storage.transfer import Get, Got

CHUNK_BYTES = 64 << 10
ERROR_BODY_BYTES = 4096
PROGRESS_S = 0.25
POOL = 256  # idle connections to one host
STOP_S = 1.0  # how long `stop` waits for workers; they hold nothing and are daemons
_log = logging.getLogger("pictofs.storage")
# Their debug lines show the whole URL, signature and all.
_TALKATIVE = ("urllib3.connectionpool", "urllib3.util.retry")
_WIRE_ERRORS = (OSError, ValueError, urllib3.exceptions.HTTPError)


class Transfers:
    """Signed-URL transfers over requests; arguments as `curl.Transfers`, promises as `carrier.Carrier`."""

    def __init__(
        self,
        *,
        connections: int = 64,
        timeout_s: float = 20.0,
        ca_file: str | None = None,
        proxy: str | None = None,
        bandwidth_bytes_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.requests = 0
        self.bytes_received = 0
        self._connections = max(1, connections)
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._proxy = proxy
        self._clock = clock
        self._draw = draw
        self._bucket = Bucket(bandwidth_bytes_s, clock) if bandwidth_bytes_s else None
        self._teller = Teller()
        self._adapter: requests.adapters.HTTPAdapter | None = None
        self._ca = ""
        # Guards everything below, and the two counters. A leaf: never held across a call out.
        self._changed = threading.Condition()
        self._closed = False
        self._started = False
        self._queue: deque[Transfer] = deque()
        self._underway: dict[Transfer, Any] = {}  # and the body that is being read, if it has got so far
        self._workers: set[threading.Thread] = set()
        self._idle = 0
        self._stopping = threading.Event()
        self._outcomes: queue.SimpleQueue[tuple[Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._tell_all, name="pictofs-transfers", daemon=True)
        self._filter = _WithoutQueries()

    def __repr__(self) -> str:
        return f"Transfers(connections={self._connections})"

    @property
    def active(self) -> int:
        """Transfers that have a connection now."""
        return len(self._underway)

    @property
    def waiting(self) -> int:
        """Transfers that wait for a connection."""
        return len(self._queue)

    def start(self) -> None:
        """Begin the threads; once."""
        with self._changed:
            if self._started or self._closed:
                raise RuntimeError("transfers are started once")
            self._started = True
        self._ca = ca_bundle(self._ca_file)
        self._adapter = requests.adapters.HTTPAdapter(pool_connections=32, pool_maxsize=POOL, max_retries=0)
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(self._filter)
        self._thread.start()
        self._hire()

    def stop(self) -> None:
        """End every transfer in TransferError, and the threads. Does not wait for them within `done`."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._stopping.set()
            left = [*self._underway, *self._queue]
            bodies = list(self._underway.values())
            idle = list(self._queue)
            self._queue.clear()
            workers = list(self._workers)
            self._changed.notify_all()
        for transfer in left:
            self._settle(transfer, stopped(transfer))
        for transfer in idle:
            transfer.course.abandon()  # those under way are their workers' to abandon
        for body in bodies:
            _interrupt(body)
        self._outcomes.put(None)
        if not self._started:
            self._tell_all()
            return
        here = threading.current_thread()
        if here is not self._thread:
            self._thread.join()
        deadline_s = time.monotonic() + STOP_S
        for worker in workers:
            if worker is not here:
                worker.join(max(0.0, deadline_s - time.monotonic()))
        for name in _TALKATIVE:
            logging.getLogger(name).removeFilter(self._filter)
        if self._adapter is not None:
            self._adapter.close()

    def submit(self, get: Get, done: Done, progress: Progress | None = None) -> Transfer:
        """See Carrier."""
        course = Course(get, timeout_s=self._timeout_s, clock=self._clock, draw=self._draw)
        return self._enter(Transfer(get, course, done, progress))

    def resume(self, transfer: Transfer, url: str) -> Transfer:
        """See Carrier."""
        transfer.course.renew(url)
        transfer.renew_claim()
        return self._enter(transfer)

    def cancel(self, transfer: Transfer) -> bool:
        """See Carrier."""
        if not transfer.take_claim():
            transfer.course.forgo()
            return False
        with self._changed:
            body = self._underway.get(transfer)
            waiting = transfer in self._queue
            if waiting:
                self._queue.remove(transfer)
        if waiting:
            transfer.course.abandon()
        elif body is not None:
            _interrupt(body)
        return True

    def spend(self, size_bytes: int) -> None:
        """See Carrier."""
        if self._bucket is not None:
            self._bucket.spend(size_bytes)

    def set_connections(self, connections: int) -> None:
        """See Carrier."""
        with self._changed:
            self._connections = max(1, connections)
            self._changed.notify_all()
        self._hire()

    def _enter(self, transfer: Transfer) -> Transfer:
        with self._changed:
            closed = self._closed
            if not closed:
                self._queue.append(transfer)
                self._changed.notify()
        if closed:
            transfer.take_claim()
            transfer.course.abandon()
            raise TransferError("transfers were stopped")
        self._hire()
        return transfer

    def _hire(self) -> None:
        """Workers for what waits, as far as the ceiling allows."""
        with self._changed:
            if not self._started or self._closed:
                return
            wanted = min(len(self._queue) - self._idle, self._connections - len(self._workers))
            new = [
                threading.Thread(target=self._work, name="pictofs-transfer-worker", daemon=True)
                for _ in range(wanted)
            ]
            self._workers.update(new)
        for worker in new:
            worker.start()

    # The telling thread

    def _tell_all(self) -> None:
        while (call := self._outcomes.get()) is not None:
            call[0]()

    def _settle(self, transfer: Transfer, outcome: Got | PictofsError) -> None:
        self._outcomes.put((lambda: self._last_word(transfer, outcome),))

    def _last_word(self, transfer: Transfer, outcome: Got | PictofsError) -> None:
        if transfer.take_claim():
            if transfer.progress is not None and isinstance(outcome, Got):
                self._teller.tell(transfer.progress, outcome.body_bytes)
            self._teller.tell(transfer.done, outcome)
        elif isinstance(outcome, PictofsError):
            transfer.course.forgo()

    def _progress(self, transfer: Transfer, received_bytes: int) -> None:
        progress = transfer.progress
        if progress is not None and not transfer.over:
            self._outcomes.put((lambda: self._teller.tell(progress, received_bytes),))

    # A worker

    def _work(self) -> None:
        while (transfer := self._next()) is not None:
            try:
                outcome = self._carry(transfer)
            except Exception:  # noqa: BLE001 -- whatever it is, the transfer must still get its last word
                _log.exception("a transfer ends: an error of our own")
                outcome = TransferError("a transfer ended in an error of our own; the log holds it")
                transfer.course.abandon()
            with self._changed:
                del self._underway[transfer]
            if outcome is None:
                transfer.course.abandon()
            else:
                self._settle(transfer, outcome)

    def _next(self) -> Transfer | None:
        with self._changed:
            self._idle += 1
            try:
                while not self._queue and not self._closed and len(self._workers) <= self._connections:
                    self._changed.wait()
                if self._closed or len(self._workers) > self._connections:
                    self._workers.discard(threading.current_thread())
                    return None
                transfer = self._queue.popleft()
                self._underway[transfer] = None
                return transfer
            finally:
                self._idle -= 1

    def _carry(self, transfer: Transfer) -> Got | PictofsError | None:
        """All attempts; None: nobody waits any more."""
        while not (self._stopping.is_set() or transfer.over):
            try:
                proxy = proxy_for(transfer.course.host, self._proxy)
            except TransferError as error:
                transfer.course.abandon()
                return error
            outcome = self._attempt(transfer, proxy)
            if not isinstance(outcome, Again):
                return outcome
            _log.debug("%r: %s; again in %.2f s", transfer.get, outcome.why, outcome.after_s)
            self._stopping.wait(outcome.after_s)
        return None

    def _attempt(self, transfer: Transfer, proxy: str) -> Got | PictofsError | Again | None:
        course = transfer.course
        ask, watch = course.ask(), course.watch()
        with self._changed:
            self.requests += 1
        began_s = self._clock()
        try:
            response = self._send(ask, proxy, watch.silence_s, transfer.get.headers or {})
        except _WIRE_ERRORS as error:
            broken = failure_of(error, watch)
            if proxy and broken.cause is Cause.CONNECTION:
                broken = Failure(broken.cause, f"{broken.text}, through the proxy")
            return course.end(broken)
        waited_s = self._clock() - began_s
        with self._changed:
            self._underway[transfer] = response.raw
        try:
            refusal, failure = self._read(transfer, response, watch)
        finally:
            response.close()  # gives the connection back when the body was read to its end
        if self._stopping.is_set() or transfer.over:
            return None
        return course.end(failure, refusal, waited_s)

    def _send(
        self, ask: Ask, proxy: str, silence_s: float, own: Mapping[str, str]
    ) -> requests.Response:
        assert self._adapter is not None
        headers = {"User-Agent": f"pictofs/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        if ask.span is not None:
            headers["Range"] = f"bytes={ask.span}"
        if ask.if_match is not None:
            headers["If-Match"] = ask.if_match
        headers.update(own)
        prepared = requests.Request("GET", ask.url, headers=headers).prepare()
        prepared.url = ask.url  # requests would write it anew, and a signature covers it as it is
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        # 0 would mean for ever, or at once.
        return self._adapter.send(
            prepared, stream=True, timeout=max(0.001, silence_s), verify=self._ca, proxies=proxies
        )

    def _read(
        self, transfer: Transfer, response: requests.Response, watch: Watch
    ) -> tuple[bytes, Failure | None]:
        """The body, to where it belongs; what of it belongs to a refusal, and what went wrong."""
        course, raw = transfer.course, response.raw
        head = ((name.lower(), value) for name, value in raw.headers.items())
        wanted = course.begin(read_head(response.status_code, head))
        read = getattr(raw, "read1", None) or raw.read  # urllib3 before 2.2 has no read1
        refusal = b""
        received = 0
        told_s = self._clock()
        while True:
            try:
                data = read(CHUNK_BYTES, decode_content=False)
            except _WIRE_ERRORS as error:
                return refusal, failure_of(error, watch)
            if not data:
                return refusal, None
            received += len(data)
            with self._changed:
                self.bytes_received += len(data)
            if not wanted:
                refusal += data
                if len(refusal) >= ERROR_BODY_BYTES or response.status_code in (200, 206):
                    return refusal[:ERROR_BODY_BYTES], None
                continue
            if not course.take(data) or self._stopping.is_set() or transfer.over:
                return refusal, None
            now_s = self._clock()
            if now_s - told_s >= PROGRESS_S:
                told_s = now_s
                self._progress(transfer, course.received_bytes)
            slow = watch.look(now_s, received)
            if slow is not None:
                return refusal, Failure(slow, "it came too slowly")
            if self._bucket is not None:
                self._bucket.spend(len(data))
                while (debt_s := self._bucket.debt_s()) > 0 and not self._stopping.wait(debt_s):
                    watch.forgive(self._clock(), received)


class _WithoutQueries(logging.Filter):
    """Cuts the query off every URL in a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
        return True


def _interrupt(body: Any) -> None:
    """End the read that another thread is in; urllib3 before 2.3 cannot, and the read ends by itself."""
    try:
        body.shutdown()
    except (AttributeError, OSError, RuntimeError, ValueError):
        pass  # read to its end a moment ago
