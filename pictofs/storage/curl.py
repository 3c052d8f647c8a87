"""The client on libcurl: one thread, one multi handle, many connections.

    submit ─▶ _news ─▶ _queue ─▶ an Easy of the pool ─▶ the multi handle ─▶ Easy.finish ─▶ done
                          ▲                                                    │
                          └──────────── _later, by time ◀───────────── Again ──┘

The thread waits for sockets by itself and tells libcurl which are ready, so that a wake-up costs nothing for
the connections that are still (`socket_action`; 0.14 ms CPU a GET at 64 connections and 30 ms latency). The
wheels' own `multi.select` is select(2) and ends at descriptor 1024.

HTTP/2 where TLS offers it: STREAMS transfers share a connection. One connection for all would wait for every
lost packet with all of them; one each costs a handshake each. CPU is the same (measured against nginx). The
first burst to a host finds that out and makes a connection each.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pycurl
from pycurl import M_MAX_CONCURRENT_STREAMS  # 7.45.4; an older one is an ImportError, as none is

from pictofs.errors import PictofsError, TransferError
from pictofs.storage.bandwidth import Bucket
from pictofs.storage.carrier import Done, Progress, Transfer, stopped
from pictofs.storage.course import Again, Course
from pictofs.storage.easy import Easy
from pictofs.storage.environment import ca_bundle, proxy_for
from pictofs.storage.readiness import Readiness
from pictofs.storage.retry import Cause
from pictofs.storage.telling import Teller
from pictofs.storage.transfer import Get, Got

STREAMS = 8
SWEEP_S = 0.25  # how often progress is looked at
IDLE_S = 60.0
_log = logging.getLogger("pictofs.storage")


class Transfers:
    """Signed-URL transfers over libcurl; see `carrier.Carrier` for what it promises.

    `connections` bounds the transfers that run at once; `timeout_s` without a byte ends an attempt and twice
    that a transfer; `bandwidth_bytes_s` bounds all of them together. `ca_file` and `proxy`: None is the
    environment's. `draw` gives the jitter of retries, [0, 1). Nothing is opened before `start`, which comes
    after any fork.
    """

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
        self._sweep_s = min(SWEEP_S, timeout_s / 8)
        self._lock = threading.Lock()  # guards `_closed` and `_news` against each other; a leaf
        self._closed = False
        self._news: deque[Transfer] = deque()
        self._cancelled: deque[Transfer] = deque()
        self._thread: threading.Thread | None = None
        self._ready: Readiness | None = None
        # From here on: the transfer thread's own.
        self._stopping = False
        self._queue: deque[Transfer] = deque()
        self._later: list[tuple[float, int, Transfer]] = []
        self._order = 0
        self._running: dict[Transfer, Easy] = {}
        self._easies: dict[Any, Easy] = {}  # by libcurl handle, all of them
        self._pool: list[Easy] = []
        self._paused: deque[Easy] = deque()
        self._proxies: dict[str, str] = {}  # by origin
        self._http2: set[str] = set()  # origins that speak it
        self._ca = ""
        self._multi: Any = None
        self._timer_s: float | None = None  # when libcurl wants to be called
        self._looked_s = 0.0
        self._cached = 0  # M_MAXCONNECTS as it is set

    def __repr__(self) -> str:
        return f"Transfers(connections={self._connections})"

    @property
    def active(self) -> int:
        """Transfers that have a connection now."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Transfers that wait for a connection or for their next attempt."""
        return len(self._news) + len(self._queue) + len(self._later)

    def start(self) -> None:
        """Begin the thread; once."""
        with self._lock:
            if self._thread is not None or self._closed:
                raise RuntimeError("transfers are started once")
            self._ready = Readiness()
            self._thread = threading.Thread(target=self._run, name="pictofs-transfers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every transfer in TransferError, and the thread. Within `done` it does not wait for the end."""
        self._stopping = True
        if self._thread is None:
            self._end_all()
        else:
            self._wake()
            if threading.current_thread() is not self._thread:
                self._thread.join()

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
        self._cancelled.append(transfer)
        self._wake()
        return True

    def set_connections(self, connections: int) -> None:
        """See Carrier."""
        self._connections = max(1, connections)
        self._wake()

    def spend(self, size_bytes: int) -> None:
        """See Carrier."""
        if self._bucket is not None:
            self._bucket.spend(size_bytes)

    def _enter(self, transfer: Transfer) -> Transfer:
        with self._lock:
            closed = self._closed
            if not closed:
                self._news.append(transfer)
        if closed:
            transfer.take_claim()
            transfer.course.abandon()
            raise TransferError("transfers were stopped")
        self._wake()
        return transfer

    def _wake(self) -> None:
        if self._ready is not None and threading.current_thread() is not self._thread:
            self._ready.wake()

    # The thread

    def _run(self) -> None:
        try:
            self._ca = ca_bundle(self._ca_file)
            self._multi = multi = pycurl.CurlMulti()
            assert self._ready is not None
            multi.setopt(pycurl.M_SOCKETFUNCTION, self._ready.watch)
            multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
            multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
            multi.setopt(M_MAX_CONCURRENT_STREAMS, STREAMS)
            while not self._stopping:
                self._turn()
        except Exception:  # noqa: BLE001 -- whatever it is, every transfer must still get its last word
            _log.exception("the transfer thread ends: an error of our own")
        finally:
            self._end_all()
            for easy in self._easies.values():
                easy.close()
            self._easies.clear()
            self._pool.clear()
            if self._multi is not None:
                self._multi.close()
            if self._ready is not None:
                self._ready.close()

    def _turn(self) -> None:
        ready, multi = self._ready, self._multi
        assert ready is not None
        self._hear()
        self._begin_what_can()
        for descriptor, bits in ready.wait(self._wait_s()):
            try:
                multi.socket_action(descriptor, bits)
            except pycurl.error as error:
                if error.args[0] != pycurl.E_MULTI_BAD_SOCKET:  # closed by an action before it in this turn
                    raise
        now_s = time.monotonic()
        if self._timer_s is not None and self._timer_s <= now_s:
            self._timer_s = None
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()
        if self._paused:
            self._unpause()
        if self._running and now_s - self._looked_s >= self._sweep_s:
            self._looked_s = now_s
            self._sweep()

    def _on_timer(self, timeout_ms: int) -> None:
        self._timer_s = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000

    def _wait_s(self) -> float:
        if self._news or self._cancelled or self._stopping:
            return 0.0
        now_s = time.monotonic()
        wait_s = IDLE_S
        if self._timer_s is not None:
            wait_s = min(wait_s, self._timer_s - now_s)
        if self._later:
            wait_s = min(wait_s, self._later[0][0] - now_s)
        if self._running:
            wait_s = min(wait_s, self._looked_s + self._sweep_s - now_s)
        if self._paused and self._bucket is not None:
            wait_s = min(wait_s, self._bucket.debt_s())
        return max(0.0, wait_s)

    def _hear(self) -> None:
        """What other threads have left: cancelled and submitted transfers."""
        while self._cancelled:
            transfer = self._cancelled.popleft()
            easy = self._running.pop(transfer, None)
            if easy is not None:
                self._multi.remove_handle(easy.curl)
                self._return(easy)
            transfer.course.abandon()
        while self._news:
            self._queue.append(self._news.popleft())
        if self._later:
            now_s = time.monotonic()
            while self._later and self._later[0][0] <= now_s:
                self._queue.appendleft(heapq.heappop(self._later)[2])

    def _begin_what_can(self) -> None:
        queue, running = self._queue, self._running
        cached = self._connections + STREAMS
        if cached != self._cached:
            self._cached = cached
            self._multi.setopt(pycurl.M_MAXCONNECTS, cached)
        if queue and not running:
            self._looked_s = time.monotonic()
        while queue and len(running) < self._connections and not self._stopping:
            transfer = queue.popleft()
            if not transfer.over:
                self._begin(transfer)

    def _begin(self, transfer: Transfer) -> None:
        course = transfer.course
        easy = None
        try:
            host = course.host
            proxy = self._proxy_to(host)
            easy = self._pool.pop() if self._pool else self._new()
            easy.prepare(transfer, course.ask(), host, proxy, host in self._http2)
        except TransferError as error:
            if easy is not None:
                self._return(easy)
            course.abandon()
            self._settle(transfer, error)
            return
        self._running[transfer] = easy
        self.requests += 1
        self._multi.add_handle(easy.curl)

    def _proxy_to(self, host: str) -> str:
        proxy = self._proxies.get(host)
        if proxy is None:
            proxy = self._proxies[host] = proxy_for(host, self._proxy)
        return proxy

    def _new(self) -> Easy:
        easy = Easy(self._ca, self._bucket, self._paused.append)
        self._easies[easy.curl] = easy
        return easy

    def _return(self, easy: Easy) -> None:
        easy.release()
        if len(self._pool) + len(self._running) < self._connections:
            self._pool.append(easy)
        else:
            del self._easies[easy.curl]
            easy.close()

    def _collect(self) -> None:
        left = 1
        while left:
            left, whole, failed = self._multi.info_read(64)
            for curl in whole:
                self._ended(self._easies[curl], 0, "")
            for curl, code, text in failed:
                self._ended(self._easies[curl], code, text)

    def _ended(self, easy: Easy, code: int, text: str) -> None:
        self._multi.remove_handle(easy.curl)
        self.bytes_received += easy.counted_bytes()
        if code == 0 and easy.host.startswith("https"):
            # Told by every answer: a load balancer may change its mind.
            (self._http2.add if easy.spoke_http2 else self._http2.discard)(easy.host)
        self._outcome(easy, easy.finish(code, text))

    def _outcome(self, easy: Easy, outcome: Got | PictofsError | Again) -> None:
        transfer = easy.transfer
        assert transfer is not None
        del self._running[transfer]
        self._return(easy)
        if not isinstance(outcome, Again):
            self._settle(transfer, outcome)
            return
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%r: %s; again in %.2f s", transfer.get, outcome.why, outcome.after_s)
        if outcome.after_s <= 0:
            self._queue.appendleft(transfer)
        else:
            self._order += 1
            heapq.heappush(self._later, (time.monotonic() + outcome.after_s, self._order, transfer))

    def _settle(self, transfer: Transfer, outcome: Got | PictofsError) -> None:
        if not transfer.take_claim():
            transfer.course.abandon()  # cancelled a moment ago
            return
        if transfer.progress is not None and isinstance(outcome, Got):
            self._teller.tell(transfer.progress, outcome.body_bytes)
        self._teller.tell(transfer.done, outcome)

    def _sweep(self) -> None:
        """Count what came, tell progress, and give up what has gone silent."""
        now_s = self._clock()
        slow: list[tuple[Easy, Cause]] = []
        for transfer, easy in list(self._running.items()):
            fresh = easy.counted_bytes()
            self.bytes_received += fresh
            if fresh and transfer.progress is not None and not transfer.over:
                self._teller.tell(transfer.progress, easy.body_bytes())
            assert easy.watch is not None
            if easy.paused:
                easy.watch.forgive(now_s, easy.silent_bytes())
                continue
            cause = easy.watch.look(now_s, easy.silent_bytes())
            if cause is not None:
                slow.append((easy, cause))
        for easy, cause in slow:
            self._multi.remove_handle(easy.curl)
            self._outcome(easy, easy.give_up(cause))

    def _unpause(self) -> None:
        assert self._bucket is not None
        while self._paused and self._bucket.debt_s() <= 0:
            easy = self._paused.popleft()
            if easy.paused and easy.watch is not None:
                easy.paused = False
                easy.watch.forgive(self._clock(), easy.silent_bytes())
                easy.curl.pause(pycurl.PAUSE_CONT)

    def _end_all(self) -> None:
        """The last word for every transfer that has not had one; none comes after."""
        with self._lock:
            self._closed = True
            self._queue.extend(self._news)
            self._news.clear()
        for easy in self._running.values():
            try:
                self._multi.remove_handle(easy.curl)
            except pycurl.error:
                pass  # the multi handle itself may be why we end
        left = [*self._running, *self._queue, *(transfer for _, _, transfer in self._later)]
        self._running.clear()
        self._queue.clear()
        self._later.clear()
        for transfer in left:
            transfer.course.abandon()
            self._settle(transfer, stopped(transfer))
        while self._cancelled:
            self._cancelled.popleft().course.abandon()
