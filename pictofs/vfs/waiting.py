"""What operations wait for: requests over the link, each sent once however many operations want it.

    an operation raises Need ──▶ wait() ──▶ send (or join one that is under way)
        Done, Told  ──▶ the operation runs again, the need marked as answered
        Moved       ──▶ its patience starts anew; a lookup runs again, for the name may have appeared
        Failed      ──▶ its errno
        no progress for `timeout_s` ──▶ EIO, or the older answer where there is one
        interrupt   ──▶ EINTR, and Cancel when nobody else waits

The link may break at any time. What is wanted stays wanted, with its patience running, and is sent again by
`relink`. A question to the fetching process itself (Ask) is answered empty then: it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from pictofs.link import LinkLost
from pictofs.link.messages import Ask, Cancel, Done, Failed, Look, Moved, Read, Reply, Request, Told, Want
from pictofs.tree.need import Key, Need, key_of
from pictofs.vfs.errnos import NO_PROGRESS, positive

# A control file is rendered without the fetching process' part when that does not answer in time.
ASK_PATIENCE_S = 2.0
# Reads of present blocks are told in batches: a message costs the serving loop 5 µs, one of a batch 1.
HINTS = 64
HINT_DELAY_S = 0.01

_log = logging.getLogger(__name__)


class Link(Protocol):
    """What of `link.Client` is used here."""

    @property
    def wants_write(self) -> bool:
        """Is something kept for `flush`?"""

    def fileno(self) -> int:
        """What to poll for reading."""

    def next_id(self) -> int:
        """A request id not used yet."""

    def send(self, message: Request) -> None:
        """Sends or keeps; LinkLost."""

    def send_all(self, messages: Sequence[Request]) -> None:
        """Sends or keeps all of them, in one go; LinkLost."""

    def flush(self) -> None:
        """Sends what was kept; LinkLost."""

    def receive(self) -> list[Reply]:
        """What has arrived; LinkLost after the last."""

    def close(self) -> None:
        """Closes the connection."""


class Waiter(Protocol):
    """An operation, as seen from here."""

    started_s: float
    waiting_since_s: float
    known: bool       # the older answer will do when it takes too long
    resolves: bool    # a lookup: worth another try with each page

    def resume(self, key: Key, answer: dict[str, Any] | None) -> None:
        """`key` is answered: run again."""

    def retry(self) -> None:
        """Something moved: run again, nothing being answered yet."""

    def end(self, errno: int) -> None:
        """It cannot be had."""


class Watcher(Protocol):
    """Who remembers how looks went: `tree.freshness.Freshness`."""

    def answered(self, look: int) -> None:
        """Done."""

    def moved(self, look: int) -> None:
        """A page came."""

    def late(self, look: int) -> None:
        """Waited for in vain, and still under way."""

    def ended(self, look: int) -> None:
        """No longer under way."""


class _Pending:
    """A request under way. `id` 0: not sent, the link is down."""

    __slots__ = ("id", "key", "progress_s", "request", "waiters")

    def __init__(self, key: Key, request: Look | Want | Ask) -> None:
        self.key = key
        self.request = request
        self.id = 0
        self.progress_s = 0.0
        self.waiters: dict[Waiter, None] = {}   # a set that keeps its order


class Waits:
    """All requests under way, and who waits for them."""

    def __init__(
        self, link: Link | None, watcher: Watcher, timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self.link = link
        self._watcher = watcher
        self._timeout_s = timeout_s
        self._clock = clock
        self._by_key: dict[Key, _Pending] = {}
        self._by_id: dict[int, _Pending] = {}
        self._due_s = float("inf")
        self._hints: list[Read] = []
        self.on_lost: Callable[[], None] | None = None
        self.sent = 0
        self.shared = 0
        self.timed_out = 0
        self.hints_dropped = 0

    # what operations call

    def wait(self, waiter: Waiter, need: Need) -> None:
        """`waiter` waits for `need` until resume, retry or end; may call one of them before it returns."""
        key = key_of(need.request)
        waiter.known = need.known
        waiter.waiting_since_s = self._clock()
        if isinstance(need.request, Ask) and self.link is None:
            waiter.resume(key, None)
            return
        pending = self._by_key.get(key)
        if pending is None:
            pending = self._by_key[key] = _Pending(key, need.request)
            pending.waiters[waiter] = None
            self._send(pending)
        else:
            self.shared += 1
            pending.waiters[waiter] = None
        self._due_s = min(self._due_s, self._due_of(pending, waiter))

    def leave(self, waiter: Waiter, key: Key, *, satisfied: bool = False, late: bool = False) -> None:
        """`waiter` waits no longer; what nobody else wants is cancelled, unless `satisfied`.

        A lookup that was satisfied by the first page of a listing does not end the listing.
        """
        pending = self._by_key.get(key)
        if pending is None or waiter not in pending.waiters:
            return
        del pending.waiters[waiter]
        if not pending.waiters and not satisfied:
            self._drop(pending)
            if pending.id:
                self._tell(Cancel(pending.id, late))

    def hint(self, node: int, offset: int, size_bytes: int, pid: int, end: bool = False) -> None:
        """Somebody read here from what was present: for the access pattern, and lost without harm."""
        if not self._hints:
            self._due_s = min(self._due_s, self._clock() + HINT_DELAY_S)
        self._hints.append(Read(node, offset, size_bytes, pid, end))
        if len(self._hints) >= HINTS:
            self._flush_hints()

    # what the driver's loop calls

    def tick(self) -> float | None:
        """Ends what has waited too long; seconds until there may be more to end, None: nothing waits."""
        now_s = self._clock()
        if self.link is not None and self.link.wants_write:
            self._flush()
        if now_s >= self._due_s:
            if self._hints:
                self._flush_hints()
            for pending in list(self._by_key.values()):
                for waiter in [w for w in pending.waiters if now_s >= self._due_of(pending, w)]:
                    self._too_long(pending, waiter)
            self._due_s = min(
                (self._due_of(p, w) for p in self._by_key.values() for w in p.waiters), default=float("inf")
            )
        if self.link is not None and self.link.wants_write:
            return 0.01
        return None if self._due_s == float("inf") else max(0.0, self._due_s - self._clock())

    def receive(self) -> list[Reply]:
        """What has come, the link being given up when it has ended."""
        if self.link is None:
            return []
        try:
            return self.link.receive()
        except LinkLost as error:
            self._lost(error)
            return []

    def wanted(self, id: int) -> bool:
        """Was that request for bytes? Its answer changes nothing of what exists."""
        pending = self._by_id.get(id)
        return pending is not None and isinstance(pending.request, Want)

    def handle(self, message: Done | Failed | Moved | Told) -> None:
        """The answer to a request, or its progress."""
        pending = self._by_id.get(message.id)
        if pending is None:
            return      # cancelled or given up meanwhile
        look = pending.request.node if isinstance(pending.request, Look) else None
        if isinstance(message, Moved):
            pending.progress_s = self._clock()
            if look is not None:
                self._watcher.moved(look)
                for waiter in [w for w in pending.waiters if w.resolves]:
                    waiter.retry()
            return
        self._drop(pending)
        if isinstance(message, Failed):
            if isinstance(pending.request, Ask):
                self._resume_all(pending, None)
                return
            for waiter in list(pending.waiters):
                waiter.end(positive(message.errno))
            return
        if look is not None:
            self._watcher.answered(look)
        self._resume_all(pending, message.answer if isinstance(message, Told) else None)

    def relink(self, link: Link) -> None:
        """Over a new connection everything that somebody waits for is asked again."""
        if self.link is not None:
            self.link.close()
        self.link = link
        self._by_id.clear()
        for pending in list(self._by_key.values()):
            pending.id = 0
            if pending.waiters:
                self._send(pending)
            else:
                self._drop(pending)

    def close(self, errno: int) -> None:
        """Ends every wait."""
        for pending in list(self._by_key.values()):
            self._drop(pending)
            for waiter in list(pending.waiters):
                waiter.end(errno)

    def underway(self, limit: int) -> list[dict[str, Any]]:
        """The first requests under way: what, for how many, and since when the longest of them waits."""
        now_s = self._clock()
        return [
            {
                "request": str(pending.request),
                "sent": bool(pending.id),
                "waiters": len(pending.waiters),
                "seconds": round(now_s - min((w.started_s for w in pending.waiters), default=now_s), 1),
            }
            for pending in list(self._by_key.values())[:limit]
        ]

    def __len__(self) -> int:
        return sum(len(pending.waiters) for pending in self._by_key.values())

    # within

    def _resume_all(self, pending: _Pending, answer: dict[str, Any] | None) -> None:
        for waiter in list(pending.waiters):
            waiter.resume(pending.key, answer)

    def _due_of(self, pending: _Pending, waiter: Waiter) -> float:
        if isinstance(pending.request, Ask):
            return waiter.waiting_since_s + ASK_PATIENCE_S
        due_s = max(pending.progress_s, waiter.waiting_since_s) + self._timeout_s
        return min(due_s, waiter.started_s + self._timeout_s) if waiter.known else due_s

    def _too_long(self, pending: _Pending, waiter: Waiter) -> None:
        if isinstance(pending.request, Ask):
            self.leave(waiter, pending.key)
            waiter.resume(pending.key, None)
        elif waiter.known and isinstance(pending.request, Look):
            # it goes on without us, and those who come next do not wait for it again
            pending.waiters.pop(waiter, None)
            self._watcher.late(pending.request.node)
            waiter.resume(pending.key, None)
        else:
            self.timed_out += 1
            _log.warning("no progress in %g s on %s: EIO", self._timeout_s, pending.key)
            self.leave(waiter, pending.key, late=True)
            waiter.end(NO_PROGRESS)

    def _send(self, pending: _Pending) -> None:
        if self.link is None:
            return
        pending.id = self.link.next_id()
        pending.progress_s = self._clock()
        self._by_id[pending.id] = pending
        self.sent += 1
        if self._hints and not isinstance(pending.request, Ask):
            self._flush_hints()  # in order: who reads ahead of what was told of it looks like one who jumps
        self._tell(msgspec.structs.replace(pending.request, id=pending.id))

    def _tell(self, message: Request) -> None:
        if self.link is None:
            return
        try:
            self.link.send(message)
        except LinkLost:
            # what arrived before the end is still to be received: `deliver` finds the end
            _log.debug("the link broke while sending")

    def _flush(self) -> None:
        try:
            if self.link is not None:
                self.link.flush()
        except LinkLost:
            _log.debug("the link broke while sending")

    def _flush_hints(self) -> None:
        hints, self._hints = self._hints, []
        if self.link is None or self.link.wants_write:
            self.hints_dropped += len(hints)
            return
        try:
            self.link.send_all(hints)
        except LinkLost:
            _log.debug("the link broke while sending")

    def _drop(self, pending: _Pending) -> None:
        self._by_key.pop(pending.key, None)
        self._by_id.pop(pending.id, None)
        if isinstance(pending.request, Look):
            self._watcher.ended(pending.request.node)

    def _lost(self, error: LinkLost) -> None:
        _log.warning("%s; what is here is served, the rest waits", error)
        if self.link is not None:
            self.link.close()
        self.link = None
        self._by_id.clear()
        for pending in list(self._by_key.values()):
            pending.id = 0
            if isinstance(pending.request, Ask):
                self._drop(pending)
                self._resume_all(pending, None)
        if self.on_lost is not None:
            self.on_lost()
