"""The record of a live mount: a JSON file and a lock under the run directory, both gone when the mount is.

The lock is held by the supervisor for as long as it lives, so a record without its lock held is a leftover. A
pid alone proves nothing (it may be another process by now): the start time beside it does.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pictofs import __version__
from pictofs.errors import MountpointUnusable
from pictofs.mount import places

if TYPE_CHECKING:
    from pictofs.mount.plan import Plan

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What others need to know to find, ask and end a mount. `started` is the supervisor's start in clock
    ticks.
    """

    mountpoint: str
    source: str
    supervisor: int
    started: int
    version: str
    cache_dir: str
    log: str
    driver: str = ""
    io: str = ""
    serving: int = 0
    fetching: int = 0
    restarts: int = 0
    upgrades: int = 0
    ready: bool = False  # the present serving process answers
    organizations: tuple[tuple[int, str], ...] = ()  # (the catalog's pk, the setting), account by account

    def alive(self) -> bool:
        """Whether the supervisor of this record still runs."""
        return self.supervisor > 0 and start_ticks(self.supervisor) == self.started


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; -1 where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1
    fields = text[text.rindex(b")") + 2 :].split()
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def of(plan: Plan, attached: Mapping[str, Any], *, fetching: int, **now: Any) -> Record:
    """The record of the mount that this process supervises; `fetching`: its own child, 0 for another's."""
    names = (profile.organization or "" for profile in plan.settings.profiles)
    return Record(
        mountpoint=plan.mountpoint,
        source=plan.settings.source,
        supervisor=os.getpid(),
        started=start_ticks(os.getpid()),
        version=__version__,
        cache_dir=plan.settings.cache_dir,
        log=plan.log,
        fetching=fetching or int(attached.get("fetching", 0)),
        organizations=tuple(zip(attached.get("organizations", ()), names, strict=False)),
        **now,
    )


class RecordFile:
    """The record of one mountpoint on disk; `claim` first, `withdraw` last."""

    def __init__(self, run_dir: Path, mountpoint: str) -> None:
        self.path = run_dir / f"{places.name_of(mountpoint)}.json"
        self._lock_path = self.path.with_suffix(".lock")
        self._mountpoint = mountpoint
        self._lock = -1

    def claim(self, lock: int | None = None) -> None:
        """Take the mountpoint for this process; MountpointUnusable when another one holds it.

        `lock`: the claim of a former program of this process, which is taken over.
        """
        if lock is not None:
            self._lock = lock
            return
        places.own_directory(self.path.parent, "the folder for run files")
        while True:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise MountpointUnusable(
                    f"{self._mountpoint} is mounted by pictofs already; "
                    f"`pictofs umount {self._mountpoint}` first"
                ) from None
            # Its last holder may have removed the file between our open and our lock.
            if _same_file(lock, self._lock_path):
                self._lock = lock
                return
            os.close(lock)

    @property
    def lock(self) -> int:
        """The descriptor that holds the claim."""
        return self._lock

    def write(self, record: Record) -> None:
        """Publish the record, by rename; OSError where that cannot be, and the former one stays."""
        draft = self.path.with_suffix(".new")
        try:
            draft.write_text(json.dumps({"schema": SCHEMA, **asdict(record)}), encoding="utf-8")
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def withdraw(self) -> None:
        """Remove record and lock."""
        if self._lock >= 0:
            self.path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
            self.release()

    def release(self) -> None:
        """Forget the lock in a forked child: the file stays, the supervisor holds it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def load(path: Path) -> Record | None:
    """The record in a file; None where it is none (half written, or of another version)."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document.pop("schema") != SCHEMA:
            return None
        document["organizations"] = tuple((int(pk), str(name)) for pk, name in document["organizations"])
        # A later version may say more.
        return Record(**{f.name: document[f.name] for f in fields(Record) if f.name in document})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def live(run_dir: Path) -> list[Record]:
    """The records of all live mounts of this user, by mountpoint."""
    if not run_dir.is_dir():
        return []
    found = (load(path) for path in sorted(run_dir.glob("*.json")))
    return sorted((r for r in found if r is not None and r.alive()), key=lambda r: r.mountpoint)


def of_mountpoint(run_dir: Path, mountpoint: str) -> Record | None:
    """The live record of one mountpoint."""
    record = load(run_dir / f"{places.name_of(mountpoint)}.json")
    return record if record is not None and record.alive() and record.mountpoint == mountpoint else None


def updated(record: Record, **changes: Any) -> Record:
    """The record with some fields changed."""
    return replace(record, **changes)
