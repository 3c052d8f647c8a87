"""Unmounting, as a person asks for it: from outside, by path, until nothing of the mount is left."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping

from pictofs.drivers import mountinfo
from pictofs.errors import NotMounted
from pictofs.mount import mountpoint, places, record
from pictofs.mount.mountpoint import Busy

PATIENCE_S = 0.5  # a reader that has just closed its file may still be counted
LIMIT_S = 30.0  # the supervisor's own bounds add up to less


def leave(path: str, environ: Mapping[str, str], *, lazy: bool = False) -> None:
    """Unmount `path` and wait until its processes have ended.

    NotMounted when nothing of ours is there. Busy, naming who holds it where that can be seen; `lazy` lets
    the readers finish instead.
    """
    where = mountpoint.absolute(path)
    known = record.of_mountpoint(places.run_dir(environ, os.getuid()), where)
    above = mountinfo.at(where)
    mounted = above is not None and above.ours
    if not mounted and known is None:
        raise NotMounted(f"{path}: nothing of pictofs is mounted there; `pictofs status` lists what is")
    if known is not None and (lazy or not mounted):
        os.kill(known.supervisor, signal.SIGTERM)
    elif lazy:
        mountpoint.unmount(where, lazy=True)
    else:
        _unmount(where)
    if known is not None:
        _await_end(known, path)


def _unmount(where: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            mountpoint.unmount(where)
        except Busy:
            if time.monotonic() >= deadline:
                raise mountpoint.busy_because(where) from None
            time.sleep(0.05)
        else:
            return


def _await_end(known: record.Record, path: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    try:
        process = os.pidfd_open(known.supervisor)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        process = -1  # an old kernel, or none of Linux
    try:
        while known.alive():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise NotMounted(
                    f"{path} is unmounted, but its process {known.supervisor} does not end; see its log"
                )
            if process >= 0:
                select.select([process], [], [], left_s)
            else:
                time.sleep(min(0.05, left_s))
    finally:
        if process >= 0:
            os.close(process)
