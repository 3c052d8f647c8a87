"""The kernel driver: requests from /dev/fuse to vfs, answers back.

    thread    does                                                               blocks in
    serve     reads one request after the other, answers what is on this machine read of /dev/fuse
    attend    hears the link: ends what waited (`Vfs.deliver`), and deadlines    poll
    read-N    reads that the disk must answer (readers.py)                       pread
    notify    invalidation (notifier.py)                                         write of a notification

vfs is called by the first two, and by whoever `submit`s (the thread that hears the supervisor), in turn:
`_turn` is the lock, and nothing is waited for while it is held (the notifier's own is innermost). On the
hit path it costs 0.05 µs; one thread that polls both descriptors before each read costs 2 to 4 µs more, and
a LOOKUP takes 17 in C.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from functools import partial

from pictofs.config import Settings
from pictofs.drivers.kernel import mounting, replies, wire
from pictofs.drivers.kernel.answers import GONE, Answers
from pictofs.drivers.kernel.backing import Passthrough
from pictofs.drivers.kernel.handshake import BUFFER_BYTES, Negotiated
from pictofs.drivers.kernel.listing import Listings
from pictofs.drivers.kernel.notifier import Notifier
from pictofs.drivers.kernel.shared import BUSY_SINCE, NOTIFIED, REQUESTS, Shared
from pictofs.drivers.kernel.wire import Fopen, Opcode
from pictofs.errors import PictofsError
from pictofs.vfs import Vfs
from pictofs.vfs.types import Statfs

log = logging.getLogger(__name__)

_BODY = wire.IN_HEADER.size
_AGAIN = (errno.ENOENT, errno.EINTR, errno.EAGAIN)   # ENOENT: the request was withdrawn as we read it
_OWN_XATTRS = "user."
_NAP_S, _REST_S = 0.05, 5.0        # how long the link is left alone while requests come, and when none do

Handler = Callable[[int, int, int, int], None]       # (unique, node, length of the request, pid)


class KernelDriver:
    """One mount's conversation with the kernel.

    `fd` is the descriptor of a mount whose INIT is answered as `negotiated` says; it stays the caller's, as
    do `vfs` and `shared`. `resend`: another process served before, what it had read is asked for again.
    `told()`: the kernel has been told of names that lead elsewhere; called in a thread of its own.
    Threads start in `serve`, after any fork; vfs is called from two of them and from `submit`, in turn.
    """

    def __init__(
        self, vfs: Vfs, settings: Settings, fd: int, negotiated: Negotiated, *,
        resend: bool = False, shared: Shared | None = None, told: Callable[[], None] = lambda: None,
    ) -> None:
        self._vfs = vfs
        self._fd = fd
        self._negotiated = negotiated
        self._resend = resend and negotiated.resend
        self.shared = Shared.create() if shared is None else shared
        self._words = self.shared.words
        self._in = bytearray(BUFFER_BYTES)
        self._turn = threading.Lock()    # whoever calls vfs
        self._resting = False            # the attending thread sleeps long
        self._ended = False
        self._mountpoint = ""
        self._ear, self._mouth = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._listings = Listings(vfs)
        self._answers = Answers(fd, negotiated.max_read_bytes)
        self._notifier = Notifier(
            fd, inc_epoch=negotiated.inc_epoch, busy=self._answers.busy, count=self._notified, told=told
        )
        self._passthrough = None
        if negotiated.io == "passthrough":
            self._passthrough = Passthrough(fd, vfs, self._words, self._answers.reply)
        self._handlers = self._handle()

    def serve(self, mountpoint: str = "", ready: Callable[[], None] = lambda: None) -> None:
        """Answer the kernel until the mount is gone; `ready()` as that begins.

        `mountpoint` is what read-ahead is raised for, where that is permitted, and what `stop` unmounts.
        """
        self._mountpoint = mountpoint
        if mountpoint:
            mounting.read_ahead(mountpoint, self._negotiated.max_read_bytes >> 10)
        self._vfs.on_changed = self._changed
        self._vfs.on_damaged = self._notifier.damaged
        attending = threading.Thread(target=self._attend, name="attend", daemon=True)
        self._answers.readers.start()
        self._notifier.start()
        attending.start()
        try:
            if self._passthrough is not None:
                self._passthrough.begin()
            if self._resend:
                os.write(self._fd, wire.resend())
            ready()
            self._serve()
        finally:
            self.quiesce()
            self._ended = True
            self._rouse()
            attending.join()
            self._answers.readers.stop()
            os.close(self._ear)
            os.close(self._mouth)

    def quiesce(self) -> None:
        """Notify no more, so that an unmount has nothing to wait for. What is asked is answered."""
        self._notifier.stop()

    def stop(self) -> None:
        """Unmount lazily: `serve` returns when the last user has left. From any thread, more than once."""
        self.quiesce()
        try:
            mounting.unmount(self._mountpoint, lazy=True)
        except PictofsError as error:
            log.debug("%s", error)

    def submit(self, act: Callable[[], None]) -> None:
        """Run `act` where vfs may be called (`Vfs.relink`): here and now, from any thread but our own."""
        with self._turn:
            act()
        self._rouse()

    # the two threads that call vfs

    def _serve(self) -> None:
        readv, now_ns = os.readv, time.monotonic_ns
        fd, buffer, words, turn, handlers = self._fd, self._in, self._words, self._turn, self._handlers
        unpack, buffers = wire.REQUEST.unpack_from, [buffer]
        while True:
            try:
                length = readv(fd, buffers)
            except OSError as error:
                if error.errno in GONE:
                    return
                if error.errno in _AGAIN:
                    continue
                raise
            if not length:
                return   # the other end is closed: /dev/fuse says ENODEV, a socket this
            words[BUSY_SINCE] = now_ns()
            _, opcode, unique, node, pid = unpack(buffer)
            try:
                handler = handlers[opcode]
                words[REQUESTS + opcode] += 1
                with turn:
                    handler(unique, node, length, pid)
            except Exception:
                if opcode >= wire.OPCODES:
                    self._answers.reply(unique, wire.error(unique, errno.ENOSYS))    # of a later kernel
                else:
                    log.exception("request %d failed", opcode)
                    self._answers.reply(unique, wire.error(unique, errno.EIO))
            if self._resting:
                self._rouse()
            words[BUSY_SINCE] = 0

    def _attend(self) -> None:
        """Hear the link. Short naps while requests come, for what vfs owes the link then; long ones after."""
        link, seen = -1, -1
        poller = select.poll()
        poller.register(self._ear, select.POLLIN)
        while not self._ended:
            # before looking at anything, so that whatever comes after the look rouses us
            self._resting = True
            with self._turn:
                due_s = self._vfs.tick()
                fileno = self._vfs.fileno()
            if fileno != link:
                if link >= 0:
                    poller.unregister(link)
                if fileno >= 0:
                    poller.register(fileno, select.POLLIN)
                link = fileno
            before, seen = seen, sum(self._words[REQUESTS : REQUESTS + wire.OPCODES])
            nap_s = _REST_S
            if seen != before:
                self._resting, nap_s = False, _NAP_S
            for ready, _ in poller.poll(1000 * (nap_s if due_s is None else min(nap_s, due_s))):
                if ready == self._ear:
                    os.read(self._ear, 4096)
                else:
                    self._deliver()
            self._resting = False

    def _deliver(self) -> None:
        with self._turn:
            try:
                self._vfs.deliver()
            except Exception:
                log.exception("a message from the fetching process could not be handled")

    def _rouse(self) -> None:
        self._resting = False
        try:
            os.write(self._mouth, b".")
        except OSError:
            pass  # full: it is roused already; closed: it has ended

    def _changed(self, entries: list[tuple[int, str]], nodes: list[int]) -> None:
        self._listings.changed(nodes)
        self._listings.changed(parent for parent, _ in entries)
        if self._passthrough is not None:
            self._passthrough.changed(nodes)
        self._notifier.changed(entries, nodes)

    def _notified(self, sent: int) -> None:
        self._words[NOTIFIED] += sent

    # requests, by opcode

    def _handle(self) -> list[Handler]:
        handlers: list[Handler] = [self._refuse(errno.ENOSYS)] * wire.OPCODES
        for opcode in wire.WRITES:
            handlers[opcode] = self._refuse(errno.EROFS)
        handlers[Opcode.IOCTL] = self._refuse(errno.ENOTTY)      # TCGETS at each open() of Python up to 3.13
        handlers[Opcode.FORGET] = handlers[Opcode.BATCH_FORGET] = self._forget
        handlers[Opcode.LOOKUP] = self._lookup
        handlers[Opcode.GETATTR] = self._getattr
        handlers[Opcode.READ] = self._read
        handlers[Opcode.READLINK] = self._readlink
        handlers[Opcode.READDIR] = partial(self._readdir, False)
        handlers[Opcode.READDIRPLUS] = partial(self._readdir, True)
        handlers[Opcode.GETXATTR] = self._getxattr
        handlers[Opcode.LISTXATTR] = self._listxattr
        handlers[Opcode.STATFS] = self._statfs
        handlers[Opcode.INTERRUPT] = self._interrupt
        handlers[Opcode.RELEASE] = self._release
        handlers[Opcode.RELEASEDIR] = handlers[Opcode.DESTROY] = self._refuse(0)
        # ENOSYS to OPEN and OPENDIR is remembered for all files: the kernel then opens by itself, caches kept
        if not self._negotiated.no_open:
            handlers[Opcode.OPEN] = self._open
        if not self._negotiated.no_opendir:
            handlers[Opcode.OPENDIR] = self._opendir
        return handlers

    def _refuse(self, number: int) -> Handler:
        def refuse(unique: int, node: int, length: int, pid: int) -> None:
            self._answers.send(wire.error(unique, number))

        return refuse

    def _forget(self, unique: int, node: int, length: int, pid: int) -> None:
        """A node id says by itself what it is: nothing is kept for it, nothing has to go. No answer."""

    def _lookup(self, unique: int, node: int, length: int, pid: int) -> None:
        try:
            name = self._in[_BODY : length - 1].decode()
        except UnicodeDecodeError:
            self._answers.send(wire.error(unique, errno.ENOENT))     # every name here is UTF-8
            return
        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.lookup(node, name, now.entry, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket, node)

    def _getattr(self, unique: int, node: int, length: int, pid: int) -> None:
        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.getattr(node, now.attributes, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _read(self, unique: int, node: int, length: int, pid: int) -> None:
        _, offset, size = wire.READ_IN.unpack_from(self._in, _BODY)
        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.read(node, offset, size, now.bytes, now.fail, pid)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _readlink(self, unique: int, node: int, length: int, pid: int) -> None:
        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.readlink(node, now.data, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _readdir(self, plus: bool, unique: int, node: int, length: int, pid: int) -> None:
        _, cookie, size = wire.READ_IN.unpack_from(self._in, _BODY)
        now = self._answers.now
        now.unique = unique
        ticket = self._listings.read(node, cookie, size, plus, now.data, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket, node)

    def _getxattr(self, unique: int, node: int, length: int, pid: int) -> None:
        (size,) = wire.GETXATTR_IN.unpack_from(self._in, _BODY)
        name = self._in[_BODY + wire.GETXATTR_IN.size : length - 1].decode(errors="replace")
        if not name.startswith(_OWN_XATTRS):
            # `ls -l` and the like ask for ACLs of every file until they are told that there is no such thing
            self._answers.send(wire.error(unique, errno.EOPNOTSUPP))
            return

        def done(value: bytes) -> None:
            self._answers.reply(unique, replies.xattr(unique, size, value))

        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.getxattr(node, name, done, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _listxattr(self, unique: int, node: int, length: int, pid: int) -> None:
        (size,) = wire.GETXATTR_IN.unpack_from(self._in, _BODY)

        def done(names: list[str]) -> None:
            listed = b"".join(name.encode() + b"\0" for name in names)
            self._answers.reply(unique, replies.xattr(unique, size, listed))

        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.listxattr(node, done, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _statfs(self, unique: int, node: int, length: int, pid: int) -> None:
        def done(answer: Statfs) -> None:
            self._answers.reply(unique, replies.statfs(unique, answer))

        now = self._answers.now
        now.unique = unique
        ticket = self._vfs.statfs(done, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _interrupt(self, unique: int, node: int, length: int, pid: int) -> None:
        self._answers.interrupt(wire.INTERRUPT_IN.unpack_from(self._in, _BODY)[0])

    def _open(self, unique: int, node: int, length: int, pid: int) -> None:
        if self._vfs.rendered(node):
            # another text at every look, below an overlay under one node: read past the page cache
            self._answers.send(replies.opened(unique, Fopen.DIRECT_IO | Fopen.NOFLUSH))
            return
        if self._passthrough is None:
            self._answers.send(replies.opened(unique, Fopen.KEEP_CACHE | Fopen.NOFLUSH))
            return
        now = self._answers.now
        now.unique = unique
        ticket = self._passthrough.open(node, unique, pid, now.fail)
        if ticket is not None:
            self._answers.wait(unique, ticket)

    def _release(self, unique: int, node: int, length: int, pid: int) -> None:
        if self._passthrough is not None:
            self._passthrough.release(node, unique)
        self._answers.send(wire.error(unique, 0))

    def _opendir(self, unique: int, node: int, length: int, pid: int) -> None:
        self._answers.send(replies.opened(unique, Fopen.KEEP_CACHE | Fopen.CACHE_DIR))
