"""Composition: settings in, three listening ports out, until a signal or the end of a watched process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from pictofs.emulator.api import api_app
from pictofs.emulator.control import Control
from pictofs.emulator.counters import HostCounters
from pictofs.emulator.dialect import API_PATH
from pictofs.emulator.exports import ExportJobs
from pictofs.emulator.faults import FaultPlan
from pictofs.emulator.model import Dataset, Export
from pictofs.emulator.mutations import Mutator
from pictofs.emulator.ports import AppPort, Place, Port, StoragePort, Tls
from pictofs.emulator.ratelimit import RateLimit
from pictofs.emulator.service import Service, make_service
from pictofs.emulator.settings import EmulatorSettings
from pictofs.emulator.storage import StorageHost
from pictofs.errors import UsageError

Announce = Callable[[dict[str, Any]], None]
_READY_EXPORT_MOST = 500  # scenes up to which the generated dataset comes with a completed export
_WATCH_S = 0.5


def serve(settings: EmulatorSettings, announce: Announce) -> None:
    """Serve until SIGTERM, SIGINT or the end of the watched process. Raises `UsageError`."""
    settings.validate()
    try:
        with tempfile.TemporaryDirectory(prefix="pictofs-emulator-") as scratch:
            _run(_serve(settings, announce, Path(scratch)))
    except KeyboardInterrupt:
        return


def _run(main: Any) -> None:
    if sys.platform == "linux":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


async def _serve(settings: EmulatorSettings, announce: Announce, scratch: Path) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watch = asyncio.create_task(_watch(settings.parent, ended)) if settings.parent else None
    try:
        async with running(settings, scratch) as found:
            announce(found)
            await ended.wait()
    finally:
        if watch is not None:
            watch.cancel()


async def _watch(pid: int, ended: asyncio.Event) -> None:
    """Set `ended` when our parent, the process of this id, is gone: on Linux at once."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(descriptor, ended.set)
    while os.getppid() == pid:
        await asyncio.sleep(_WATCH_S)
    ended.set()


@contextlib.asynccontextmanager
async def running(settings: EmulatorSettings, scratch: Path) -> AsyncIterator[dict[str, Any]]:
    """The three hosts, listening; gives what is announced: base_url, storage_url, control_url, api_key."""
    with _places(settings) as (api, storage, control):
        service = make_service(settings)
        service.base_url, service.storage_url = api.url + API_PATH, storage.url
        jobs = ExportJobs(service, scratch)
        await _populate(service, jobs, settings, scratch)
        faults, limit = FaultPlan(settings.seed), RateLimit(service.switches, service.clock)
        counters = {"api": HostCounters(), "storage": HostCounters()}
        app = api_app(settings.dialect, service, jobs, counters["api"], faults, limit)
        ports: dict[str, Port] = {
            "api": AppPort(app, api, counters["api"]),
            "storage": StoragePort(StorageHost(service, counters["storage"], faults), storage),
        }
        desk = Control(service, Mutator(service, jobs), faults, counters, ports, limit)
        control_port = AppPort(desk.app(), control)
        try:
            for port in (*ports.values(), control_port):
                await port.open()
            yield {
                "base_url": service.base_url,
                "storage_url": storage.url,
                "control_url": control.url,
                "api_key": settings.api_key,
            }
        finally:
            faults.clear()  # what stalls must not hold the end up
            await desk.close()
            await jobs.close()
            for port in (*ports.values(), control_port):
                await port.shut()


@contextlib.contextmanager
def _places(settings: EmulatorSettings) -> Iterator[tuple[Place, Place, Place]]:
    tls: Tls | None = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = Tls(settings.tls_cert, settings.tls_key)
    with contextlib.ExitStack() as stack:
        found = []
        for option, port, spoken in (
            ("--port", settings.port, tls),
            ("--storage-port", settings.storage_port, tls),
            ("--control-port", settings.control_port, None),
        ):
            place = Place(option, settings.host, port, spoken)
            stack.callback(place.close)
            place.listener().close()  # somebody else who listens there is found now, in one line
            found.append(place)
        yield found[0], found[1], found[2]


async def _populate(service: Service, jobs: ExportJobs, settings: EmulatorSettings, scratch: Path) -> None:
    """The datasets that the settings ask for. Sources are imported as needed: Pillow takes its time."""
    made: list[Dataset] = []
    if settings.data is not None:
        from pictofs.emulator.folder import folder_datasets

        made += await asyncio.to_thread(folder_datasets, settings.data, settings.seed)
    if settings.scenes:
        from pictofs.emulator.scenes import generated

        scenes = await asyncio.to_thread(generated, settings.scenes, settings.seed, scratch)
        made.append(scenes)
    if settings.images:
        from pictofs.emulator.synthetic import synthetic

        made += [synthetic(number, settings) for number in range(settings.datasets)]
    for dataset in made:
        if any(each.name == dataset.name for each in service.datasets.values()):
            raise UsageError(f"--data and --generate or --images both make a dataset named {dataset.name}")
        service.add_dataset(dataset)
    if 0 < settings.scenes <= _READY_EXPORT_MOST:
        await _ready_export(service, jobs, scenes)


async def _ready_export(service: Service, jobs: ExportJobs, dataset: Dataset) -> None:
    """A completed export with images, so that a first look at the organization shows one."""
    export: Export = service.create_export(dataset, "baseline", include_images=True)
    await jobs.complete(dataset, export)
