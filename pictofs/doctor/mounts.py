"""What is mounted: whether it answers, how it stands towards the service, and what went wrong lately."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pictofs import __version__
from pictofs.doctor.finding import Finding, bad, good, poor
from pictofs.drivers import mountinfo
from pictofs.drivers.kernel import mounting
from pictofs.mount import places, record, report
from pictofs.mount.record import Record

RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Live:
    """A mount with a supervisor, and its status document; None when it does not answer."""

    record: Record
    status: Mapping[str, Any] | None


def look(environ: Mapping[str, str]) -> list[Live]:
    """The mounts of this user, each asked."""
    return [
        Live(each, report.told(each.mountpoint))
        for each in record.live(places.run_dir(environ, os.getuid()))
    ]


def strays(mounts: Iterable[Live]) -> dict[str, bool]:
    """Mounts of pictofs without a supervisor of this user → whether their daemon has gone."""
    known = {live.record.mountpoint for live in mounts}
    return {
        each.mountpoint: mounting.dead(each.mountpoint)
        for each in mountinfo.ours()
        if each.mountpoint not in known and not each.mountpoint.endswith(mountinfo.BENEATH)
    }


def checks(mounts: Iterable[Live], others: Mapping[str, bool]) -> Iterator[Finding]:
    """One for each mount, and one for each that is not of this user; `others` are the `strays`."""
    found = [mount(live) for live in mounts]
    found += [stray(mountpoint, is_dead) for mountpoint, is_dead in sorted(others.items())]
    yield from found or [good("mount", "nothing is mounted")]


def stray(mountpoint: str, is_dead: bool) -> Finding:
    """A mount without a supervisor of this user."""
    if is_dead:
        what = f"{mountpoint} has lost its daemon (Transport endpoint is not connected)"
        return bad("mount", what, f"`fusermount3 -uz {mountpoint}`; a new mount there does it too")
    return good("mount", f"{mountpoint} is served by another user's pictofs")


def mount(live: Live) -> Finding:
    """One mount."""
    where, status = live.record.mountpoint, live.status
    if status is None:
        mend = f"its log is {live.record.log or 'on its stderr'}; `pictofs umount --lazy {where}` lets it go"
        return bad("mount", f"{where} does not answer", mend)
    if status.get("refused"):
        return bad("mount", f"{where}: the service refuses its key", "give it a key that is good")
    if not status.get("online"):
        return poor("mount", f"{where}: the service is away; what is known is served", _last_error(status))
    if live.record.version != __version__:
        what = f"{where} runs pictofs {live.record.version}, and this is {__version__}"
        return poor("mount", what, f"`pictofs upgrade {where}`")
    if live.record.restarts >= RESTARTS:
        what = f"{where}: {live.record.restarts} processes of it died and were replaced"
        return poor("mount", what, f"attach a bundle to a bug report; its log is {live.record.log}")
    errors = status.get("errors") or []
    lately = f"; lately: {errors[-1].get('what', '')}" if errors else ""
    return good("mount", f"{where} answers, io={status.get('io')}, online{lately}")


def _last_error(status: Mapping[str, Any]) -> str:
    errors = status.get("errors") or []
    return str(errors[-1].get("what", "")) if errors else "see the lines about the service"
