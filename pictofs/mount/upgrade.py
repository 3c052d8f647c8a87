"""`pictofs upgrade`, from the person's side: ask the supervisor, and wait until the mount answers again.

The program that asks is the newly installed one. It says in a file of the run directory, which is its user's
alone, which Python it is; SIGUSR2 tells the supervisor to look.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pictofs import __version__
from pictofs.errors import NotMounted, PictofsError
from pictofs.mount import mountpoint, places, record

LIMIT_S = 60.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Wanted:
    """The program that is to go on."""

    python: str
    pythonpath: str | None


def upgrade(path: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Have the mount at `path` go on as this program; (the former version, this one).

    NotMounted when nothing of this user's is there; PictofsError when it does not come back.
    """
    # What the supervisor is about to execute must at least load here.
    import pictofs.mount.resumed  # noqa: F401

    where = mountpoint.absolute(path)
    run_dir = places.run_dir(environ, os.getuid())
    known = record.of_mountpoint(run_dir, where)
    if known is None:
        raise NotMounted(f"{path}: nothing of pictofs is mounted there; `pictofs status` lists what is")
    request = _request(run_dir, where)
    draft = request.with_suffix(".draft")
    draft.write_text(json.dumps({"python": sys.executable, "pythonpath": environ.get("PYTHONPATH")}))
    draft.replace(request)
    os.kill(known.supervisor, signal.SIGUSR2)
    _await(known, run_dir, where, path)
    return known.version, __version__


def wanted(run_dir: Path, where: str) -> Wanted | None:
    """In the supervisor: the request, which is taken away; None where there is none to be read."""
    request = _request(run_dir, where)
    try:
        document = json.loads(request.read_bytes())
        request.unlink()
        return Wanted(str(document["python"]), document.get("pythonpath"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _request(run_dir: Path, where: str) -> Path:
    return run_dir / f"{places.name_of(where)}.upgrade"


def _await(before: record.Record, run_dir: Path, where: str, path: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    log = before.log or "its stderr"
    while True:
        now = record.of_mountpoint(run_dir, where)
        if now is None:
            raise PictofsError(f"{path} was unmounted, or its supervisor has ended; see {log}")
        if now.ready and now.serving != before.serving and now.upgrades > before.upgrades:
            return
        if time.monotonic() > deadline_s:
            raise PictofsError(f"{path} did not come back as {__version__} in {LIMIT_S:g} s; see {log}")
        time.sleep(_LOOK_S)
