"""`pictofs cache`: what lies in a cache directory, and what is done about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click

from pictofs.cli import account, asking_first, progress, shown
from pictofs.config import Settings
from pictofs.errors import CacheUnusable, UsageError
from pictofs.mount import caches, plan
from pictofs.mount.caches import Info

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")
_DATASET = click.argument("dataset", required=False, metavar="[DATASET]")
Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


@click.group()
def cache() -> None:
    """The cache directory: what lies in it, by dataset; check it, tidy it, empty it.

    It is the one of the live mounts, else the one that the next mount would take; -o cache_dir= says another.
    """


@cache.command()
@_DATASET
@_JSON
@account.with_account
def info(dataset: str | None, as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """What each dataset takes of the cache directory, and its limits."""
    settings, folders = _folders(profile, given)
    found = [caches.info(folder, settings, os.environ) for folder in folders]
    if as_json:
        shown.print_json([_as_json(each, dataset) for each in found])
        return 0
    for each in found:
        _show(each, dataset)
    return 0


@cache.command()
@_DATASET
@_JSON
@account.with_account
def verify(dataset: str | None, as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """Read every block and drop what is damaged; it is fetched again when it is read.

    Exit code 1 when something was damaged.
    """
    with _work(dataset, profile, given) as work:
        damaged: list[list[Any]] = []
        done = work.through("verify", "verifying", lambda answer: damaged.extend(answer["damaged"]))
    if as_json:
        rows = [{"path": path, "block": block, "bytes": size} for path, block, size in damaged]
        shown.print_json({"dir": work.folder, **done, "damaged": rows})
    else:
        for path, block, size in damaged:
            which = f"{shown.plain(path)}: block {block} ({shown.size(size)})"
            print(f"pictofs: {which} was damaged and is dropped", file=sys.stderr)
        print(f"{done['blocks']} blocks ({shown.size(done['bytes'])}) verified, {len(damaged)} were damaged")
    return 1 if damaged else 0


@cache.command()
@_DATASET
@_JSON
@account.with_account
def prune(dataset: str | None, as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """Drop what no name leads to any more: old versions, deleted files and datasets.

    Without DATASET also files that nobody knows, and what is over the limits.
    """
    with _work(dataset, profile, given) as work:
        done = work.through("prune", "pruning")
        if dataset is None:
            with progress.waiting("tidying up"):
                done |= work.ask("settle", {})
    if as_json:
        shown.print_json({"dir": work.folder, **done})
        return 0
    print(f"{done['blocks']} blocks ({shown.size(done['bytes'])}) of what is gone are dropped")
    if dataset is None:
        print(f"{shown.size(done['swept'])} in files that nobody knew and {done['rows']} old rows are gone")
        print(f"{shown.size(done['evicted'])} over the limits were evicted")
    return 0


@cache.command()
@_DATASET
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
@account.with_account
def clear(
    dataset: str | None, yes: bool, as_json: bool, profile: str | None, given: tuple[str, ...]
) -> int:
    """Let go of everything that is fetched, or of one dataset. What is pinned stays."""
    with _work(dataset, profile, given) as work:
        what = f"all that is fetched of {dataset}" if dataset else "everything that is fetched"
        if not asking_first.agreed(f"Let go of {what} in {work.folder}?", yes):
            return asking_first.NOTHING_DONE
        pinned = 0

        def told(answer: dict[str, Any]) -> None:
            nonlocal pinned
            pinned += answer["pinned"]

        done = work.through("clear", "clearing", told)
    if as_json:
        shown.print_json({"dir": work.folder, **done, "pinned": pinned})
        return 0
    print(f"{done['blocks']} blocks ({shown.size(done['bytes'])}) are let go")
    if pinned:
        print(f"{pinned} blocks are pinned and stay; `pictofs unpin` lets them go")
    return 0


@dataclass(slots=True)
class _Work:
    """One cache directory, and whom to ask."""

    folder: str
    datasets: list[int] | None
    whole_blocks: int
    ask: Ask

    def through(
        self, verb: str, what: str, told: Callable[[dict[str, Any]], None] = lambda answer: None
    ) -> dict[str, int]:
        """Every block, piece by piece; how many blocks and bytes it was done to."""
        blocks = size_bytes = 0
        after: list[int] | None = [-1, 0]
        with progress.files(what, "blocks") as shown_so_far:
            while after is not None:
                answer = self.ask(verb, {"after": after, "datasets": self.datasets})
                blocks += answer["blocks"]
                size_bytes += answer["bytes"]
                after = answer["next"]
                told(answer)
                shown_so_far(blocks, max(blocks, self.whole_blocks), "")
        return {"blocks": blocks, "bytes": size_bytes}


@contextmanager
def _work(dataset: str | None, profile: str | None, given: tuple[str, ...]) -> Iterator[_Work]:
    settings, folders = _folders(profile, given)
    if len(folders) > 1:
        raise UsageError(f"several cache directories are in use: say -o cache_dir=, {' or '.join(folders)}")
    (folder,) = folders
    if not caches.exists(folder):
        raise CacheUnusable(f"no mount has ever used cache_dir {folder}: say -o cache_dir= another")
    chosen = None if dataset is None else caches.find_datasets(folder, dataset)
    whole = caches.blocks(folder, chosen)
    with caches.keeper(folder, settings, os.environ) as ask:
        yield _Work(folder, chosen, whole, ask)


def _folders(profile: str | None, given: tuple[str, ...]) -> tuple[Settings, list[str]]:
    configured = plan.configure(profile, list(given), dict(os.environ))
    said = "cache_dir" in configured.said
    return configured.settings, caches.directories(configured.settings, os.environ, said=said)


def _as_json(found: Info, dataset: str | None) -> dict[str, Any]:
    document = asdict(found)
    document["mountpoints"] = list(found.mountpoints)
    document["datasets"] = [row for row in document["datasets"] if dataset in (None, row["name"])]
    return document


def _show(found: Info, dataset: str | None) -> None:
    free, stays_free = shown.size(found.free), shown.size(found.min_free)
    shown.print_facts({
        "directory": found.dir,
        "file system": f"{found.file_system or '?'}, {free} free, of which {stays_free} stay free",
        "used": f"{shown.size(found.bytes)} of {shown.size(found.limit)} in {found.files} blocks",
        "catalog": shown.size(found.catalog_bytes),
        "mounts": ", ".join(found.mountpoints) or "none",
        "pins": found.pins,
    })  # fmt: skip
    rows = [
        (
            row.organization, row.name or "nothing that is known", row.images, row.cached, row.blocks,
            shown.size(row.bytes), shown.size(row.vanished_bytes) if row.vanished_bytes else "",
            "yes" if row.gone else "",
        )
        for row in found.datasets
        if dataset in (None, row.name)
    ]  # fmt: skip
    columns = (
        "organization", "dataset", "#images", "#cached", "#blocks", "#bytes", "#of what is gone", "gone",
    )  # fmt: skip
    shown.print_table(columns, rows, "no dataset is known")
