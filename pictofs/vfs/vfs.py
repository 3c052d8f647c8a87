"""`Vfs`: lookup, getattr, readdir, read and the rest in inode terms, answered now or later."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pictofs.catalog.model import ROOT_NODE
from pictofs.config import Settings
from pictofs.errors import PictofsError
from pictofs.link.messages import Changed, Done, Failed, Moved, State, Told
from pictofs.tree import NOTHING_ASKED, Asked, Need, Tree, organization_node
from pictofs.vfs import types
from pictofs.vfs.counters import Counters
from pictofs.vfs.descriptors import DEFAULT_LIMIT, Descriptors
from pictofs.vfs.errnos import REFUSED, UNMOUNTING, errno_of
from pictofs.vfs.operation import Operation
from pictofs.vfs.reading import Reading
from pictofs.vfs.report import Facts, Report
from pictofs.vfs.types import Attr, Bytes, DirEntry, Entry, Fail, Statfs, Ticket
from pictofs.vfs.waiting import Link, Waits

T = TypeVar("T")
Changes = Callable[[list[tuple[int, str]], list[int]], None]

_log = logging.getLogger(__name__)
RELEASE_S = 2.0     # how long a file that the store has removed may hold its place on the disk
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Vfs:
    """What a driver calls. One thread, or one lock: nothing here is safe to call from two at once.

    Every operation calls exactly one of `done` and `fail(errno)` exactly once: before it returns (then it
    returns None) or from `deliver`, `tick`, `relink`, `close` or the ticket's `interrupt`. A write is the
    driver's EROFS.
    `on_changed(entries, nodes)` is set by a driver that can tell the kernel: (parent, name) pairs that lead
    elsewhere, and nodes whose attributes or listing changed. It is called from `deliver`.
    `on_link_lost()` is set by who restarts the fetching process; until `relink`, what is present is served.
    `on_refused(refused)` is set by who may have another key; it is called when the service begins to refuse
    that of an organization, and when it takes it again.

    `link` is a connected and attached `link.Client`, or None. `clock` is monotonic, in seconds. `facts` gives
    what status.json says of the mount itself. `boot_id` names this boot of the machine.
    """

    def __init__(
        self,
        tree: Tree,
        link: Link | None,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        *,
        facts: Facts = dict,
        boot_id: str | None = None,
        descriptors: int = DEFAULT_LIMIT,
    ) -> None:
        self._tree = tree
        self._settings = settings
        self._clock = clock
        self._boot_id = boot_id
        self._boot: int | None = None
        self._waits = Waits(link, tree.freshness, settings.timeout_s, clock)
        self._waits.on_lost = self._link_lost
        self._descriptors = Descriptors(settings.cache_dir, self._this_boot, descriptors)
        self._reading = Reading(tree, self._descriptors, self._waits.hint)
        self._release_s = 0.0       # when to look again for what the store has removed
        self._refused: dict[int, float] = {}    # organization → from when on nothing of it is served
        self._ended: set[int] = set()           # those of them whose time has come
        self._offline: set[int] = set()
        self.counters = Counters(tree.freshness.wall_ns, clock)
        self.report = Report(tree, self._waits, self._reading, self.counters, facts)
        tree.offer_control(self.report.files())
        self.on_changed: Changes | None = None
        self.on_damaged: Callable[[list[int]], None] | None = None
        self.on_link_lost: Callable[[], None] | None = None
        self.on_refused: Callable[[bool], None] | None = None

    # operations

    def lookup(self, parent: int, name: str, done: types.Done[Entry], fail: Fail) -> Ticket | None:
        """The entry of `name`; `Entry.attr` None is a name that does not exist, for `valid_s`.

        `valid_s` is the entry's; the attributes have their own, which is 0 where the size is not known.
        """
        tree, reading = self._tree, self._reading

        def attempt(asked: Asked) -> Entry:
            entry = tree.lookup(parent, name, asked)
            if entry.attr is not None and entry.attr.size_known:
                reading.told(entry.attr.node)
            return entry

        return self._run("lookup", parent, name, attempt, done, fail, True)

    def getattr(self, node: int, done: types.Done[Attr], fail: Fail) -> Ticket | None:
        """The attributes of a node, the size exact."""
        return self._run("getattr", node, "", lambda asked: self._tree.getattr(node, asked), done, fail)

    def readdir(
        self,
        node: int,
        cookie: int,
        limit: int,
        done: types.Done[list[DirEntry]],
        fail: Fail,
        *,
        names_only: bool = False,
    ) -> Ticket | None:
        """At most `limit` entries behind `cookie` (0: from the start); an empty list is the end.

        `names_only`: they may come without attributes.

        `.` and `..` are the driver's, see `dots`; cookies from 1 to 255 are never ours, so it may use them.
        """
        entries = self._tree.names if names_only else self._tree.readdir
        return self._run("readdir", node, "", lambda asked: entries(node, cookie, limit, asked), done, fail)

    def readlink(self, node: int, done: types.Done[bytes], fail: Fail) -> Ticket | None:
        """The target of a symbolic link."""
        return self._run("readlink", node, "", lambda asked: self._tree.readlink(node), done, fail)

    def read(
        self, node: int, offset: int, size: int, done: types.Done[Bytes], fail: Fail, pid: int = 0
    ) -> Ticket | None:
        """Bytes of a file, clipped at its end; pieces of present blocks in order."""
        reading = self._reading
        return self._run(
            "read", node, "", lambda asked: reading.read(node, offset, size, pid, asked), done, fail
        )

    def getxattr(self, node: int, name: str, done: types.Done[bytes], fail: Fail) -> Ticket | None:
        """The value of an extended attribute; ENODATA where there is none."""

        def attempt(asked: Asked) -> bytes:
            value = self._tree.xattrs(node).get(name) if name.startswith("user.pictofs.") else None
            if value is None:
                raise OSError(errno.ENODATA, f"no {name}")
            return value

        return self._run("getxattr", node, name, attempt, done, fail)

    def listxattr(self, node: int, done: types.Done[list[str]], fail: Fail) -> Ticket | None:
        """The names of the extended attributes that have a value."""
        return self._run("listxattr", node, "", lambda asked: list(self._tree.xattrs(node)), done, fail)

    def statfs(self, done: types.Done[Statfs], fail: Fail) -> Ticket | None:
        """The organization's bytes and files; free is 0."""
        return self._run("statfs", ROOT_NODE, "", lambda asked: self._tree.statfs(), done, fail)

    def dots(self, node: int) -> tuple[int, int]:
        """The inode numbers (st_ino) of `.` and `..` of a directory; answered at once, never fails."""
        return node, self._tree.parent(node)

    def in_one_file(self, node: int, done: types.Done[bool], fail: Fail) -> Ticket | None:
        """Can the file be had as one open descriptor? Blocks that are all here are joined for it."""
        reading = self._reading
        return self._run("open", node, "", lambda asked: reading.in_one_file(node, asked), done, fail)

    def rendered(self, node: int) -> bool:
        """Is the text of this file another at every look (a control file)?"""
        return self._tree.rendered(node)

    # the link, and time

    def fileno(self) -> int:
        """What to poll for reading before `deliver`; -1 while the link is down. Changes with `relink`."""
        link = self._waits.link
        return -1 if link is None else link.fileno()

    def deliver(self) -> None:
        """The link is readable: handle what has come, and end the operations that it satisfies."""
        for message in self._waits.receive():
            if isinstance(message, Done | Failed | Moved | Told):
                if not isinstance(message, Moved) and not self._waits.wanted(message.id):
                    self._tree.changed()
                self._waits.handle(message)
            elif isinstance(message, Changed):
                self._changed(message.entries, message.nodes)
                if message.bodies and self.on_damaged is not None:
                    self.on_damaged(message.bodies)
            elif isinstance(message, State):
                self._state(message)

    def tick(self, now: float | None = None) -> float | None:
        """Ends operations whose patience is over; seconds to the next call, None: not before there is news.

        `now` is for callers that have a clock of their own at hand and is not needed.
        """
        if len(self._refused) > len(self._ended):
            self._end_refused()
        due_s = self._waits.tick()
        if self._clock() >= self._release_s:
            self._release_s = self._clock() + RELEASE_S
            self._reading.release()
        for organization, ends_s in self._refused.items():
            if organization not in self._ended:
                left_s = max(0.0, ends_s - self._clock())
                due_s = left_s if due_s is None else min(due_s, left_s)
        return due_s

    def relink(self, link: Link) -> None:
        """A new connection to a (new) fetching process: what is still wanted is asked again over it."""
        try:
            if self._tree.reopen_replaced():
                self._reading.forget_all()
        except PictofsError as error:
            _log.error("%s", error)     # what is asked of it meanwhile is EIO
        self._tree.changed()
        self._boot = None
        self._refused.clear()       # whoever is there now says so again
        self._ended.clear()
        self._waits.relink(link)
        self.deliver()

    def close(self) -> None:
        """Ends what waits with ENOTCONN, closes the descriptors, the catalog and the link."""
        self._waits.close(UNMOUNTING)
        if self._waits.link is not None:
            self._waits.link.close()
            self._waits.link = None
        self._descriptors.close()
        self._tree.close()

    # within

    def _run(
        self,
        name: str,
        node: int,
        what: str,
        attempt: Callable[[Asked], T],
        done: types.Done[T],
        fail: Fail,
        resolves: bool = False,
    ) -> Ticket | None:
        counters = self.counters
        counters.operations[name] += 1
        if self._ended:
            attempt = self._unless_refused(node, attempt)
        try:
            value = attempt(NOTHING_ASKED)
        except Need as need:
            counters.waited[name] += 1
            done, fail = self._timed(done, fail)
            self._record(name, node, what, "waits")
            operation = Operation(self._waits, attempt, done, fail, self._clock(), resolves)
            operation.begin(need)
            return None if operation.ended else operation
        except Exception as error:  # noqa: BLE001 - the boundary: every operation ends in an errno
            number = errno_of(error)
            counters.failed(number)
            self._record(name, node, what, errno.errorcode.get(number, str(number)))
            fail(number)
            return None
        if counters.watched:
            self._record(name, node, what, "ok")
        done(value)
        return None

    def _record(self, name: str, node: int, what: str, outcome: str) -> None:
        # who reads the log would otherwise be what it is about
        if self.counters.watched and not self._tree.rendered(node):
            self.counters.record(name, node, what, outcome)

    def _timed(self, done: types.Done[T], fail: Fail) -> tuple[types.Done[T], Fail]:
        begun_s = self._clock()

        def counted_done(value: T) -> None:
            self.counters.waited_s += self._clock() - begun_s
            done(value)

        def counted_fail(number: int) -> None:
            self.counters.waited_s += self._clock() - begun_s
            self.counters.failed(number)
            fail(number)

        return counted_done, counted_fail

    def _unless_refused(self, node: int, attempt: Callable[[Asked], T]) -> Callable[[Asked], T]:
        def guarded(asked: Asked) -> T:
            if self._tree.organization_of(node) in self._ended:
                raise OSError(REFUSED, "the key is refused")
            return attempt(asked)

        return guarded

    def _changed(self, entries: list[tuple[int, str]], nodes: list[int]) -> None:
        self._tree.changed()
        self._reading.forget(nodes)
        if self.on_changed is not None:
            self.on_changed(entries, nodes)

    def _state(self, state: State) -> None:
        organization = state.organization
        if state.online and organization in self._offline:
            self._tree.freshness.forget()
            self._tree.changed()
        (self._offline.discard if state.online else self._offline.add)(organization)
        before = bool(self._refused)
        if state.refused:
            self._refused.setdefault(organization, self._clock() + self._settings.auth_grace_s)
            self._end_refused()
        elif self._refused.pop(organization, None) is not None and organization in self._ended:
            self._ended.remove(organization)
            self._forget_folder(organization)
        if self.on_refused is not None and before != bool(self._refused):
            self.on_refused(not before)

    def _end_refused(self) -> None:
        for organization, ends_s in self._refused.items():
            if organization not in self._ended and self._clock() >= ends_s:
                self._ended.add(organization)
                self._forget_folder(organization)

    def _forget_folder(self, organization: int) -> None:
        """The kernel forgets the folder's name, so every path through it is looked up again."""
        folders = [(ROOT_NODE, name) for name, pk in self._tree.organizations.items() if pk == organization]
        self._changed(folders, [organization_node(organization)])

    def _link_lost(self) -> None:
        if self.on_link_lost is not None:
            self.on_link_lost()

    def _this_boot(self) -> int | None:
        if self._boot is None:
            if self._boot_id is None:
                try:
                    with open(_BOOT_ID) as file:
                        self._boot_id = file.read().strip()
                except OSError:
                    self._boot_id = ""      # not Linux: every block is verified when it is opened
            self._boot = self._tree.boot(self._boot_id) if self._boot_id else None
        return self._boot


