"""Telling the kernel that what it remembers is no longer so: from a thread that nobody waits for.

INVAL_ENTRY takes the parent directory's lock, and a LOOKUP or READDIR that waits for the network holds it:
sent from the loop it would wait for itself; sent from here it would stop everybody else in that directory.
So it is held back while such a request is under way there, within reason. INVAL_INODE is sent for attributes
only: that takes no lock. Page cache needs no telling (the bytes of a node never change, another version is
another node), unless the disk has changed them behind our back: then it waits for reads of that file that are
under way. A directory's cache goes when its mtime moves.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Container, Iterable

from pictofs.drivers.kernel import wire

log = logging.getLogger(__name__)

EPOCH_ENTRIES = 4096               # beyond, looking every name up again is cheaper than naming them
_HELD_BACK_S = 30.0                # longer than any request waits (`timeout`), then it is sent anyway
_LOOK_AGAIN_S = 0.05

Told = dict[tuple[int, str], float]    # (parent, name) → when it was told; in order


class Notifier:
    """`busy` holds the directories with a LOOKUP or READDIR under way; `count` is told what was sent.

    `told()` is called, in the notifier's thread, whenever the kernel has been told of some names.
    """

    def __init__(
        self, fd: int, *, inc_epoch: bool, busy: Container[int],
        count: Callable[[int], None] = lambda sent: None, told: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fd = fd
        self._inc_epoch = inc_epoch
        self._busy = busy
        self._count = count
        self._told = told
        self._clock = clock
        self._news = threading.Condition(threading.Lock())   # innermost: nothing is locked under it
        self._entries: Told = {}
        self._nodes: dict[int, None] = {}
        self._bodies: dict[int, None] = {}
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Start the thread: after the fork."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Send nothing more: before an unmount. One notification may still be under way after `timeout_s`."""
        with self._news:
            self._ended = True
            self._entries.clear()
            self._nodes.clear()
            self._bodies.clear()
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def changed(self, entries: Iterable[tuple[int, str]], nodes: Iterable[int]) -> None:
        """Names that lead elsewhere, nodes that look different. Returns at once; from any thread."""
        now_s = self._clock()
        with self._news:
            if self._ended:
                return
            for parent, name in entries:
                self._entries.setdefault((parent, name), now_s)
            self._nodes.update(dict.fromkeys(nodes))
            self._news.notify()

    def damaged(self, nodes: Iterable[int]) -> None:
        """Files of which wrong bytes may have been read: the page cache lets go. Returns at once."""
        with self._news:
            if not self._ended:
                self._bodies.update(dict.fromkeys(nodes))
                self._news.notify()

    def _run(self) -> None:
        held = False
        while True:
            with self._news:
                if held:
                    self._news.wait(_LOOK_AGAIN_S)
                while not (self._ended or self._entries or self._nodes or self._bodies):
                    self._news.wait()
                if self._ended:
                    return
                entries, self._entries = self._entries, {}
                nodes, self._nodes = self._nodes, {}
                bodies, self._bodies = self._bodies, {}
            try:
                kept = self._send(entries, nodes)
                for node in bodies:
                    self._write(wire.inval_inode(node, 0))
            except OSError as error:
                log.info("no more notifications: %s", error.strerror)
                return
            if len(kept) < len(entries):
                self._told()
            held = bool(kept)
            if kept:
                with self._news:
                    if not self._ended:
                        self._entries = kept | self._entries

    def _send(self, entries: Told, nodes: dict[int, None]) -> Told:
        """Tell the kernel; returns the entries that must wait."""
        if self._inc_epoch and len(entries) > EPOCH_ENTRIES:
            self._write(wire.inc_epoch())
            entries = {}
        for node in nodes:
            self._write(wire.inval_inode(node))
        late_s = self._clock() - _HELD_BACK_S
        kept: Told = {}
        for (parent, name), told_s in entries.items():
            if self._ended:
                break
            if parent in self._busy and told_s > late_s:
                kept[parent, name] = told_s
            else:
                self._write(wire.inval_entry(parent, name.encode()))
        return kept

    def _write(self, notification: bytes) -> None:
        try:
            os.write(self._fd, notification)
        except OSError as error:
            # ENOENT: the kernel knows nothing of it; ENOTEMPTY, EBUSY: a mount lies on it
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY, errno.ENOTDIR):
                raise
        self._count(1)
