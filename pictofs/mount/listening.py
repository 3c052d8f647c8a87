"""The serving process' thread beside its driver's: words of the supervisor, and the link made anew.

Whatever happens it listens on: nobody else relinks, and nobody else sees the supervisor end.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from typing import Any

from pictofs import secrets, stacks
from pictofs.drivers import Driver
from pictofs.errors import KeyRefused, PictofsError
from pictofs.link import Client, LinkLost
from pictofs.link.messages import Attached
from pictofs.mount import assembly, handover, mountpoint
from pictofs.mount.attaching import attach, fetching
from pictofs.mount.channel import Channel
from pictofs.mount.plan import Plan
from pictofs.vfs import Vfs

_log = logging.getLogger(__name__)

RECONNECT_S = 0.5  # before asking for a fetching process again
REFUSED_S = 5.0    # before a key that was refused is tried again over a new link
DUMP_LIMIT_S = 2.0
_LINK_TRIES = 20   # of a reload: the fetching process may be on its way back


class Listener:
    """`run` returns when the supervisor has ended, having unmounted."""

    def __init__(
        self, plan: Plan, channel: Channel, driver: Driver, vfs: Vfs, facts: assembly.Facts,
        organizations: list[int],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._channel = channel
        self._driver = driver
        self._vfs = vfs
        self._facts = facts
        self._organizations = list(organizations)
        self._faults: set[type[Exception]] = set()

    def run(self) -> None:
        """The thread."""
        while True:
            try:
                if not self._heard():
                    return
            except Exception as error:  # noqa: BLE001 - the outermost frame of a thread that must not end
                once = type(error) not in self._faults
                _log.error("the supervisor's word was not acted on: %r", error, exc_info=once)
                self._faults.add(type(error))
                time.sleep(RECONNECT_S)
                self._channel.send("link_lost")

    def _heard(self) -> bool:
        """Wait for words and act on them; False when there will be none any more."""
        words = self._channel.receive()
        if words is None:
            # With the supervisor nobody is left who could end this mount in order.
            _log.error("the supervisor has ended; unmounting")
            self._driver.stop()
            if self._plan.settings.overlay is not None:
                mountpoint.let_go(self._plan.mountpoint, lazy=True)
            return False
        for word in words:
            self._facts.restarts = word.get("restarts", self._facts.restarts)
            if word["say"] == "reload":
                self._reload(handover.read(word["plan"]))
            elif word["say"] == "dump":
                self._dump()
        if any(word["say"] == "link" for word in words):
            self._relink()
        return True

    # the link

    def _relink(self) -> None:
        if self._vfs.fileno() >= 0:
            return  # word of a process that this one is connected to already
        pause_s = RECONNECT_S
        try:
            client, attached = attach(self._plan)
        except LinkLost as error:
            _log.warning("%s", error)
        except PictofsError as error:
            # What is present goes on being served; the fetching process decides what may be, and is asked
            # again.
            _log.error("%s", error)
            if error.exit_code == KeyRefused.exit_code:
                pause_s = REFUSED_S
                self._channel.send("refused")
        else:
            self._linked(client, attached)
            return
        again = threading.Timer(pause_s, lambda: self._channel.send("link_lost"))
        again.daemon = True
        again.start()

    def _linked(self, client: Client, attached: Attached) -> None:
        self._facts.fetching = attached.pid
        self._channel.send("linked", **fetching(attached))
        self._driver.submit(lambda: self._vfs.relink(client))

    def _reload(self, plan: Plan) -> None:
        secrets.remember(*plan.api_keys)
        try:
            client, attached = self._attach_patiently(plan)
        except PictofsError as error:
            self._channel.send("reloaded", error=str(error), notes=[])
            return
        if attached.organizations != self._organizations:
            client.close()
            what = "the key is another organization's, and that takes unmounting and mounting again"
            self._channel.send("reloaded", error=what, notes=[])
            return
        self._plan = plan
        self._linked(client, attached)
        self._channel.send("reloaded", error="", notes=attached.notes)

    def _attach_patiently(self, plan: Plan) -> tuple[Client, Attached]:
        for _ in range(_LINK_TRIES):
            try:
                return attach(plan, self._organizations)
            except LinkLost:
                time.sleep(RECONNECT_S)
        return attach(plan, self._organizations)

    # the state dump

    def _dump(self) -> None:
        """Stacks first: the loop, which knows the rest, may hang."""
        _log.info("state dump: stacks\n%s", stacks.of_threads())
        self._channel.send("dumped")
        found: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(
            target=lambda: self._driver.submit(lambda: found.put(self._vfs.report.dump())),
            name="dump", daemon=True,
        ).start()  # fmt: skip
        try:
            _log.info("state dump: state %s", json.dumps(found.get(timeout=DUMP_LIMIT_S), default=str))
        except queue.Empty:
            _log.error("state dump: the loop has not answered within %g s", DUMP_LIMIT_S)
