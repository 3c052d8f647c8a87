"""The kernel driver's mount as the supervisor holds it: the descriptor, and what was agreed in INIT.

The kernel sends INIT once, so whoever serves next must be told; the supervisor tells it with every hand-over.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from pictofs.drivers.kernel import handshake, mounting
from pictofs.drivers.kernel.handshake import Negotiated
from pictofs.drivers.kernel.shared import BUSY_SINCE, Shared
from pictofs.errors import PictofsError
from pictofs.mount.plan import Plan

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """What a serving process needs of the kernel's side. `resend`: others have served this mount before."""

    fd: int
    negotiated: Negotiated
    shared: Shared
    resend: bool


class KernelMount:
    """A mount that lives as long as `fd` is open somewhere. `shared` outlives every serving process."""

    def __init__(self) -> None:
        self.fd = -1
        self.shared = Shared.create()
        self.negotiated: Negotiated | None = None
        self._hand_overs = 0

    def mount(self, plan: Plan) -> None:
        """Mount and answer INIT, once; NoFuse, MountpointUnusable."""
        if self.negotiated is not None:
            return
        settings = plan.settings
        fd = mounting.mount(
            plan.beneath, source=settings.source, allow_other=settings.allow_other, noexec=settings.noexec
        )
        try:
            self.negotiated = handshake.negotiate(fd, io=settings.io, cache_dir=settings.cache_dir)
        except BaseException:
            os.close(fd)
            _take_back(plan.beneath)
            raise
        self.fd = fd

    @property
    def io(self) -> str:
        """What was agreed: `passthrough` falls back to `cache` where it is not permitted."""
        return self.negotiated.io if self.negotiated is not None else ""

    @property
    def notes(self) -> list[str]:
        """Lines for the person who mounts."""
        return [self.negotiated.note] if self.negotiated is not None and self.negotiated.note else []

    @property
    def resends(self) -> bool:
        """Whether the kernel asks a successor again what it had asked (Linux 6.9)."""
        return self.negotiated is None or self.negotiated.resend

    def held(self) -> tuple[int, int, str]:
        """What `adopt` takes."""
        assert self.negotiated is not None, "mounted first"
        return self.fd, self.shared.fd, self.negotiated.to_json()

    def adopt(self, fd: int, shared: int, negotiated: str) -> None:
        """Take over the mount of a former program of this process."""
        self.shared.close()
        self.fd, self.shared, self.negotiated = fd, Shared(shared), Negotiated.from_json(negotiated)
        self._hand_overs = 1

    def forsake(self) -> None:
        """The mount is given up for a new one: what was asked of it fails."""
        self.let_go()
        self.negotiated, self._hand_overs = None, 0
        self.shared.close()
        self.shared = Shared.create()

    def state(self) -> dict[str, Any]:
        """What goes along with the descriptor, for `served`."""
        assert self.negotiated is not None, "mounted first"
        self._hand_overs += 1
        self.shared.words[BUSY_SINCE] = 0  # its last writer may have ended in the middle of a request
        return {"negotiated": self.negotiated.to_json(), "resend": self._hand_overs > 1}

    def served(self, word: dict[str, Any]) -> Served:
        """In the serving process: what the word `serve` says. `shared` was inherited with the fork."""
        return Served(word["fd"], Negotiated.from_json(word["negotiated"]), self.shared, word["resend"])

    def close(self) -> None:
        """Let go of the descriptor; with the serving process gone too, the connection ends."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.shared.close()

    def let_go(self) -> None:
        """In the serving process, which has its own copy from the line: the descriptor is the supervisor's.
        """
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _take_back(mountpoint: str) -> None:
    try:
        mounting.unmount(mountpoint, lazy=True)
    except PictofsError as error:
        _log.warning("%s", error)
