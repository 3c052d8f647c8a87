"""`pictofs explain`."""

from __future__ import annotations

import os
from typing import Any

import click

from pictofs.cli import completing, progress, shown
from pictofs.doctor import file, reader


@click.command()
@click.argument("what", metavar="PID|PATH", shell_complete=completing.files)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 600), default=reader.LOOK_S, metavar="S",
    help=f"How long to look at a process. [{reader.LOOK_S:g}]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Everything that was seen, as JSON.")
def explain(what: str, seconds: float, as_json: bool) -> int:
    """Say where the time of a reader (PID) goes, or why a file or folder of a mount (PATH) is slow."""
    of_process = what.isdigit() and not os.path.lexists(what)
    if of_process:
        name = reader.name_of(int(what))
        with progress.states(f"{name} ({what})") as said:
            if not as_json:
                said(f"is looked at for {seconds:g} s")
            found = reader.explain(int(what), os.environ, seconds=seconds)
    else:
        found = file.explain(what, os.environ)
    if as_json:
        shown.print_json(found)
        return 0
    print(shown.plain(found["verdict"]))
    shown.print_facts(_of_process(found) if of_process else _of_file(found))
    return 0


def _of_process(found: dict[str, Any]) -> dict[str, Any]:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in found["shares"].items() if share)
    facts = {
        "process": f"{found['name']} ({found['pid']}), {found['threads']} threads",
        "time": shares,
        "read": f"{shown.size(found['read']['bytes'])} in {found['seconds']:.1f} s, whatever from",
        "waits for": tuple(f"{e['path']} ({e['doing']}, {e['seconds']} s)" for e in found["waits_for"]),
        "has open": tuple(f"{each['path']} at {each['offset']}" for each in found["open"]),
    }
    for mount in found["mounts"]:
        facts[mount["mountpoint"]] = (
            f"meanwhile {mount['disk']} reads from the cache, {mount['network']} that waited, "
            f"{shown.size(mount['read_bytes'])} read, {shown.size(mount['fetched_bytes'])} fetched, "
            f"{mount['queue'].get('demand', 0)} waiting"
        )
    return facts


def _of_file(found: dict[str, Any]) -> dict[str, Any]:
    of, dataset = found["file"] or {}, found["dataset"] or {}
    told, mount = found["asked"], found["mount"] or {}
    url = told.get("url")
    budget, queue = mount.get("budget") or {}, mount.get("queue") or {}
    return {
        "is": found["kind"].replace("_", " "),
        "not known": found["unknown"],
        "dataset": dataset.get("name"),
        "asked about": _ago(dataset.get("checked_s")),
        "listed": _ago(dataset.get("listed_s")),
        "size": shown.size(of.get("size")) or ("not known yet" if of else ""),
        "version": of.get("version"),
        "blocks here": f"{of['blocks']} of {of['of_blocks'] or '?'}" if of else "",
        "pinned": "yes" if told.get("pinned") else "",
        "URL": "" if url is None else f"good for {url['seconds']:.0f} s" if url["good"] else "none now",
        "on its way": tuple(
            f"block {each['block']}: {each['doing']}, {each['priority']}, {each['seconds']} s, "
            f"{each['before']} before it"
            for each in told.get("flights") or ()
        ),
        "queue": ", ".join(f"{count} {name.replace('_', '-')}" for name, count in queue.items()),
        "budget": f"{budget['remaining']} of {budget['limit']}" if budget.get("limit") else "",
        "last errors": tuple(each.get("what", "") for each in mount.get("errors") or ()),
    }


def _ago(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s ago"
