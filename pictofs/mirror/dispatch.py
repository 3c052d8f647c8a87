"""One conversation with each mount: what it asks becomes looks and claims, what changed is pushed to it.

Every request that is answered has a `Wait`. A wait that sees no progress for the mount's `timeout` ends in an
errno, whatever it waits for; a mount that goes away takes its waits with it. The process is told when the
last attached mount has gone.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pictofs import __version__
from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ROOT_NODE, Change, Kind, node_id
from pictofs.errors import PictofsError, RateLimited
from pictofs.link import Peer
from pictofs.link.messages import (
    PROTOCOL,
    Ask,
    Attach,
    Attached,
    Cancel,
    Changed,
    Done,
    Failed,
    Look,
    Moved,
    Read,
    Request,
    State,
    Told,
    Want,
)
from pictofs.mirror.access import Access, Membership
from pictofs.mirror.attach import Register
from pictofs.mirror.control import Control
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.flight import Claim
from pictofs.mirror.locate import organization, place
from pictofs.mirror.looks import Looks
from pictofs.mirror.troubles import Troubles

_log = logging.getLogger(__name__)
WATCH_S = 0.25
BREATH_TICKS = 2           # of the watch: who waits for a slot is told of the line's progress twice a second
ASK_TIMEOUT_S = 60.0       # of a command, without progress
CHANGED_ENTRIES = 4000     # of one message: a name may have 255 bytes, a frame holds 16 MiB
REMEMBERED_LOOKS = 10_000  # nodes that were answered for while the service was away


@dataclass(eq=False, slots=True)
class Wait:
    """One request that is to be answered."""

    id: int
    timeout_s: float
    moved_s: float
    claim: Claim | None = None
    task: asyncio.Task[None] | None = None


@dataclass(eq=False, slots=True)
class Mount:
    """One connection, attached or not (a command)."""

    peer: Peer
    mountpoint: str = ""
    attached: bool = False
    members: dict[int, Membership] = field(default_factory=dict)
    waits: dict[int, Wait] = field(default_factory=dict)
    looked_away: set[int] = field(default_factory=set)


class Dispatch:
    """The link's receiver. `idle` is called with True when no mount is attached, False when one is."""

    def __init__(
        self,
        reader: CatalogReader,
        register: Register,
        looks: Looks,
        fetcher: Fetcher,
        control: Control,
        troubles: Troubles,
        read: Callable[[Mapping[int, Membership], Read], None],
        missed: Callable[[Membership, Want], None],
        looked: Callable[[Membership, int], None],
        idle: Callable[[bool], None],
        drain: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._register = register
        self._looks = looks
        self._fetcher = fetcher
        self._control = control
        self._troubles = troubles
        self._read = read
        self._missed = missed
        self._looked = looked
        self._idle = idle
        self._drain = drain
        self._clock = clock
        self._mounts: dict[Peer, Mount] = {}
        self._organizations: dict[int, int] = {}  # dataset → organization
        self._leaving: set[asyncio.Task[None]] = set()

    # what the server calls

    def opened(self, peer: Peer) -> None:
        """A process has connected."""
        self._mounts[peer] = Mount(peer)

    def received(self, peer: Peer, message: Request) -> None:
        """A request of a mount or a command."""
        mount = self._mounts[peer]
        match message:
            case Look():
                self._run(mount, message.id, self._look(mount, message))
            case Want():
                self._want(mount, message)
            case Read():
                self._read(mount.members, message)
            case Cancel():
                wait = mount.waits.get(message.id)
                if wait is not None and message.late:  # the mount's clock ran out a moment before ours
                    self._troubles.log(_log, _nothing_arrived(wait))
                self._cancel(mount, message.id)
            case Ask():
                self._run(mount, message.id, self._ask(mount, message), ASK_TIMEOUT_S)
            case Attach():
                self._run(mount, message.id, self._attach(mount, message), float("inf"))

    def closed(self, peer: Peer) -> None:
        """The connection has ended: nobody waits for what it asked."""
        mount = self._mounts.pop(peer)
        for number in tuple(mount.waits):
            self._cancel(mount, number)
        if mount.attached:
            _log.info("%s has gone", mount.mountpoint)
        leaving = asyncio.ensure_future(self._register.leave(mount))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        self._tell_idle()

    # what the process calls

    async def watch(self) -> None:
        """Ends the waits that see no progress; runs until cancelled."""
        for tick in itertools.count():
            await asyncio.sleep(WATCH_S)
            if tick % BREATH_TICKS == 0:
                self._fetcher.breathe()
            now_s = self._clock()
            for mount in tuple(self._mounts.values()):
                for wait in tuple(mount.waits.values()):
                    if now_s - wait.moved_s > wait.timeout_s:
                        self._cancel(mount, wait.id)
                        self._fail(mount, wait.id, PictofsError(_nothing_arrived(wait)))

    async def stop(self) -> None:
        """Cancels every wait; answers nobody."""
        for mount in self._mounts.values():
            tasks = [wait.task for wait in mount.waits.values() if wait.task]
            for number in tuple(mount.waits):
                self._cancel(mount, number)
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def push(self, change: Change) -> None:
        """Tells every mount what is no longer true."""
        if not change:
            return
        for mount in self._mounts.values():
            if mount.attached:
                for message in _changed(change):
                    mount.peer.send(message)

    def standing(self, access: Access) -> None:
        """A key stands otherwise towards the service: its mounts are told."""
        standing = access.standing
        good = standing.online and not standing.refused
        if good:
            self._looks.forget_setbacks()
        for mount in self._mounts.values():
            concerned = [m for m in mount.members.values() if m.access is access]
            for member in concerned:
                mount.peer.send(
                    State(member.organization, standing.online, standing.refused, standing.what)
                )
            if concerned and good and mount.looked_away:
                # what was answered from memory is looked at again
                for message in _changed(Change([], sorted(mount.looked_away))):
                    mount.peer.send(message)
                mount.looked_away.clear()

    @property
    def busy(self) -> bool:
        """True while somebody waits for an answer."""
        return any(mount.waits for mount in self._mounts.values())

    def everybody(self) -> Iterator[Membership]:
        """One membership of each organization that some mount serves."""
        seen: set[int] = set()
        for mount in self._mounts.values():
            for pk, member in mount.members.items():
                if pk not in seen:
                    seen.add(pk)
                    yield member

    # requests

    async def _attach(self, mount: Mount, message: Attach) -> None:
        if message.protocol > PROTOCOL:
            self._drain()
        joined = await self._register.join(mount, message)
        mount.members = {member.organization: member for member in joined.members}
        mount.mountpoint, mount.attached = message.mountpoint, True
        self._tell_idle()
        _log.info("%s is attached, process %d", message.mountpoint, message.pid)
        mount.peer.send(
            Attached(
                message.id,
                os.getpid(),
                __version__,
                [member.organization for member in joined.members],
                joined.dialects,
                joined.notes,
            )
        )
        for member in joined.members:
            standing = member.access.standing
            if not standing.online or standing.refused:
                mount.peer.send(
                    State(member.organization, standing.online, standing.refused, standing.what)
                )

    async def _look(self, mount: Mount, message: Look) -> None:
        def moved() -> None:
            self._moved(mount, message.id)

        failed: PictofsError | None = None
        members = self._members(mount, message.node)
        for member in members:
            node = message.node
            if node == ROOT_NODE:
                node = node_id(member.organization, Kind.ORGANIZATION)
            if len(members) == 1 and not message.force:
                self._looked(member, node)
            try:
                await self._looks.look(member, node, force=message.force, moved=moved)
            except PictofsError as error:
                failed = error
            standing = member.access.standing
            if not (standing.online and not standing.refused) and len(mount.looked_away) < REMEMBERED_LOOKS:
                mount.looked_away.add(node)
        if failed is not None and (len(members) == 1 or message.node != ROOT_NODE):
            raise failed
        mount.peer.send(Done(message.id))

    def _want(self, mount: Mount, message: Want) -> None:
        member = mount.members.get(organization(self._reader, message.node, self._organizations))
        if member is None:
            self._fail(mount, message.id, _Unknown("there is no such file (any more) on this mount"))
            return
        wait = Wait(message.id, member.policy.timeout_s, self._clock())
        mount.waits[message.id] = wait

        def ended(error: PictofsError | None) -> None:
            if mount.waits.pop(message.id, None) is None:
                return
            if error is None:
                mount.peer.send(Done(message.id))
            else:
                self._fail(mount, message.id, error)

        wait.claim = self._fetcher.want(member, message, ended, lambda: self._moved(mount, message.id))
        if wait.claim is not None:
            self._missed(member, message)

    async def _ask(self, mount: Mount, message: Ask) -> None:
        members = list(mount.members.values()) or list(self.everybody())
        answer = await self._control.answer(
            members, message.verb, message.arguments, lambda: self._moved(mount, message.id)
        )
        mount.peer.send(Told(message.id, answer))

    # waits

    def _run(
        self, mount: Mount, number: int, work: Awaitable[None], timeout_s: float | None = None
    ) -> None:
        """Runs `work` as a wait; it answers by itself, unless it fails."""
        if timeout_s is None:
            timeout_s = max((m.policy.timeout_s for m in mount.members.values()), default=ASK_TIMEOUT_S)
        wait = mount.waits[number] = Wait(number, timeout_s, self._clock())
        wait.task = asyncio.ensure_future(self._answered(mount, wait, work))

    async def _answered(self, mount: Mount, wait: Wait, work: Awaitable[None]) -> None:
        try:
            await work
        except PictofsError as error:
            self._fail(mount, wait.id, error)
        except Exception as error:  # noqa: BLE001 - the mount must be answered, and the process goes on
            _log.error("a request failed in a way it should not", exc_info=error)
            self._fail(mount, wait.id, PictofsError(f"unexpected: {type(error).__name__}"))
        finally:
            if mount.waits.get(wait.id) is wait:
                del mount.waits[wait.id]

    def _moved(self, mount: Mount, number: int) -> None:
        wait = mount.waits.get(number)
        if wait is not None:
            wait.moved_s = self._clock()
            mount.peer.send(Moved(number))

    def _cancel(self, mount: Mount, number: int) -> None:
        wait = mount.waits.pop(number, None)
        if wait is None:
            return
        if wait.claim is not None:
            self._fetcher.cancel(wait.claim)
        if wait.task is not None:
            wait.task.cancel()

    def _fail(self, mount: Mount, number: int, error: PictofsError) -> None:
        what = str(error)
        if isinstance(error, RateLimited):
            what = f"{what} (no reader waits longer than timeout=; a longer ttl= asks the service less often)"
        if error.errno != errno.ESTALE:
            self._troubles.log(_log, what)
        mount.peer.send(Failed(number, error.errno, what, error.exit_code))

    # members

    def _members(self, mount: Mount, node: int) -> list[Membership]:
        """Whose a node is: one membership; for the root all. _Unknown for what this mount does not serve."""
        if not mount.attached:
            raise _Unknown("this connection has not attached")
        if node == ROOT_NODE:
            return list(mount.members.values())
        where = place(self._reader, node)
        member = mount.members.get(where.organization) if where else None
        if member is None:
            raise _Unknown("this node is not known (any more)")
        return [member]

    def _tell_idle(self) -> None:
        self._idle(not any(mount.attached for mount in self._mounts.values()))


def _nothing_arrived(wait: Wait) -> str:
    return f"nothing arrived for timeout={wait.timeout_s:g}s"


class _Unknown(PictofsError):
    """A node that is not this mount's."""

    errno = errno.ESTALE


def _changed(change: Change) -> Iterator[Changed]:
    """`change` in messages that fit a frame; each entry and node once."""
    entries = list(dict.fromkeys(change.entries))
    nodes = list(dict.fromkeys(change.nodes))
    bodies = list(dict.fromkeys(change.bodies))
    for start in range(0, max(len(entries), len(nodes), len(bodies)), CHANGED_ENTRIES):
        end = start + CHANGED_ENTRIES
        yield Changed(entries[start:end], nodes[start:end], bodies[start:end])
