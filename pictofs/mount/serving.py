"""The serving process: link, catalog, tree, vfs and driver joined, and the line to the supervisor.

The main thread is the driver's. A second one listens to the supervisor and connects again when the fetching
process has been replaced.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pictofs import __version__
from pictofs.catalog import CatalogReader
from pictofs.drivers import Driver
from pictofs.errors import PictofsError, Unreachable, UsageError
from pictofs.link import Client, LinkLost
from pictofs.link.messages import PROTOCOL, Account, Attach, Attached, Failed
from pictofs.mount import assembly, logs, mountpoint, record
from pictofs.mount.channel import Channel
from pictofs.mount.descriptor import KernelMount
from pictofs.mount.plan import Plan
from pictofs.mount.scraping import Scraping
from pictofs.vfs import Vfs

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05  # it may be about to listen; each pause after it is twice as long, up to the next
RECONNECT_S = 0.5  # before asking for a fetching process again
ATTACH_MARGIN_S = 10.0  # beyond `timeout`, within which the fetching process itself gives up


class Refused(PictofsError):
    """The fetching process said no to this mount."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
        _check_organization(plan, reader, attached)
        facts.fetching = attached.pid
        channel.send(
            "attached",
            organizations=attached.organizations,
            notes=attached.notes,
            **_fetching(attached),
        )
        served = kernel.served(_await(channel, "serve", facts)) if kernel is not None else None
        if served is not None:
            facts.io = served.negotiated.io
        vfs = assembly.join(plan, reader, attached, client, facts)
        vfs.on_link_lost = lambda: channel.send("link_lost")
        driver = assembly.driver(vfs, plan, served, told=_telling(plan, channel))
        listener = threading.Thread(
            target=_listen, args=(plan, channel, driver, vfs, facts), name="supervisor", daemon=True
        )
        listener.start()
        if client is None:
            channel.send("link_lost")
        scraping = Scraping(plan)

        def ready() -> None:
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


def _fetching(attached: Attached) -> dict[str, Any]:
    """What the supervisor is told of the process that is attached to; its start tells it from a later one."""
    started = record.start_ticks(attached.pid)
    return {"fetching": attached.pid, "fetching_started": started, "version": attached.version}


def _await(channel: Channel, word: str, facts: assembly.Facts) -> dict[str, Any]:
    while True:
        words = channel.receive()
        if words is None:
            raise _SupervisorGone
        for said in words:
            facts.restarts = said.get("restarts", facts.restarts)
            if said["say"] == word:
                return said


def attach(plan: Plan) -> tuple[Client, Attached]:
    """Connect to the fetching process and say who we are.

    LinkLost when nobody answers, Refused with its reason when it says no, Unreachable when it is silent.
    """
    client = Client(plan.socket)
    client.connect()
    request = Attach(client.next_id(), PROTOCOL, __version__, plan.mountpoint, os.getpid(), accounts(plan))
    try:
        answer = client.exchange(request, plan.settings.timeout_s + ATTACH_MARGIN_S)
    except TimeoutError:
        client.close()
        raise Unreachable("the fetching process does not answer; its log is fetch.log in cache_dir") from None
    except BaseException:
        client.close()
        raise
    if isinstance(answer, Attached):
        return client, answer
    client.close()
    assert isinstance(answer, Failed)
    raise Refused(answer.what, answer.exit_code)


def accounts(plan: Plan) -> list[Account]:
    """One account a profile, with the settings that the fetching process may act on."""
    settings = plan.settings
    acted_on = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in ("profiles", "ignored", "noexec")
    }
    return [
        Account(profile.base_url, key, profile.organization or "", profile.dialect, acted_on)
        for profile, key in zip(settings.profiles, plan.api_keys, strict=True)
    ]


def _check_organization(plan: Plan, reader: CatalogReader, attached: Attached) -> None:
    if plan.organization is None:
        return
    row = reader.organization(attached.organizations[0])
    names = {plan.settings.profiles[0].organization or ""}
    if row is not None:
        names |= {row.slug, row.name}
        if not row.remote_id.startswith("key:"):  # what stands for it where the service names none
            names.add(row.remote_id)
    names.discard("")
    if plan.organization not in names:
        called = " or ".join(sorted(map(repr, names))) or "unnamed by the service; -o organization= names it"
        raise UsageError(
            f"SOURCE {plan.organization!r} is no profile, and the key's organization is {called}"
        )


def _listen(plan: Plan, channel: Channel, driver: Driver, vfs: Vfs, facts: assembly.Facts) -> None:
    """The second thread: words of the supervisor. Whatever happens it listens on: nobody else relinks, and
    nobody else sees the supervisor end.
    """
    faults: set[type[Exception]] = set()
    while True:
        try:
            if not _heard(plan, channel, driver, vfs, facts):
                return
        except Exception as error:  # noqa: BLE001 - the outermost frame of a thread that must not end
            once = type(error) not in faults
            _log.error("the supervisor's word was not acted on: %r", error, exc_info=once)
            faults.add(type(error))
            time.sleep(RECONNECT_S)
            channel.send("link_lost")


def _heard(plan: Plan, channel: Channel, driver: Driver, vfs: Vfs, facts: assembly.Facts) -> bool:
    """Wait for words and act on them; False when there will be none any more."""
    words = channel.receive()
    if words is None:
        # With the supervisor nobody is left who could end this mount in order.
        _log.error("the supervisor has ended; unmounting")
        driver.stop()
        if plan.settings.overlay is not None:
            mountpoint.let_go(plan.mountpoint, lazy=True)
        return False
    for word in words:
        facts.restarts = word.get("restarts", facts.restarts)
    if any(word["say"] == "link" for word in words):
        _relink(plan, channel, driver, vfs, facts)
    return True


def _relink(plan: Plan, channel: Channel, driver: Driver, vfs: Vfs, facts: assembly.Facts) -> None:
    if vfs.fileno() >= 0:
        return  # word of a process that this one is connected to already
    try:
        client, attached = attach(plan)
    except LinkLost as error:
        _log.warning("%s", error)
    except PictofsError as error:
        # What is present goes on being served; the fetching process decides what may be, and is asked again.
        _log.error("%s", error)
    else:
        facts.fetching = attached.pid
        channel.send("linked", **_fetching(attached))
        driver.submit(lambda: vfs.relink(client))
        return
    again = threading.Timer(RECONNECT_S, lambda: channel.send("link_lost"))
    again.daemon = True
    again.start()
