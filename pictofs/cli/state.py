"""`pictofs status`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.live import Live

from pictofs.cli import completing, shown
from pictofs.cli.state_page import page
from pictofs.mount import report
from pictofs.mount.rates import rates_of

WATCH_S = 1.0


@click.command()
@click.argument("mountpoint", required=False, shell_complete=completing.mountpoints)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a mount and line.")
@click.option("--watch", is_flag=True, help="Again every second, with what happened in it, until Ctrl-C.")
def status(mountpoint: str | None, as_json: bool, watch: bool) -> int:
    """The state of one mount, or of all: what is read, what is fetched and for whom, and what went wrong."""
    if as_json:
        for documents in _looks(mountpoint, watch):
            for document in documents:
                print(json.dumps(document, ensure_ascii=False), flush=True)
        return 0
    console = shown.console()
    if not (watch and console.is_terminal):
        for look in _pages(mountpoint, watch):
            console.print(look)
            sys.stdout.flush()
        return 0
    with Live(console=console, refresh_per_second=4) as live:
        for look in _pages(mountpoint, True):
            live.update(look)
    return 0


def _pages(mountpoint: str | None, watch: bool) -> Iterator[Any]:
    before: dict[str, dict[str, Any]] = {}
    before_s = time.monotonic()
    for documents in _looks(mountpoint, watch):
        now_s = time.monotonic()
        now = {document["mountpoint"]: document for document in documents}
        rates = {
            where: rates_of(before[where], document, now_s - before_s)
            for where, document in now.items()
            if where in before
        }
        yield page(documents, rates)
        before, before_s = now, now_s


def _looks(mountpoint: str | None, watch: bool) -> Iterator[list[dict[str, Any]]]:
    while True:
        yield (
            report.all_mounts(os.environ)
            if mountpoint is None
            else [report.one_mount(mountpoint, os.environ)]
        )
        if not watch:
            return
        time.sleep(WATCH_S)
