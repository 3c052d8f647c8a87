"""The serving process: link, catalog, tree, vfs and driver joined, and the line to the supervisor.

The main thread is the driver's. A second one listens to the supervisor and connects again when the fetching
process has been replaced.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pictofs.catalog import CatalogReader
from pictofs.errors import PictofsError, Unreachable
from pictofs.link import Client, LinkLost
from pictofs.link.messages import Attached
from pictofs.mount import assembly, background, logs
from pictofs.mount.attaching import ATTACH_MARGIN_S, attach, check_organization, fetching
from pictofs.mount.channel import Channel
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.listening import RECONNECT_S, Listener
from pictofs.mount.plan import Plan
from pictofs.mount.scraping import Scraping

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05  # it may be about to listen; each pause after it is twice as long, up to the next


class _SupervisorGone(Exception):
    """The other end of the line is closed."""


def become(
    plan: Plan,
    channel: Channel,
    kernel: KernelMount | None,
    facts: assembly.Facts,
    known: Mapping[str, Any],
    let_go: Callable[[], None],
) -> NoReturn:
    """In a fork of the supervisor: let go of what is the supervisor's, and be the serving process."""
    code = 1
    try:
        let_go()
        logs.configure(plan.settings, "serving", plan.log)
        code = run(plan, channel, kernel, facts, known)
    except Exception:  # noqa: BLE001 - the outermost frame of a forked process
        _log.critical("the serving process failed", exc_info=True)
    finally:
        os._exit(code)


def run(
    plan: Plan, channel: Channel, kernel: KernelMount | None, facts: assembly.Facts, known: Mapping[str, Any]
) -> int:
    """Serve until unmounted; the exit code. Word of success and failure goes through `channel`.

    `known`: what a predecessor said when it was attached. Then what is on disk is served at once, and the
    fetching process, which may have ended too, is attached to meanwhile.
    """
    _prepare_signals(plan.log)
    try:
        client: Client | None = None
        if known:
            attached = Attached(0, known["fetching"], known["version"], known["organizations"], [], [])
        else:
            client, attached = _attach_first(plan, channel, facts)
        reader = CatalogReader.open(os.path.join(plan.settings.cache_dir, "catalog.sqlite"))
        check_organization(plan, reader, attached)
        facts.fetching = attached.pid
        channel.send(
            "attached",
            organizations=attached.organizations,
            notes=attached.notes,
            **fetching(attached),
        )
        served = kernel.served(_await(channel, "serve", facts)) if kernel is not None else None
        if served is not None:
            facts.io = served.negotiated.io
        vfs = assembly.join(plan, reader, attached, client, facts)
        vfs.on_link_lost = lambda: channel.send("link_lost")
        vfs.on_refused = lambda refused: channel.send("refused" if refused else "accepted")
        driver = assembly.driver(vfs, plan, served, told=_telling(plan, channel))
        listener = Listener(plan, channel, driver, vfs, facts, attached.organizations)
        threading.Thread(target=listener.run, name="supervisor", daemon=True).start()
        if client is None:
            channel.send("link_lost")
        scraping = Scraping(plan)

        def ready() -> None:
            background.stand_apart()  # not before it is mounted, as in `background`
            channel.send("ready", io=facts.io)
            scraping.start()

        try:
            driver.serve(plan.beneath, ready)
        finally:
            scraping.stop()
    except PictofsError as error:
        channel.send("failed", error=str(error), exit_code=error.exit_code)
        return 1
    except _SupervisorGone:
        return 1
    vfs.close()
    channel.send("gone")
    return 0


def _telling(plan: Plan, channel: Channel) -> Callable[[], None]:
    """What the driver calls after changes: only an overlay has to know of them."""
    if plan.settings.overlay is None:
        return lambda: None
    return lambda: channel.send("changed")


def _prepare_signals(log: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's; the supervisor acts on them
    # A loop that hangs is dumped by the supervisor's SIGUSR1; the handler needs no interpreter lock.
    to = open(log, "a") if log else sys.stderr  # noqa: SIM115 - open for as long as the process lives
    faulthandler.register(signal.SIGUSR1, file=to, all_threads=True)


def _attach_first(plan: Plan, channel: Channel, facts: assembly.Facts) -> tuple[Client, Attached]:
    pause_s, deadline_s = FIRST_PAUSE_S, None
    while True:
        _await(channel, "link", facts)
        # Counted from the first word: until there is one, the supervisor sees to it.
        deadline_s = deadline_s or time.monotonic() + plan.settings.timeout_s + ATTACH_MARGIN_S
        try:
            return attach(plan)
        except LinkLost as error:
            _log.warning("%s", error)
        if time.monotonic() > deadline_s:
            raise Unreachable(
                "a fetching process holds cache_dir and cannot be reached; its log is fetch.log there"
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, RECONNECT_S)
        channel.send("link_lost")


def _await(channel: Channel, word: str, facts: assembly.Facts) -> dict[str, Any]:
    while True:
        words = channel.receive()
        if words is None:
            raise _SupervisorGone
        for said in words:
            facts.restarts = said.get("restarts", facts.restarts)
            if said["say"] == word:
                return said
