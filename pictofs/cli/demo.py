"""`pictofs demo`: an emulator, a mount of it, and what to try; nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from pictofs.api import Client
from pictofs.cli import completing
from pictofs.emulator import launch
from pictofs.emulator.settings import from_mapping
from pictofs.errors import NoFuse, NotMounted
from pictofs.mount import background, configuration, leave, plan, start

IMAGES = 60  # enough for every directory, split, status and kind of shape; drawn within a second
NAME = "demo"  # of the first directory


class _Terminated(BaseException):
    """SIGTERM: end in order."""


@click.command()
@click.argument("mountpoint", required=False, shell_complete=completing.folders)
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Serve this folder of pictures instead of drawn ones.",
)
@click.option(
    "--images", type=click.IntRange(min=1), metavar="N", help=f"How many pictures to draw. [{IMAGES}]"
)
def demo(mountpoint: str | None, folder: Path | None, images: int | None) -> int:
    """Show what a mount is like, without a Pictograph account.

    Starts a service on this machine, mounts it, and says what to try. The first line on stdout is JSON:
    mountpoint, base_url, storage_url, control_url, api_key. Ctrl-C or SIGTERM ends all of it.
    """
    if folder is not None and images is not None:
        raise click.UsageError("--images draws pictures and --from brings some; say one of them")
    signal.signal(signal.SIGTERM, _terminate)
    # A shell that starts us with & has us ignore Ctrl-C, and Python then leaves it at that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.ExitStack() as leaving:
        # Once the end has begun, a second Ctrl-C must not cut it short.
        leaving.callback(_deaf)
        try:
            return _run(leaving, mountpoint, folder, IMAGES if images is None else images)
        except _Terminated:
            return 0
        finally:
            _deaf()


def _run(leaving: contextlib.ExitStack, mountpoint: str | None, folder: Path | None, images: int) -> int:
    scratch = leaving.enter_context(_scratch())
    if mountpoint is None:
        mountpoint = str(scratch / "pictograph")
        os.mkdir(mountpoint)
    content = {"data": folder.resolve()} if folder is not None else {"generate": images}
    service = leaving.enter_context(launch.start(from_mapping({**content, "organization": "Demo"})))
    key_file = scratch / "key"
    key_file.touch(0o600)
    key_file.write_text(service.api_key)
    said = {
        "base_url": service.base_url, "api_key_file": key_file, "organization": NAME,
        "cache_dir": scratch / "cache", "log_file": scratch / "log",
    }  # fmt: skip
    given = [f"{name}={str(value).replace(',', chr(92) + ',')}" for name, value in said.items()]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PICTOFS_API_KEY_")}
    planned = plan.prepare(
        configuration.read(None, given, environ, ()), mountpoint, environ, foreground=False
    )
    places = {name: getattr(service, name) for name in ("base_url", "storage_url", "control_url", "api_key")}
    try:
        supervisor = start.in_background(planned, tied=True)
    except background.Failed as error:
        if error.exit_code != NoFuse.exit_code:
            raise
        print(json.dumps({"mountpoint": None, **places}), flush=True)
        _tour_without_mount(str(error), service, key_file)
        while True:
            signal.pause()
    leaving.callback(_leave, planned.mountpoint, supervisor.pid)
    print(json.dumps({"mountpoint": planned.mountpoint, **places}), flush=True)
    _tour(planned.mountpoint, service.control_url)
    background.await_end(supervisor)
    print("pictofs: the mount was unmounted; the demo ends", file=sys.stderr)
    return 0


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pictofs-demo-"))
    try:
        yield path
    finally:
        _deaf()
        if os.path.ismount(path / "pictograph"):
            print(f"pictofs: {path / 'pictograph'} could not be unmounted and stays", file=sys.stderr)
        else:
            shutil.rmtree(path)


def _leave(mountpoint: str, supervisor: int) -> None:
    _deaf()
    try:
        leave.leave(mountpoint, os.environ, lazy=True)
    except NotMounted:
        pass  # somebody has unmounted it already
    background.reap(supervisor)


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tour(mountpoint: str, control_url: str) -> None:
    root = f"{mountpoint}/{NAME}"
    dataset = _shell(next(iter(sorted(os.listdir(root))), "DATASET"))
    _show(f"Mounted at {mountpoint}", (
        (f"ls {root}", "the datasets of the organization"),
        (f"cp -r {root}/{dataset}/images /tmp/pictures", "bytes arrive when they are read"),
        (
            f"find {root}/{dataset}/annotations -name '*.json' -exec cat {{}} \\; -quit",
            "what is drawn on a picture",
        ),
        (f"ls {root}/{dataset}/splits/train/images", "views by reference, for training code"),
        (f"unzip -l {root}/{dataset}/exports/*.zip", "an export's list, without fetching the export"),
        (f"{_this_program()} ui", "a page in the browser: figures, and pictures with what is drawn on them"),
        (f"{_this_program()} status", "what the mount is doing; also in .pictofs/status.json"),
        (f"curl -s {control_url}/counters?detail=false", "what the service was asked"),
        (f"curl -s -X POST {control_url}/faults -d '{_FAULT}'", "break one in ten transfers, and copy again"),
    ))  # fmt: skip


def _tour_without_mount(why: str, service: launch.Running, key_file: Path) -> None:
    print(f"pictofs: nothing can be mounted here: {why}", file=sys.stderr)
    program = _this_program()
    with Client(service.base_url, api_key=service.api_key) as client:
        dataset = _shell(next((each.name for each in client.datasets.list()), "DATASET"))
    _show("The service runs, without a mount", (
        (f"{program} doctor", "what keeps this machine from mounting, and how to mend it"),
        (f"export PICTOGRAPH_BASE_URL={service.base_url} PICTOFS_API_KEY_FILE={key_file}",
         "first: the commands below ask this service"),
        (f"{program} datasets list", "the datasets of the organization"),
        (f"{program} download {dataset} /tmp/pictures", "a dataset as plain files"),
        (f"{program} exports list", "its exports"),
        (f"curl -s {service.control_url}/counters?detail=false", "what the service was asked"),
    ))  # fmt: skip


def _show(title: str, tour: Iterable[tuple[str, str]]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]{title}[/bold]. In another terminal, try:\n")
    for command, what in tour:
        console.print(f"  {command}", style="cyan", markup=False)
        console.print(f"      {what}", style="dim", markup=False)
    console.print("\nCtrl-C ends the demo and leaves nothing behind.\n")


_FAULT = '{"host": "storage", "kind": "reset", "probability": 0.1}'


def _this_program() -> str:
    """How `pictofs` is typed here, where its environment may not be active."""
    if shutil.which("pictofs"):
        return "pictofs"
    beside = Path(sys.executable).with_name("pictofs")
    return str(beside) if beside.exists() else f"{sys.executable} -m pictofs"


def _shell(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f"'{name}'"
