"""Reads that must wait for the disk: a few threads, so that a cold disk serves many readers at once.

The loop reads what is in page cache itself (`preadv` with RWF_NOWAIT); what is not comes here with
descriptors of its own, and is answered from here. A disk that answers sooner than another thread is woken
(`quick`) is read by the loop too, as long as nobody else wants something of it.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pictofs.vfs.types import Piece

log = logging.getLogger(__name__)

THREADS = 8                        # depth that an SSD rewards, and a disk still sorts
QUICK_S = 0.0003                   # handing a read over takes about 0.1 ms across two CPUs
_WEIGHT = 0.2                      # of the last read in the mean of what they take


@dataclass(frozen=True, slots=True)
class _Job:
    unique: int
    pieces: tuple[Piece, ...]      # of duplicated descriptors


class Readers:
    """`reply(unique, pages)` and `fail(unique, errno)` answer the kernel, called from these threads."""

    def __init__(
        self, reply: Callable[[int, memoryview], object], fail: Callable[[int, int], object],
        max_read_bytes: int,
    ) -> None:
        self._reply = reply
        self._fail = fail
        self._max_read_bytes = max_read_bytes
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._mean_s = 10 * QUICK_S

    @property
    def quick(self) -> bool:
        """Does the disk answer so soon that waiting for it is shorter than handing over?"""
        return self._mean_s < QUICK_S

    def read(self, pieces: Sequence[Piece], pages: memoryview) -> int:
        """Read these into the beginning of `pages`, waiting for the disk. OSError."""
        began_s, length = time.monotonic(), 0
        for piece in pieces:
            length += _fill(piece, pages[length:])
        self.took(time.monotonic() - began_s)
        return length

    def took(self, read_s: float) -> None:
        """A read has taken so long."""
        self._mean_s += _WEIGHT * (read_s - self._mean_s)

    def start(self) -> None:
        """Start the threads: after the fork."""
        for number in range(THREADS):
            thread = threading.Thread(target=self._run, name=f"read-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Answer what was submitted, then end."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def submit(self, unique: int, pieces: Sequence[Piece]) -> None:
        """Read these, in order, for that request; the caller may close their descriptors. OSError EMFILE."""
        kept: list[Piece] = []
        try:
            for piece in pieces:
                kept.append(Piece(os.dup(piece.fd), piece.offset, piece.size_bytes))
        except OSError:
            _close(kept)
            raise
        self._jobs.put(_Job(unique, tuple(kept)))

    def _run(self) -> None:
        pages = page_aligned(self._max_read_bytes)
        while (job := self._jobs.get()) is not None:
            try:
                self._reply(job.unique, pages[: self.read(job.pieces, pages)])
            except OSError as error:
                log.error("a block in the cache cannot be read: %s", error.strerror)
                self._fail(job.unique, errno.EIO)
            finally:
                _close(job.pieces)


def page_aligned(size_bytes: int) -> memoryview:
    """A buffer to answer READ from: the kernel copies 60 KB of it in 12 µs, and in 56 off the alignment."""
    return memoryview(mmap.mmap(-1, size_bytes))


def _fill(piece: Piece, room: memoryview) -> int:
    """Read a piece into the beginning of `room`, whole; OSError EIO where its file is shorter than said."""
    done = 0
    while done < piece.size_bytes:
        got = os.preadv(piece.fd, (room[done : piece.size_bytes],), piece.offset + done)
        if not got:
            raise OSError(errno.EIO, "a block is shorter than the catalog says")
        done += got
    return done


def _close(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        os.close(piece.fd)
