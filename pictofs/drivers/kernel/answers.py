"""Answers on their way to the kernel: at once, later and out of order, or from threads that read the disk."""

from __future__ import annotations

import errno
import logging
import os
import select

from pictofs.drivers import mountinfo
from pictofs.drivers.kernel import replies, wire
from pictofs.drivers.kernel.readers import Readers, page_aligned
from pictofs.vfs.types import Attr, Bytes, Done, Entry, Fail, Ticket

log = logging.getLogger(__name__)

GONE = (errno.ENODEV, errno.ECONNABORTED, errno.ENOTCONN)   # unmounted, or aborted
_HEADER = wire.OUT_HEADER.size


class Callbacks:
    """What vfs calls when an operation ends, for the request `unique`.

    One of these serves every request that is answered at once; when one must wait it keeps its own, and a
    fresh one is made for those that follow. Two closures for each request cost 1 µs more.
    """

    __slots__ = ("_answers", "attributes", "bytes", "data", "entry", "fail", "unique")

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.unique = 0
        self.entry: Done[Entry] = self._entry
        self.attributes: Done[Attr] = self._attributes
        self.bytes: Done[Bytes] = self._bytes
        self.data: Done[bytes] = self._data
        self.fail: Fail = self._fail

    def _entry(self, found: Entry) -> None:
        self._answers.reply(self.unique, replies.entry(self.unique, found))

    def _attributes(self, attr: Attr) -> None:
        self._answers.reply(self.unique, replies.attributes(self.unique, attr))

    def _bytes(self, found: Bytes) -> None:
        self._answers.reply_bytes(self.unique, found)

    def _data(self, body: bytes) -> None:
        self._answers.reply(self.unique, replies.data(self.unique, body))

    def _fail(self, number: int) -> None:
        self._answers.reply(self.unique, wire.error(self.unique, number))


class Answers:
    """The requests that wait, and the one way to the kernel. Called in turn with vfs, but for `send`."""

    def __init__(self, fd: int, max_read_bytes: int) -> None:
        self._fd = fd
        self._out = page_aligned(max_read_bytes)
        self._more = select.poll()          # are there requests that the loop has not read?
        self._more.register(fd, select.POLLIN)
        self._waiting: dict[int, tuple[Ticket, int]] = {}   # unique → its ticket, the directory it locks
        self.busy: dict[int, int] = {}      # directory → requests under way that hold its lock in the kernel
        self.readers = Readers(self.send_pages, self.send_error, max_read_bytes)
        self.now = Callbacks(self)          # for the request in hand
        self._nowait: int | None = None     # preadv's flag; None before the file system has shown which

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, answer: bytes | memoryview) -> bool:
        """Answer what never waited; False when the kernel no longer wants it. From any thread."""
        try:
            os.write(self._fd, answer)
        except OSError as error:
            self._unsent(error, wire.OUT_HEADER.unpack_from(answer)[2])
            return False
        return True

    def send_pages(self, unique: int, pages: memoryview) -> None:
        """The bytes of a READ, from a buffer that is aligned: the header goes apart. From any thread."""
        try:
            os.writev(self._fd, (wire.OUT_HEADER.pack(_HEADER + len(pages), 0, unique), pages))
        except OSError as error:
            self._unsent(error, unique)

    def send_error(self, unique: int, number: int) -> None:
        """A request that did not wait fails. From any thread."""
        self.send(wire.error(unique, number))

    def reply(self, unique: int, answer: bytes) -> bool:
        """Answer a request that may have waited; False when the kernel no longer wants it."""
        if self._waiting:
            self._finished(unique)
        try:
            os.write(self._fd, answer)
        except OSError as error:
            self._unsent(error, unique)
            return False
        return True

    def reply_bytes(self, unique: int, found: Bytes) -> None:
        """Answer READ: what is in page cache, or on a quick disk, here and now; the rest by the readers."""
        if self._waiting:
            self._finished(unique)
        if not found.pieces:
            self.send(replies.data(unique, found.data))
            return
        out, end = self._out, 0
        nowait = os.RWF_NOWAIT if self._nowait is None else self._nowait
        try:
            for piece in found.pieces:
                begin, end = end, end + piece.size_bytes
                if os.preadv(piece.fd, (out[begin:end],), piece.offset, nowait) != piece.size_bytes:
                    break
            else:
                self.send_pages(unique, out[:end])
                return
        except OSError as error:
            # EAGAIN: not in page cache; EOPNOTSUPP: a file system that cannot tell; any other comes up again
            if error.errno == errno.EOPNOTSUPP and self._nowait is None:
                self._nowait = 0 if mountinfo.in_memory(found.pieces[0].fd) else nowait
        try:
            if self.readers.quick and not self._more.poll(0):
                self.send_pages(unique, out[: self.readers.read(found.pieces, out)])
            else:
                self.readers.submit(unique, found.pieces)
        except OSError as error:
            log.error("a block cannot be read: %s", error.strerror)
            self.send(wire.error(unique, errno.EIO))

    def wait(self, unique: int, ticket: Ticket, directory: int = 0) -> None:
        """The request in hand waits; in the kernel it holds the lock of `directory`, unless 0."""
        self.now = Callbacks(self)
        self._waiting[unique] = ticket, directory
        if directory:
            self.busy[directory] = self.busy.get(directory, 0) + 1

    def interrupt(self, unique: int) -> None:
        """The reader has a signal. Requests are read before their interrupts: unknown means answered."""
        waited = self._waiting.get(unique)
        if waited is not None:
            waited[0].interrupt()

    def _finished(self, unique: int) -> None:
        waited = self._waiting.pop(unique, None)
        if waited is not None and waited[1]:
            directory = waited[1]
            if self.busy[directory] == 1:
                del self.busy[directory]
            else:
                self.busy[directory] -= 1


    def _unsent(self, error: OSError, unique: int) -> None:
        if error.errno == errno.ENOENT or error.errno in GONE:
            return
        # an answer that is refused leaves its request waiting for ever: fail that instead
        log.error("the kernel refuses an answer: %s", error.strerror)
        try:
            os.write(self._fd, wire.error(unique, errno.EIO))
        except OSError:
            pass
