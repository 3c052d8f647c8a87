"""Settings and keys read again while a mount lives: by which program, and what of it may be followed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from pictofs.config import Settings
from pictofs.mount import handover
from pictofs.mount.events import Events
from pictofs.mount.plan import Plan

LIMIT_S = 75.0  # longer than keys.py waits for a command
PROGRAM = "pictofs.mount.reread"

# What a live mount follows. The rest is what the kernel was told, or what names and sizes depend on that
# readers have seen.
_LIVE = """
    ttl_s timeout_s offline auth_grace_s prefetch bulk jobs bandwidth_bytes_s max_fetch_bytes_day
    cache_size_bytes min_free_bytes eviction ca_file proxy metrics log_level log_format
"""
LIVE = frozenset(_LIVE.split())
_NO_MATTER = frozenset(("profiles", "ignored", "foreground"))


@dataclass(frozen=True, slots=True)
class Difference:
    """A plan that may be followed, and how it differs from the former: names of fields."""

    plan: Plan
    followed: tuple[str, ...]
    left: tuple[str, ...]  # they differ, and take a new mount
    keys: bool


def difference(before: Plan, now: Plan) -> Difference:
    """`before` with what of `now` a live mount can follow. Pure."""
    names = [f.name for f in dataclasses.fields(Settings) if f.name not in _NO_MATTER]
    changed = [name for name in names if getattr(before.settings, name) != getattr(now.settings, name)]
    followed = tuple(name for name in changed if name in LIVE)
    left = [name for name in changed if name not in LIVE]
    profiles, api_keys = before.settings.profiles, before.api_keys
    if [_fixed(p) for p in profiles] == [_fixed(p) for p in now.settings.profiles]:
        profiles, api_keys = now.settings.profiles, now.api_keys
    else:
        left.append("profiles")
    settings = dataclasses.replace(
        before.settings, profiles=profiles, **{name: getattr(now.settings, name) for name in followed}
    )
    plan = dataclasses.replace(before, settings=settings, api_keys=api_keys)
    return Difference(plan, followed, tuple(left), api_keys != before.api_keys)


def _fixed(profile: object) -> object:
    return dataclasses.replace(profile, key=None)  # type: ignore[type-var]


class Rereading:
    """At most one program at a time. `read(plan)` or `failed(line)` is called once for each `start`."""

    def __init__(
        self, events: Events, *, read: Callable[[Plan], None], failed: Callable[[str], None]
    ) -> None:
        self._events = events
        self._read = read
        self._failed = failed
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._answer = b""

    @property
    def busy(self) -> bool:
        """A program reads."""
        return self._child is not None

    def start(self, plan: Plan) -> None:
        """Have it read."""
        assert self._child is None, "one program at a time"
        paper = os.memfd_create("pictofs-plan", 0)
        receive, send = os.pipe()
        try:
            os.write(paper, json.dumps(handover.written(plan)).encode())
            self._child = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, str(paper), str(send)], cwd="/", env=dict(plan.environ),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(paper, send), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            os.close(receive)
            self._failed(f"no program can be started: {error}")
            return
        finally:
            os.close(paper)
            os.close(send)
        self._pipe, self._answer = receive, b""
        self._events.on_readable(receive, self._hear)
        self._events.after("reread", LIMIT_S, self._too_long)

    def stop(self) -> None:
        """End the program, if one reads; nothing is called."""
        if self._child is None:
            return
        self._close()
        self._child.kill()
        self._child.wait()
        self._child = None

    def let_go(self) -> None:
        """In a forked child: both are the supervisor's."""
        if self._child is not None:
            os.close(self._pipe)
            self._child.returncode = 0  # or Popen would warn that it still runs
            self._child = None

    def _hear(self) -> None:
        chunk = os.read(self._pipe, 1 << 20)
        if chunk:
            self._answer += chunk
            return
        assert self._child is not None
        self._close()
        self._child.wait()  # it has closed the pipe as the last thing that it does
        self._child = None
        try:
            word = json.loads(self._answer)
        except ValueError:
            self._failed("the program that reads them ended without an answer")
            return
        if "plan" in word:
            self._read(handover.read(word["plan"]))
        else:
            self._failed(word["error"])

    def _too_long(self) -> None:
        self.stop()
        self._failed(f"they could not be read within {LIMIT_S:.0f} s")

    def _close(self) -> None:
        self._events.cancel(("reread",))
        self._events.forget(self._pipe)
        os.close(self._pipe)
