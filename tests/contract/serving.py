"""The serving process of a test's mount: `python -m tests.contract.serving '<JSON>'`.

A process of its own, since one that touches its own mount can wait for itself for good. Writes one line to
stdout when the mount answers; connects again when the link breaks.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.config import Settings
from pictofs.drivers import Driver
from pictofs.link import Client, LinkLost
from pictofs.link.messages import PROTOCOL, Attach, Attached
from pictofs.tree import Root, Tree
from pictofs.vfs import Vfs
from tests.contract.world import BOOT_ID
from tests.mounting import unmount


def connect(path: str, mountpoint: str) -> tuple[Client, list[int]]:
    """An attached connection, and the organizations."""
    link = Client(path)
    deadline_s = time.monotonic() + 20
    while True:
        try:
            link.connect()
            attached = link.exchange(Attach(link.next_id(), PROTOCOL, "test", mountpoint, 0, []), 10)
            assert isinstance(attached, Attached)
            return link, attached.organizations
        except LinkLost:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)


def build(driver: str, vfs: Vfs, settings: Settings, mountpoint: str) -> Driver:
    """The driver of that name."""
    if driver == "fusepy":
        from pictofs.drivers.fusepy import FusepyDriver

        return FusepyDriver(vfs, settings)
    from pictofs.drivers.kernel import KernelDriver, handshake, mounting

    fd = mounting.mount(mountpoint, source=settings.source)
    negotiated = handshake.negotiate(fd, io=settings.io, cache_dir=settings.cache_dir)
    assert negotiated.io == settings.io, negotiated.note
    return KernelDriver(vfs, settings, fd, negotiated)


def main(order: dict[str, Any]) -> None:
    settings = Settings(**order["settings"])
    link, organizations = connect(order["socket"], order["mountpoint"])
    reader = CatalogReader.open(f"{settings.cache_dir}/catalog.sqlite")
    tree = Tree(reader, [Root(pk, "org") for pk in organizations], settings)
    facts = {"mountpoint": order["mountpoint"], "driver": order["driver"], "version": "test"}
    vfs = Vfs(tree, link, settings, facts=lambda: facts, boot_id=BOOT_ID)
    driver = build(order["driver"], vfs, settings, order["mountpoint"])

    def reconnect() -> None:
        again, _ = connect(order["socket"], order["mountpoint"])
        driver.submit(lambda: vfs.relink(again))

    vfs.on_link_lost = lambda: threading.Thread(target=reconnect, daemon=True).start()

    def await_end() -> None:
        # our stdin ends when the test says so, or with the test itself: no mount outlives it
        while os.read(0, 1):
            pass
        driver.stop()
        if order["driver"] == "kernel":      # that one is unmounted from outside
            unmount(Path(order["mountpoint"]))

    threading.Thread(target=await_end, daemon=True).start()

    def ready() -> None:
        print("ready", flush=True)

    driver.serve(order["mountpoint"], ready)
    vfs.close()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    logging.basicConfig(level=logging.DEBUG if "-v" in sys.argv else logging.WARNING)
    main(json.loads(sys.argv[1]))
