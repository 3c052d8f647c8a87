"""A supervisor's hand-over to itself: `pictofs upgrade` has it execute the newly installed program instead.

    supervisor                              the same process, from the new installation
      write down what it holds   ──exec──▶    read it, take over the descriptors
      (the serving process goes on)           fetching process: replaced when it is older
                                              a new serving process starts and attaches
                                              the former is killed, the new one gets the kernel's descriptor

What is written down is one JSON object in a memfd: it holds the API keys, which must reach no disk and no
argument. A later program may know more settings or fewer than the one that wrote: what it does not know it
leaves, what it misses has its default.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pictofs import __version__
from pictofs.config import KeySource, Profile, Settings
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)

SCHEMA = 1
PROGRAM = "pictofs.mount.resumed"
SIGNALS = frozenset(
    (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Before:
    """What the former supervisor held. Descriptors are -1 and pids 0 where there is none."""

    plan: Plan
    driver: str
    io: str
    restarts: int
    upgrades: int
    lock: int
    serving: int
    channel: int
    fetching: int
    fuse: int = -1
    shared: int = -1
    negotiated: str = ""
    attached: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    def holding(self, fuse: int, shared: int, negotiated: str) -> Before:
        """With the kernel's side of it."""
        return dataclasses.replace(self, fuse=fuse, shared=shared, negotiated=negotiated)

    @property
    def descriptors(self) -> list[int]:
        """Those that must outlive the exec."""
        return [fd for fd in (self.lock, self.channel, self.fuse, self.shared) if fd >= 0]


def pack(before: Before) -> bytes:
    """As JSON, keys included."""
    document = {f.name: getattr(before, f.name) for f in dataclasses.fields(before)}
    return json.dumps({"schema": SCHEMA, **document, "plan": written(before.plan)}).encode()


def written(plan: Plan) -> dict[str, Any]:
    """A plan as JSON has it, keys included."""
    document = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    return document | {"settings": dataclasses.asdict(plan.settings), "run_dir": str(plan.run_dir)}


def unpack(text: bytes) -> Before:
    """What `pack` of this or another version wrote; ValueError for what cannot be understood."""
    document = json.loads(text)
    if document.pop("schema") != SCHEMA:
        raise ValueError("the former program hands over in another way")
    return known(Before, {**document, "plan": read(document["plan"])})


def read(plan: Mapping[str, Any]) -> Plan:
    """The plan that `written` wrote, of this or another version."""
    said = plan["settings"]
    profiles = tuple(
        known(Profile, {**profile, "key": known(KeySource, profile["key"])}) for profile in said["profiles"]
    )
    settings = known(Settings, {**said, "profiles": profiles, "ignored": tuple(said.get("ignored", ()))})
    values = {"settings": settings, "run_dir": Path(plan["run_dir"]), "given": tuple(plan.get("given", ()))}
    return known(Plan, {**plan, **values, "api_keys": tuple(plan["api_keys"])})


def known(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from those of the values that it has a field for."""
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})


def execute(before: Before, python: str, pythonpath: str | None) -> NoReturn:
    """Become the program that `python` finds under PYTHONPATH; OSError where that cannot be, and all is as
    before.

    Signals are held back until the new program takes them: their default would end it.
    """
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pythonpath is not None:
        environ["PYTHONPATH"] = pythonpath
    paper = os.memfd_create("pictofs-handover", 0)
    kept: list[int] = []
    folder = -1
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        kept = [fd for fd in before.descriptors if not os.get_inheritable(fd)]
        # By descriptor: the path of a folder that was removed cannot be told, nor be returned to.
        folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        with open(paper, "wb", closefd=False) as file:
            file.write(pack(before))
        for fd in kept:
            os.set_inheritable(fd, True)
        os.chdir("/")  # -m looks where we are first
        os.execve(python, [python, "-m", PROGRAM, str(paper)], environ)
    finally:
        if folder >= 0:
            os.fchdir(folder)
            os.close(folder)
        for fd in kept:
            os.set_inheritable(fd, False)
        os.close(paper)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def received(paper: int) -> Before:
    """In the new program: what was written down. Descriptors are ours alone again."""
    with open(paper, "rb") as file:
        file.seek(0)
        before = unpack(file.read())
    # Children are to be of the same installation as this program.
    environ = {name: value for name, value in before.plan.environ.items() if name != "PYTHONPATH"}
    if "PYTHONPATH" in os.environ:
        environ["PYTHONPATH"] = os.environ["PYTHONPATH"]
    before = dataclasses.replace(before, plan=dataclasses.replace(before.plan, environ=environ))
    for fd in before.descriptors:
        os.set_inheritable(fd, False)
    return before


def older(version: str, than: str = __version__) -> bool:
    """Whether a version comes before another, by its leading numbers."""
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return numbers
