"""A vfs over a local folder: what the kernel driver is tested and measured with, without a catalog.

It keeps the contract of `pictofs.vfs.Vfs`, all of it in memory but the bytes. Names play parts:

    slow-<seconds>-…    READ is answered that much later
    held-…              READ is answered when `release` is called, or interrupted
    unsized-…           the size is not known until GETATTR asks
    pinned-…            never changes its node when the file does
"""

from __future__ import annotations

import bisect
import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from pictofs.vfs.types import Attr, Bytes, DirEntry, Done, Entry, Fail, Piece, Statfs

DAY_S = 86400.0
ONE_BLOCK_BYTES = 8 << 20          # larger files that are not here yet are read the ordinary way
_FIRST_NODE = 1000                 # cookies are node numbers; those up to 255 are the driver's


@dataclass(slots=True)
class Node:
    """One version of one file or directory."""

    attr: Attr
    path: str
    parent: int
    name: str
    children: dict[str, int] | None   # of a directory, by name
    target: bytes = b""
    size_known: bool = True


class Waiting:
    """An operation that is answered later, unless it is interrupted."""

    def __init__(self, vfs: FolderVfs, node: int, act: Callable[[], None], fail: Fail, due_s: float) -> None:
        self.vfs, self.node, self.act, self.fail, self.due_s = vfs, node, act, fail, due_s

    def interrupt(self) -> None:
        if self in self.vfs.waiting:
            self.vfs.waiting.remove(self)
            self.fail(errno.EINTR)


