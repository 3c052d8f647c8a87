"""Through fusepy 3.0.1 and libfuse 2: wherever the kernel driver cannot run. Correct before fast.

What libfuse 2's path interface is held to here:

- Sizes: one `attr_timeout` for all files, so it is 0. The kernel then asks before every answer to stat and
  before a read past the size it knows. A lookup is a stat there, so it waits for the exact size.
- Versions: `paths.OpenFiles` decides by version what may stay in the page cache; `kernel_cache` and
  `auto_cache` know time stamps only and stay off.
- Errors: one wrapper lets nothing out but FuseOSError with a positive errno. Anything else becomes garbage in
  the callback's return value; an exception amid a listing would read as an empty directory.
- Threads: libfuse calls from threads of its own. `_lock` is around vfs and is the first in order (then those
  in `paths`); it is never held while waiting or reading. Our one thread starts in `init`, after any fork.
- Interrupts: a thread that waits asks libfuse every 0.1 s whether its reader has given up.
- Signals: no Python handler is installed; libfuse ends its loop on SIGTERM. Who stops a mount unmounts it.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from pictofs.config import Settings
from pictofs.drivers.operations import Operations, path_codec
from pictofs.drivers.paths import Names, OpenFiles
from pictofs.errors import MountpointUnusable, NoFuse
from pictofs.vfs import Vfs
from pictofs.vfs.types import ROOT_NODE, Attr, Bytes, Fail, Ticket
from pictofs.vfs.types import Done as DoneWith

T = TypeVar("T")
Start = Callable[[DoneWith[T], Fail], Ticket | None]

INTERRUPT_POLL_S = 0.1

_log = logging.getLogger(__name__)


def load() -> Any:
    """The module `fuse`, bound to libfuse 2; NoFuse with the mend where that is not here."""
    try:
        import fuse
    except ImportError:
        raise NoFuse("driver=fusepy needs the package fusepy: pip install fusepy==3.0.1") from None
    except OSError:
        raise NoFuse("driver=fusepy needs libfuse 2: apt-get install libfuse2") from None
    if fuse._libfuse.fuse_version() >= 30:
        raise NoFuse("FUSE_LIBRARY_PATH names libfuse 3, fusepy crashes on it: apt-get install libfuse2")
    return fuse


class _Answer(Generic[T]):
    """The one answer of an operation, and a way to wait for it."""

    __slots__ = ("_came", "errno", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self.errno = 0
        self._came: threading.Event | None = None

    def awaited(self) -> threading.Event:
        """Called under the lock once the operation is known to wait."""
        self._came = threading.Event()
        return self._came

    def done(self, value: T) -> None:
        self.value = value
        if self._came is not None:
            self._came.set()

    def fail(self, number: int) -> None:
        self.errno = number
        if self._came is not None:
            self._came.set()


class FusepyDriver:
    """Serves a Vfs at a mountpoint; see `drivers.Driver`. NoFuse when libfuse 2 is not here."""

    def __init__(
        self, vfs: Vfs, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fuse = load()
        self._vfs = vfs
        self._settings = settings
        self._lock = threading.Lock()
        self._names = Names(clock)
        self._files = OpenFiles()
        self._mountpoint = ""
        self._ready: Callable[[], None] = lambda: None
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._acts: deque[Callable[[], None]] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        vfs.on_changed = self._changed

    # the Driver

    def serve(self, mountpoint: str, ready: Callable[[], None]) -> None:
        """Mounts and answers until unmounted. MountpointUnusable, NoFuse."""
        if not os.path.isdir(mountpoint):
            raise MountpointUnusable(f"{mountpoint} is not a folder: mkdir it first")
        self._mountpoint, self._ready = os.path.abspath(mountpoint), ready
        try:
            operations = Operations(self, self._fuse.FuseOSError)
            options = self._options()
            self._fuse.FUSE(operations, self._mountpoint, raw_fi=True, encoding=path_codec(), **options)
        except RuntimeError:
            self._explain()
        finally:
            self._stopping.set()
            self._wake()
            if self._thread is not None:
                self._thread.join()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def stop(self) -> None:
        """Unmounts lazily; `serve` returns when the last user has left."""
        if self._mountpoint:
            _unmount_lazily(self._mountpoint)

    def submit(self, act: Callable[[], None]) -> None:
        """Runs `act` under the lock around vfs, in the link's thread."""
        self._acts.append(act)
        self._wake()

    # what Operations uses

    def start(self) -> None:
        """In `init`: the process has forked if it was to, and the kernel is answered from now on."""
        self._thread = threading.Thread(target=self._follow_link, name="link", daemon=True)
        self._thread.start()
        self._ready()

    def ask(self, start: Start[T]) -> T:
        """Runs an operation of vfs and waits for its answer; FuseOSError."""
        answer: _Answer[T] = _Answer()
        with self._lock:
            ticket = start(answer.done, answer.fail)
            came = answer.awaited() if ticket is not None else None
        if came is not None and ticket is not None:
            self._wake()    # there is a deadline more
            while not came.wait(INTERRUPT_POLL_S):
                if self._fuse._libfuse.fuse_interrupted():
                    with self._lock:
                        ticket.interrupt()
        if answer.errno:
            self.refuse(answer.errno)
        return answer.value  # type: ignore[return-value]  # one of the two was called

    def refuse(self, number: int) -> NoReturn:
        """Ends the operation in an errno."""
        raise self._fuse.FuseOSError(number)

    def node_of(self, path: str) -> int:
        """The node that a path leads to; ENOENT."""
        node = ROOT_NODE
        for name in path.split("/"):
            if not name:
                continue
            known = self._names.get(node, name)
            if known is None:
                entry = self.ask(partial(self._vfs.lookup, node, name))
                known = (entry.attr.node if entry.attr is not None else None,)
                self._names.put(node, name, known[0], entry.valid_s)
            if known[0] is None:
                self.refuse(errno.ENOENT)
            node = known[0]
        return node

    def attr_of(self, path: str) -> Attr:
        """The attributes, exact."""
        attr: Attr = self.ask(partial(self._vfs.getattr, self.node_of(path)))
        return attr

    def read(self, node: int, size: int, offset: int) -> bytes:
        """Bytes of a file, whole unless it ends."""
        held: list[tuple[int, int, int]] = []
        text = b""

        def start(done: DoneWith[None], fail: Fail) -> Ticket | None:
            def take(found: Bytes) -> None:
                nonlocal text
                text = found.data
                # read after the lock is given back: the descriptors must be ours by then
                try:
                    for piece in found.pieces:
                        held.append((os.dup(piece.fd), piece.offset, piece.size_bytes))
                except OSError as error:
                    fail(error.errno or errno.EIO)
                else:
                    done(None)

            return self._vfs.read(node, offset, size, take, fail, self._fuse.fuse_get_context()[2])

        try:
            self.ask(start)
            if not held:
                return text
            parts = [os.pread(fd, length, at) for fd, at, length in held]
            if any(len(part) != length for part, (_, _, length) in zip(parts, held, strict=True)):
                self.refuse(errno.EIO)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            for fd, _, _ in held:
                os.close(fd)

    @property
    def vfs(self) -> Vfs:
        """For operations that are one call."""
        return self._vfs

    @property
    def files(self) -> OpenFiles:
        """What is open."""
        return self._files

    # within

    def _changed(self, entries: list[tuple[int, str]], nodes: list[int]) -> None:
        # the kernel has nothing to be told: attributes are never believed, names for a second
        self._names.forget(entries)

    def _follow_link(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                wait_s = self._vfs.tick()
                link = self._vfs.fileno()
            poll = select.poll()
            poll.register(self._wake_read, select.POLLIN)
            if link >= 0:
                poll.register(link, select.POLLIN)
            ready = dict(poll.poll(None if wait_s is None else wait_s * 1000))
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            try:
                with self._lock:
                    while self._acts:
                        self._acts.popleft()()
                    if link in ready and link == self._vfs.fileno():
                        self._vfs.deliver()
            except Exception:  # noqa: BLE001 - logged, with its traceback
                # this thread must live: everything that waits, waits for it
                _log.exception("a message from the fetching process could not be handled")

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass    # it is full of reasons to wake up already

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "foreground": True,
            "fsname": settings.source.replace("\\", "\\\\").replace(",", "\\,"),
            "subtype": "pictofs",
            "ro": True,
            "noexec": settings.noexec,
            # Checked by the kernel, permissions cost a request for each component of each path, since
            # attributes are never believed. Where nobody but the mounter is let in there is nothing to check.
            "default_permissions": settings.allow_other,
            "allow_other": settings.allow_other,
            "use_ino": True,
            # asynchronous reads hold a reader that has a signal for as long as its bytes take to come
            "sync_read": True,
            "attr_timeout": 0,
            # What lies behind a name is asked for by path in any case, so a name that is gone is found out.
            "entry_timeout": settings.ttl_s,
        }

    def _explain(self) -> NoReturn:
        """libfuse has said why on stderr; what a person does about it."""
        try:
            os.close(os.open("/dev/fuse", os.O_RDWR))
        except OSError as error:
            raise NoFuse(f"/dev/fuse: {error.strerror}; load the module with `modprobe fuse`") from None
        raise MountpointUnusable(f"{self._mountpoint} cannot be mounted: see that it is empty and yours")


def _unmount_lazily(mountpoint: str) -> None:
    """By the first of the system's tools that is there and agrees."""
    for command in (["fusermount3", "-uz"], ["fusermount", "-uz"], ["umount", "-l"], ["umount", "-f"]):
        if shutil.which(command[0]) is None:
            continue
        ended = subprocess.run([*command, mountpoint], capture_output=True, text=True, timeout=20)
        if ended.returncode == 0:
            return
        _log.debug("%s: %s", command[0], ended.stderr.strip())
