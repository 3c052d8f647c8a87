"""What both clients promise, and the handle of a transfer under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from pictofs.errors import PictofsError, TransferError
from pictofs.storage.address import described
from pictofs.storage.course import Course
from pictofs.storage.transfer import Get, Got

Done: TypeAlias = Callable[["Got | PictofsError"], None]
Progress: TypeAlias = Callable[[int], None]


class Transfer:
    """A transfer under way, to cancel or to resume; says nothing of its state by itself.

    Whoever takes the claim may speak the last word: the client by `done`, or `cancel` by silence.
    """

    __slots__ = ("_claim", "course", "done", "get", "progress")

    def __init__(self, get: Get, course: Course, done: Done, progress: Progress | None) -> None:
        self.get = get
        self.course = course
        self.done = done
        self.progress = progress
        self._claim = [True]

    def __repr__(self) -> str:
        return f"Transfer({self.get!r})"

    @property
    def over(self) -> bool:
        """The last word was spoken."""
        return not self._claim

    def take_claim(self) -> bool:
        """Whether the caller speaks the last word; True once. list.pop is one step of the interpreter."""
        try:
            return self._claim.pop()
        except IndexError:
            return False

    def renew_claim(self) -> None:
        """There will be a last word again: the transfer is resumed."""
        self._claim.append(True)


def stopped(transfer: Transfer) -> TransferError:
    """The last word for a transfer that `stop` ended."""
    return TransferError(f"{described(transfer.get.url)}: transfers were stopped")


class Carrier(Protocol):
    """What both clients are. Every method may be called from any thread, also from within `done`.

    `done` is called in one thread of the client, which all transfers wait for, never twice at once: exactly
    once for each `submit` or `resume`, unless `cancel` came first. Its argument is a Got, or
    TransferError   no luck within the budget of retries; a refusal that none of the following means
    UrlExpired      400, 401, 403: the object is still wanted, the URL is no longer good
    ObjectGone      404, 410
    ObjectChanged   412, another ETag, generation or length than was asked for or than it had a byte ago
    Damaged         wrong checksum or length, and wrong again when fetched anew
    What `done` or `progress` raises is logged, the first with its traceback, and goes no further.
    """

    requests: int  # sent to storage hosts so far, retries included
    bytes_received: int  # of bodies, thrown away ones included

    def start(self) -> None:
        """Begin the client's thread; transfers submitted earlier begin now."""

    def stop(self) -> None:
        """End the thread; every transfer that is not over ends in TransferError first."""

    def submit(self, get: Get, done: Done, progress: Progress | None = None) -> Transfer:
        """Begin `get` as soon as a connection is free, in the order of submission.

        `progress` is told how many bytes of the body have come, a few times a second while some do; a
        restart takes the number back. Raises TransferError after `stop`.
        """

    def resume(self, transfer: Transfer, url: str) -> Transfer:
        """Go on at the same byte with a fresh URL after UrlExpired; `done` will be called again.

        A sink's `.part` waits for this (or `cancel`) only after UrlExpired. Raises TransferError after
        `stop` and ValueError for a transfer that ended in anything else.
        """

    def cancel(self, transfer: Transfer) -> bool:
        """End it without a word. True: `done` will not be called. False: it was, or is being called."""

    def set_connections(self, connections: int) -> None:
        """Change how many transfers may run at once; those beyond a lower ceiling end by themselves."""

    def spend(self, size_bytes: int) -> None:
        """So many bytes came another way, under the same `bandwidth_bytes_s`."""

    @property
    def active(self) -> int:
        """Transfers that have a connection now."""

    @property
    def waiting(self) -> int:
        """Transfers that wait for a connection or for their next attempt."""