class FolderVfs:
    """`valid_s` is how long names and attributes hold; `rescan` sees what has changed and tells it."""

    def __init__(
        self, folder: str, *, valid_s: float = DAY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = os.fsencode(folder).decode("utf-8", "surrogateescape")
        self.valid_s = valid_s
        self.clock = clock
        self.on_changed: Callable[[list[tuple[int, str]], list[int]], None] | None = None
        self.nodes: dict[int, Node] = {}
        self.waiting: list[Waiting] = []
        self.interrupted = 0
        self.fds: dict[int, int] = {}
        self.xattrs: dict[str, bytes] = {"user.pictofs.name": b"as it is"}
        self.next_node = _FIRST_NODE
        self._order: dict[int, list[int]] = {}   # directory → its nodes, ascending
        self.ear, self.mouth = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.nodes[1] = Node(self._attr(1, os.stat(folder)), folder, 1, "", {})
        self._scan(1)

    # the contract

    def lookup(self, parent: int, name: str, done: Done[Entry], fail: Fail) -> None:
        directory = self.nodes.get(parent)
        if directory is None or directory.children is None:
            fail(errno.ESTALE if directory is None else errno.ENOTDIR)
            return
        node = directory.children.get(name)
        done(Entry(None if node is None else self._shown(self.nodes[node]), self.valid_s))

    def getattr(self, node: int, done: Done[Attr], fail: Fail) -> None:
        found = self.nodes.get(node)
        if found is None:
            fail(errno.ESTALE)
            return
        found.size_known = True
        done(found.attr)

    def readdir(
        self, node: int, cookie: int, limit: int, done: Done[list[DirEntry]], fail: Fail,
        *, names_only: bool = False,
    ) -> None:
        directory = self.nodes.get(node)
        if directory is None or directory.children is None:
            fail(errno.ENOTDIR)
            return
        rows: list[DirEntry] = []
        ordered = self._ordered(node)
        first = bisect.bisect_right(ordered, cookie)
        for child in ordered[first : first + limit]:
            found = self.nodes[child]
            attr = self._shown(found)
            known = attr if found.size_known else None
            rows.append(DirEntry(found.name, child, attr.ino, attr.mode, child, known))
        done(rows)

    def readlink(self, node: int, done: Done[bytes], fail: Fail) -> None:
        done(self.nodes[node].target)

    def read(
        self, node: int, offset: int, size: int, done: Done[Bytes], fail: Fail, pid: int = 0
    ) -> Waiting | None:
        found = self.nodes.get(node)
        if found is None:
            fail(errno.ESTALE)
            return None
        name = found.name
        if name.startswith("slow-"):
            return self._later(node, lambda: self._give(node, offset, size, done, fail), fail,
                               self.clock() + float(name.split("-")[1]))
        if name.startswith("held-"):
            return self._later(node, lambda: self._give(node, offset, size, done, fail), fail, float("inf"))
        self._give(node, offset, size, done, fail)
        return None

    def getxattr(self, node: int, name: str, done: Done[bytes], fail: Fail) -> None:
        if name in self.xattrs:
            done(self.xattrs[name])
        else:
            fail(errno.ENODATA)

    def listxattr(self, node: int, done: Done[list[str]], fail: Fail) -> None:
        done(list(self.xattrs))

    def statfs(self, done: Done[Statfs], fail: Fail) -> None:
        done(Statfs(4096, 1000, len(self.nodes)))

    def dots(self, node: int) -> tuple[int, int]:
        directory = self.nodes[node]
        return directory.attr.ino, self.nodes[directory.parent].attr.ino

    def in_one_file(self, node: int, done: Done[bool], fail: Fail) -> None:
        found = self.nodes[node]
        done(found.attr.size_bytes <= ONE_BLOCK_BYTES or not found.name.startswith(("slow-", "held-")))

    def rendered(self, node: int) -> bool:
        return False

    def fileno(self) -> int:
        return self.ear

    def deliver(self) -> None:
        os.read(self.ear, 4096)
        self._answer(lambda waiting: waiting.due_s <= self.clock())

    def tick(self) -> float | None:
        self._answer(lambda waiting: waiting.due_s <= self.clock())
        due_s = min((waiting.due_s for waiting in self.waiting), default=float("inf"))
        return None if due_s == float("inf") else max(0.0, due_s - self.clock())

    # what tests do; where vfs may be called

    def release(self) -> None:
        """Answer every read of a held file."""
        for waiting in self.waiting:
            waiting.due_s = 0.0
        os.write(self.mouth, b".")

    def rescan(self) -> None:
        """See the folder as it is: another size or mtime is another node of the same inode number."""
        entries: list[tuple[int, str]] = []
        nodes: list[int] = []
        for node in [n for n, found in self.nodes.items() if found.children is not None]:
            if node in self.nodes:
                self._compare(node, entries, nodes)
        if self.on_changed is not None and (entries or nodes):
            self.on_changed(entries, nodes)

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()
        os.close(self.ear)
        os.close(self.mouth)

    # within

    def _answer(self, due: Callable[[Waiting], bool]) -> None:
        for waiting in [w for w in self.waiting if due(w)]:
            self.waiting.remove(waiting)
            waiting.act()

    def _later(self, node: int, act: Callable[[], None], fail: Fail, due_s: float) -> Waiting:
        waiting = Waiting(self, node, act, fail, due_s)
        self.waiting.append(waiting)
        return waiting

    def _give(self, node: int, offset: int, size: int, done: Done[Bytes], fail: Fail) -> None:
        found = self.nodes[node]
        size = max(0, min(size, found.attr.size_bytes - offset))
        if not size:
            done(Bytes())
            return
        fd = self.fds.get(node)
        if fd is None:
            try:
                fd = self.fds[node] = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                fail(error.errno or errno.EIO)
                return
        done(Bytes(pieces=(Piece(fd, offset, size),)))

    def _shown(self, found: Node) -> Attr:
        if found.size_known:
            return found.attr
        return replace(found.attr, size_bytes=0, valid_s=0.0, size_known=False)

    def _attr(self, node: int, status: os.stat_result) -> Attr:
        return Attr(
            node, status.st_ino, status.st_mode & ~0o222, status.st_nlink, status.st_size, status.st_mtime_ns,
            status.st_uid, status.st_gid, self.valid_s,
        )

    def _scan(self, directory: int) -> None:
        found = self.nodes[directory]
        with os.scandir(found.path) as rows:
            for row in sorted(rows, key=lambda row: row.name):
                child = self._add(directory, row.name, row.stat(follow_symlinks=False))
                if stat.S_ISDIR(self.nodes[child].attr.mode):
                    self._scan(child)

    def _add(self, directory: int, name: str, status: os.stat_result) -> int:
        parent = self.nodes[directory]
        assert parent.children is not None
        self.next_node += 1
        node = self.next_node
        path = os.path.join(parent.path, name)
        self.nodes[node] = Node(
            self._attr(node, status), path, directory, name, {} if stat.S_ISDIR(status.st_mode) else None,
            os.readlink(os.fsencode(path)) if stat.S_ISLNK(status.st_mode) else b"",
            not name.startswith("unsized-"),
        )
        parent.children.pop(name, None)
        parent.children[name] = node
        self._order.pop(directory, None)
        return node

    def _ordered(self, directory: int) -> list[int]:
        ordered = self._order.get(directory)
        if ordered is None:
            ordered = self._order[directory] = sorted((self.nodes[directory].children or {}).values())
        return ordered

    def _compare(self, directory: int, entries: list[tuple[int, str]], nodes: list[int]) -> None:
        found = self.nodes[directory]
        assert found.children is not None
        now = {row.name: row.stat(follow_symlinks=False) for row in os.scandir(found.path)}
        moved = False
        for name, child in list(found.children.items()):
            status, known = now.pop(name, None), self.nodes[child].attr
            if status is None:
                del found.children[name]
                self._order.pop(directory, None)
                del self.nodes[child]
            elif known.mtime_ns == status.st_mtime_ns and known.size_bytes == status.st_size:
                continue
            elif stat.S_ISDIR(status.st_mode) or name.startswith("pinned-"):
                self.nodes[child].attr = self._attr(child, status)
                nodes.append(child)
                continue
            else:
                self._add(directory, name, status)   # the old version stays readable under its node
            entries.append((directory, name))
            moved = True
        for name, status in now.items():
            child = self._add(directory, name, status)
            entries.append((directory, name))
            moved = True
            if stat.S_ISDIR(status.st_mode):
                self._scan(child)
        if moved:
            found.attr = replace(found.attr, mtime_ns=max(time.time_ns(), found.attr.mtime_ns + 1))
            nodes.append(directory)
