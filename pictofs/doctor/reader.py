"""`pictofs explain PID`: where the time of a reader goes, by looking at its threads for a while.

A thread that waits for a FUSE request says so in its wchan; one that waits for a page of a file that is being
read ahead says only that it waits for a page: then the descriptor that its system call is about tells whose.
What a process is doing at a moment is what its busiest thread does: waiting for pictofs comes before
computing, since a data loader's main thread that spins is not what bounds it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictofs.doctor import verdicts
from pictofs.errors import UsageError
from pictofs.mount import places, record, report

LOOK_S = 2.0
SAMPLES_S = 20           # a second
SHOWN_FILES = 20
STATES = ("pictofs", "computing", "disk", "other")
_PAGES = ("folio", "page", "filemap")


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread at one moment. `descriptor` is its system call's first argument, -1 outside of one."""

    tid: int
    state: str
    wchan: str
    descriptor: int


@dataclass(frozen=True, slots=True)
class Open:
    """A file that it has open on a mount."""

    descriptor: int
    path: str
    offset: int
    mountpoint: str


def explain(
    pid: int,
    environ: Mapping[str, str],
    *,
    seconds: float = LOOK_S,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Looks for so many seconds. UsageError where there is no such process, or it may not be looked at."""
    name = name_of(pid)
    points = [mount.mountpoint for mount in record.live(places.run_dir(environ, os.getuid()))]
    before = {point: report.told(point) for point in points}
    read_before = _read_bytes(pid)
    seen: Counter[str] = Counter()
    waits_for: dict[tuple[str, int], dict[str, Any]] = {}
    begun_s = time.monotonic()
    rounds = max(1, round(seconds * SAMPLES_S))
    tids: set[int] = set()
    for at in range(rounds):
        now = threads(pid)
        if not now:
            break
        tids |= {thread.tid for thread in now}
        files = {file.descriptor for file in opened(pid, points)}
        seen[doing(now, files)] += 1
        if at % SAMPLES_S == SAMPLES_S // 2:
            for point in points:
                waits_for |= _flights(report.told(point), tids)
        sleep(max(0.0, begun_s + (at + 1) * seconds / rounds - time.monotonic()))
    took_s = time.monotonic() - begun_s
    read = max(0, _read_bytes(pid) - read_before)
    files_now = opened(pid, points)
    found = {
        "pid": pid,
        "name": name,
        "threads": len(tids),
        "seconds": round(took_s, 2),
        "shares": {state: round(seen[state] / max(1, sum(seen.values())), 3) for state in STATES},
        "read": {"bytes": read, "bytes_s": round(read / took_s) if took_s else 0},
        "open": [
            {"descriptor": f.descriptor, "path": f.path, "offset": f.offset, "mountpoint": f.mountpoint}
            for f in files_now[:SHOWN_FILES]
        ],
        "waits_for": list(waits_for.values())[:SHOWN_FILES],
        "mounts": [
            between(point, before[point], after)
            for point in points
            if (after := report.told(point)) is not None
        ],
    }
    return {**found, "verdict": verdicts.of_reader(found)}


def name_of(pid: int) -> str:
    """Its name; UsageError without a process that may be looked at."""
    folder = Path(f"/proc/{pid}")
    try:
        name = (folder / "comm").read_text(errors="replace").strip()
        os.listdir(folder / "fd")
    except FileNotFoundError:
        raise UsageError(f"there is no process {pid}; name one that runs, or a path on a mount") from None
    except OSError as error:
        raise UsageError(
            f"process {pid} is another user's ({error.strerror}): explain it as that user, or as root"
        ) from error
    return name


def doing(now: list[Thread], files: set[int]) -> str:
    """One of STATES: of all that its threads do, what tells most."""
    states = {_of_thread(thread, files) for thread in now}
    return next((state for state in STATES if state in states), "other")


def _of_thread(thread: Thread, files: set[int]) -> str:
    if "fuse" in thread.wchan or thread.wchan == "request_wait_answer":
        return "pictofs"
    if any(word in thread.wchan for word in _PAGES):
        return "pictofs" if thread.descriptor in files else "disk"
    if thread.state == "R":
        return "computing"
    return "disk" if thread.state == "D" else "other"


def threads(pid: int) -> list[Thread]:
    """All threads of a process, now; none when it has ended."""
    found = []
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    for tid in tids:
        folder = Path(f"/proc/{pid}/task/{tid}")
        try:
            state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            descriptor = descriptor_of(_word(folder / "syscall"))
            found.append(Thread(tid, state, _word(folder / "wchan"), descriptor))
        except (OSError, IndexError):
            continue  # it has ended
    return found


def descriptor_of(syscall: str) -> int:
    """The first argument of a line of /proc/PID/syscall; -1 where there is none."""
    words = syscall.split()
    if len(words) < 2 or not words[0].isdigit():
        return -1
    return int(words[1], 16)


def opened(pid: int, points: list[str]) -> list[Open]:
    """Files that a process has open below the mountpoints."""
    found = []
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []
    for name in descriptors:
        try:
            path = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue  # it has closed it
        point = next((p for p in points if path == p or path.startswith(p.rstrip("/") + "/")), None)
        if point is not None:
            found.append(Open(int(name), path, _offset(pid, name), point))
    return found


def between(point: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any]:
    """What a mount did meanwhile, for all its readers."""
    then = before if before is not None and before.get("pids") == after.get("pids") else after

    def grown(group: str, name: str) -> int:
        return int((after.get(group) or {}).get(name, 0)) - int((then.get(group) or {}).get(name, 0))

    return {
        "mountpoint": point,
        "online": bool(after.get("online")),
        "refused": bool(after.get("refused")),
        "disk": grown("hits", "disk"),
        "network": grown("hits", "network"),
        "read_bytes": grown("read", "bytes"),
        "fetched_bytes": int(after.get("bytes_fetched", 0)) - int(then.get("bytes_fetched", 0)),
        "queue": after.get("queue") or {},
        "budget": after.get("budget") or {},
    }


def _flights(status: Mapping[str, Any] | None, tids: set[int]) -> dict[tuple[str, int], dict[str, Any]]:
    flights = (status or {}).get("flights") or []
    return {(each["path"], each["block"]): each for each in flights if tids & set(each["pids"])}


def _read_bytes(pid: int) -> int:
    for line in _word(Path(f"/proc/{pid}/io")).splitlines():
        name, _, number = line.partition(": ")
        if name == "rchar":
            return int(number)
    return 0


def _offset(pid: int, name: str) -> int:
    for line in _word(Path(f"/proc/{pid}/fdinfo/{name}")).splitlines():
        key, _, number = line.partition(":")
        if key == "pos":
            return int(number)
    return 0


def _word(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
