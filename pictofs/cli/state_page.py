"""What `pictofs status` shows of a mount: its status document, and rates where there are two to compare."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pictofs.cli import shown

Document = Mapping[str, Any]
SHOWN_ERRORS = 8


def page(documents: list[dict[str, Any]], rates: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """All mounts; `rates` by mountpoint."""
    if not documents:
        return Text("nothing of pictofs is mounted")
    return Group(*(part for each in documents for part in _mount(each, rates.get(each["mountpoint"], {}))))


def _mount(document: Document, rates: Mapping[str, float]) -> Iterator[RenderableType]:
    online = document.get("online")
    standing = ("the key is refused", "red") if document.get("refused") else (
        ("online", "green") if online else ("offline", "red")
    )
    yield Text.assemble(
        (shown.plain(document["mountpoint"]), "bold"), "  ", shown.plain(document["source"]), "  ", standing
    )
    facts = Table.grid(padding=(0, 2))
    for name, text in _facts(document, rates):
        facts.add_row(f"  {name}", Text(text))
    yield facts
    if document.get("datasets"):
        yield _datasets(document["datasets"])
    if document.get("flights"):
        yield _flights(document["flights"])
    for error in document.get("errors", [])[-SHOWN_ERRORS:]:
        yield Text(f"  {error.get('time', '')} {shown.plain(error.get('what', ''))}", style="red")


def _facts(document: Document, rates: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    cache, requests, budget, queue, hits, read, waits, links = (
        document.get(name) or {}
        for name in ("cache", "requests", "budget", "queue", "hits", "read", "waits", "links")
    )
    driver, io, dialect = (document.get(name) for name in ("driver", "io", "dialect"))
    yield "driver", f"{driver}, io={io}, dialect {dialect or '?'}"
    yield "read", _flow(rates, "read", read.get("bytes", 0), f"{read.get('files', 0)} files")
    if hits:
        yield "hits", _hits(hits)
    yield "fetched", _flow(
        rates, "fetched", document.get("bytes_fetched", 0), f"{requests.get('storage', 0)} transfers"
    )
    yield "API", f"{requests.get('api', 0)} requests, {_budget(budget)}"
    yield "queue", ", ".join(f"{count} {name.replace('_', '-')}" for name, count in queue.items()) or "empty"
    if links.get("capacity"):
        ends = links.get("expires")
        until = f", the first of them for {ends:.0f} s" if ends is not None else ""
        yield "URLs", f"{links['urls']} good now{until}"
    if waits:
        late = f", {waits['timed_out']} ended without progress" if waits.get("timed_out") else ""
        yield "waiting", f"{waits.get('now', 0)} operations{late}"
    held, limit = (shown.size(cache.get(name)) or "?" for name in ("bytes", "limit"))
    yield "cache", f"{cache.get('dir')}: {held} of {limit}"
    yield "processes", ", ".join(f"{name} {pid}" for name, pid in document.get("pids", {}).items())
    yield "restarts", str(document.get("restarts", 0))


def _flow(rates: Mapping[str, float], what: str, total_bytes: int, count: str) -> str:
    so_far = f"{shown.size(total_bytes)} in {count}"
    if f"{what}_bytes" not in rates:
        return so_far
    flow = shown.size(int(rates[f"{what}_bytes"]))
    return f"{flow}/s, {rates.get(f'{what}_files', 0.0):.0f} files/s; {so_far}"


def _hits(hits: Mapping[str, int | None]) -> str:
    """Shares of the reads that came to us; the kernel's own answers are no request and in no count."""
    known = {name: count for name, count in hits.items() if count is not None}
    whole = sum(known.values())
    if not whole:
        return "no read has come to pictofs yet; what the kernel's page cache answers never does"
    shares = ", ".join(f"{name} {count / whole:.1%}" for name, count in known.items())
    return shares if hits.get("kernel") is not None else f"{shares}, the kernel's page cache not counted"


def _budget(budget: Mapping[str, Any]) -> str:
    if budget.get("limit") is None:
        return "budget unknown"
    reset = budget.get("reset")
    whole = f", all of it at {time.strftime('%H:%M:%S', time.localtime(reset))}" if reset else ""
    return f"{budget.get('remaining')} of {budget['limit']} left{whole}"


def _datasets(datasets: list[dict[str, Any]]) -> Table:
    table = Table("dataset", "images", "cached", "", "bytes", box=None, padding=(0, 2), header_style="dim")
    for row in datasets:
        share = f"{row['cached'] / row['images']:.0%}" if row["images"] else ""
        bytes_kept = shown.size(row.get("bytes"))
        table.add_row(shown.cell(row["name"]), str(row["images"]), str(row["cached"]), share, bytes_kept)
    return table


def _flights(flights: list[dict[str, Any]]) -> Table:
    table = Table(
        "fetching", "priority", "is", "for", "since", "come", box=None, padding=(0, 2), header_style="dim"
    )
    for flight in flights:
        table.add_row(
            shown.cell(flight["path"]),
            flight["priority"].replace("_", "-"),
            flight["doing"],
            ", ".join(map(process_name, flight["pids"])) or "nobody yet",
            f"{flight['seconds']:.1f} s",
            shown.size(flight["bytes"]) if flight["bytes"] else "",
        )
    return table


def process_name(pid: int) -> str:
    """`python3 (1234)`, or the number of one that is gone."""
    try:
        return f"{shown.plain(Path(f'/proc/{pid}/comm').read_text(errors='replace').strip())} ({pid})"
    except OSError:
        return str(pid)
