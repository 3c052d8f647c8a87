"""io=passthrough: OPEN answered with the file that holds the whole object, for the kernel to read.

Only an object that lies in one file, whole, can be passed through: its first byte is asked for, and the file
that holds it must be as long as the object. OPEN waits for objects of a size that is fetched in one piece. A
larger one is joined into one file by the fetching process when all its blocks are there; where that takes
longer than a moment, or cannot be, it is read the ordinary way this time. Whatever the first OPEN of a node
was answered, the following get the same until all are closed (`opens`).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial

from pictofs.drivers.kernel import replies, wire
from pictofs.drivers.kernel.handshake import close_backing, open_backing
from pictofs.drivers.kernel.opens import Opens
from pictofs.drivers.kernel.wire import Fopen
from pictofs.vfs import Vfs
from pictofs.vfs.types import Attr, Bytes, Fail, Piece, Ticket

log = logging.getLogger(__name__)


class _Steps:
    """The ticket of an operation that waits more than once."""

    def __init__(self) -> None:
        self.at: Ticket | None = None

    def follow(self, step: Ticket | None) -> None:
        """The next step; None: it is over already, and may have begun the one after it."""
        if step is not None:
            self.at = step

    def interrupt(self) -> None:
        """End the wait it is at."""
        if self.at is not None:
            self.at.interrupt()


class Passthrough:
    """Answers OPEN and RELEASE. `reply` sends an answer and says whether the kernel took it."""

    def __init__(self, fd: int, vfs: Vfs, words: memoryview, reply: Callable[[int, bytes], bool]) -> None:
        self._fd = fd
        self._vfs = vfs
        self._reply = reply
        self._opens = Opens(words, partial(close_backing, fd))
        self._refused = False

    def begin(self) -> None:
        """Take over what is open."""
        self._opens.adopt()

    def __len__(self) -> int:
        return len(self._opens)

    def open(self, node: int, unique: int, pid: int, fail: Fail) -> Ticket | None:
        """Answer OPEN, now or later."""
        backing = self._known(node)
        if backing is not None:
            self._opens.opened(node, backing, unique)
            self._answer(node, unique, backing)
            return None
        steps = _Steps()

        def sized(attr: Attr) -> None:
            if attr.size_bytes:
                steps.follow(self._vfs.in_one_file(node, partial(joined, attr.size_bytes), fail))
            else:
                self._first(node, unique, None)

        def joined(size_bytes: int, one_file: bool) -> None:
            if one_file:
                steps.follow(self._vfs.read(node, 0, 1, partial(came, size_bytes), fail, pid))
            else:
                self._first(node, unique, None)

        def came(size_bytes: int, found: Bytes) -> None:
            self._first(node, unique, whole(found, size_bytes))

        steps.follow(self._vfs.getattr(node, sized, fail))
        return steps if steps.at is not None else None

    def changed(self, nodes: Iterable[int]) -> None:
        """Something of these nodes is another now."""
        self._opens.forget(nodes)

    def release(self, node: int, unique: int) -> None:
        """Count a RELEASE; the caller answers it."""
        self._opens.released(node, unique)

    def _known(self, node: int) -> int | None:
        """What an OPEN must be answered with, since the node is open or its backing id is kept."""
        backing = self._opens.backing(node)
        return self._opens.revive(node) if backing is None else backing

    def _first(self, node: int, unique: int, piece: Piece | None) -> None:
        """The first OPEN of a node (unless another came meanwhile): over `piece`, or the ordinary way."""
        known = self._known(node)
        if known is not None:
            self._opens.opened(node, known, unique)
            self._answer(node, unique, known)
            return
        backing = 0 if piece is None else self._register(piece)
        if not self._opens.opened(node, backing, unique):
            log.warning("more than %d files are open at once; no more for now", len(self._opens))
            if backing:
                close_backing(self._fd, backing)
            self._reply(unique, wire.error(unique, errno.ENFILE))
            return
        self._answer(node, unique, backing)

    def _answer(self, node: int, unique: int, backing: int) -> None:
        flags = Fopen.NOFLUSH | (Fopen.PASSTHROUGH if backing else Fopen.KEEP_CACHE)
        if not self._reply(unique, replies.opened(unique, flags, backing)):
            self._opens.released(node, unique)    # whoever opened it is gone, and no RELEASE will come

    def _register(self, piece: Piece) -> int:
        try:
            return open_backing(self._fd, piece.fd)
        except OSError as error:
            if not self._refused:
                self._refused = True
                log.warning("io=passthrough is refused (%s); files are read the ordinary way", error.strerror)
            return 0


def whole(found: Bytes, size_bytes: int) -> Piece | None:
    """Where the first byte of an object lies, if that file holds the object and nothing else."""
    if len(found.pieces) != 1 or found.data:
        return None
    piece = found.pieces[0]
    return None if piece.offset or os.fstat(piece.fd).st_size != size_bytes else piece
