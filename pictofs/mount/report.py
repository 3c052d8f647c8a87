"""The state of mounts, asked from outside: what `.pictofs/status.json` says, and the record where it does not
answer.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from pictofs.errors import NotMounted
from pictofs.mount import mountpoint, places, record

# One open is two lookups (does the name still lead there? to another text; so where?), and each waits two
# seconds for a silent fetching process. A mount that takes longer hangs.
ANSWER_LIMIT_S = 5.0


def all_mounts(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """The documents of every live mount of this user, by mountpoint."""
    return [document(known) for known in record.live(places.run_dir(environ, os.getuid()))]


def one_mount(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The document of one mount; NotMounted when nothing of this user's is there."""
    where = mountpoint.absolute(path)
    known = record.of_mountpoint(places.run_dir(environ, os.getuid()), where)
    if known is None:
        raise NotMounted(f"{path}: nothing of pictofs is mounted there; `pictofs status` lists what is")
    return document(known)


def document(known: record.Record) -> dict[str, Any]:
    """What the mount says of itself; of one that does not answer, what its record says and that it is silent.
    """
    told_now = told(known.mountpoint) or _silent(known)
    told_now["pids"] = {"supervisor": known.supervisor, "serving": known.serving, "fetching": known.fetching}
    told_now["restarts"] = known.restarts
    return told_now


def told(mountpoint: str) -> dict[str, Any] | None:
    """What the mount says, given up after ANSWER_LIMIT_S: a mount may hang, who asks must not."""
    path = os.path.join(mountpoint, ".pictofs", "status.json")
    found: list[dict[str, Any]] = []

    def read() -> None:
        try:
            with open(path, "rb") as file:
                found.append(json.load(file))
        except (OSError, ValueError):
            pass  # no answer is the answer

    reader = threading.Thread(target=read, name="status", daemon=True)
    reader.start()
    reader.join(ANSWER_LIMIT_S)
    return found[0] if found else None


def _silent(known: record.Record) -> dict[str, Any]:
    return {
        "schema": 1,
        "version": known.version,
        "mountpoint": known.mountpoint,
        "source": known.source,
        "driver": known.driver,
        "io": known.io,
        "dialect": "",
        "online": False,
        "pids": {},
        "restarts": known.restarts,
        "requests": {"api": 0, "storage": 0},
        "bytes_fetched": 0,
        "cache": {"dir": known.cache_dir, "bytes": 0, "limit": 0, "files": 0},
        "budget": {"limit": None, "remaining": None, "reset": None},
        "queue": {"demand": 0, "look_ahead": 0, "fill": 0},
        "transfers": 0,
        "flights": [],
        "links": {"urls": 0, "capacity": 0, "expires": None},
        "datasets": [],
        "errors": [{"time": "", "what": "the mount does not answer; see " + (known.log or "its stderr")}],
    }
