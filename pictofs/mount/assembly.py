"""The rooms joined for one serving process: tree on catalog, vfs on tree, driver on vfs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pictofs import __version__
from pictofs.catalog import CatalogReader
from pictofs.drivers import Driver
from pictofs.link import Client
from pictofs.link.messages import Attached
from pictofs.mount.descriptor import Served
from pictofs.mount.plan import Plan
from pictofs.tree import Root, Tree
from pictofs.vfs import Vfs


@dataclass(slots=True)
class Facts:
    """What a mount knows of itself, for `.pictofs/status.json`; the supervisor's part comes over its line."""

    plan: Plan
    driver: str
    io: str
    supervisor: int
    fetching: int = 0
    restarts: int = 0
    serving: int = field(default_factory=os.getpid)

    def __call__(self) -> dict[str, Any]:
        """As `vfs.report` wants it."""
        return {
            "version": __version__,
            "mountpoint": self.plan.mountpoint,
            "source": self.plan.settings.source,
            "driver": self.driver,
            "io": self.io,
            "pids": {"supervisor": self.supervisor, "serving": self.serving, "fetching": self.fetching},
            "restarts": self.restarts,
        }


def roots(plan: Plan, attached: Attached) -> list[Root]:
    """One first directory for each account, in order."""
    return [
        Root(organization, profile.organization or "")
        for organization, profile in zip(attached.organizations, plan.settings.profiles, strict=True)
    ]


def join(plan: Plan, reader: CatalogReader, attached: Attached, client: Client | None, facts: Facts) -> Vfs:
    """Tree and vfs over the catalog and an attached link; without one, over what is here until `relink`."""
    tree = Tree(reader, roots(plan, attached), plan.settings)
    return Vfs(tree, client, plan.settings, time.monotonic, facts=facts)


def driver(
    vfs: Vfs, plan: Plan, served: Served | None, told: Callable[[], None] = lambda: None
) -> Driver:
    """The driver for what the supervisor has handed over; without anything, the one that mounts by itself.

    `told()` is called after the kernel has been told that names lead elsewhere.
    """
    if served is None:
        from pictofs.drivers.fusepy import FusepyDriver

        return FusepyDriver(vfs, plan.settings)
    from pictofs.drivers.kernel import KernelDriver

    return KernelDriver(
        vfs, plan.settings, served.fd, served.negotiated,
        resend=served.resend, shared=served.shared, told=told,
    )  # fmt: skip
