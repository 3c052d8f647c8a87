"""`pictofs status`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pictofs.mount import report

WATCH_S = 1.0


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a mount and line.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
def status(mountpoint: str | None, as_json: bool, watch: bool) -> int:
    """The state of one mount, or of all."""
    if as_json:
        for documents in _looks(mountpoint, watch):
            for document in documents:
                print(json.dumps(document, ensure_ascii=False), flush=True)
        return 0
    console = Console()
    if not watch:
        console.print(_page(next(_looks(mountpoint, False))))
        return 0
    if not console.is_terminal:
        for documents in _looks(mountpoint, True):
            console.print(_page(documents))
            sys.stdout.flush()
        return 0
    with Live(console=console, refresh_per_second=4) as live:
        for documents in _looks(mountpoint, True):
            live.update(_page(documents))
    return 0


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


def _page(documents: list[dict[str, Any]]) -> RenderableType:
    if not documents:
        return Text("nothing of pictofs is mounted")
    return Group(*(part for document in documents for part in _mount(document)))


def _mount(document: dict[str, Any]) -> Iterator[RenderableType]:
    online = document.get("online")
    yield Text.assemble(
        (document["mountpoint"], "bold"),
        "  ",
        document["source"],
        "  ",
        ("online", "green") if online else ("offline", "red"),
    )
    facts = Table.grid(padding=(0, 2))
    cache, requests, budget, queue = (
        document.get(name) or {} for name in ("cache", "requests", "budget", "queue")
    )
    for name, text in (
        (
            "driver",
            f"{document.get('driver')}, io={document.get('io')}, dialect {document.get('dialect') or '?'}",
        ),
        ("cache", f"{cache.get('dir')}: {_size(cache.get('bytes'))} of {_size(cache.get('limit'))}"),
        ("fetched", f"{_size(document.get('bytes_fetched'))} in {requests.get('storage', 0)} transfers"),
        ("API", f"{requests.get('api', 0)} requests, {_budget(budget)}"),
        ("queue", ", ".join(f"{count} {name.replace('_', '-')}" for name, count in queue.items()) or "empty"),
        ("processes", ", ".join(f"{name} {pid}" for name, pid in document.get("pids", {}).items())),
        ("restarts", str(document.get("restarts", 0))),
    ):
        facts.add_row(f"  {name}", text)
    yield facts
    if document.get("datasets"):
        table = Table("dataset", "images", "cached", box=None, padding=(0, 2), header_style="dim")
        for dataset in document["datasets"]:
            table.add_row(Text(str(dataset["name"])), str(dataset["images"]), str(dataset["cached"]))
        yield table
    for error in document.get("errors", []):
        yield Text(f"  {error.get('time', '')} {error.get('what', '')}", style="red")


def _budget(budget: dict[str, Any]) -> str:
    if budget.get("limit") is None:
        return "budget unknown"
    return f"{budget.get('remaining')} of {budget['limit']} left"


def _size(count: Any) -> str:
    if not isinstance(count, int | float):
        return "?"
    size = float(count)
    for unit in ("bytes", "K", "M", "G"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}T"
