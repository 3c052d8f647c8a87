"""`pictofs warm` and `pictofs advise`: files that will be read, fetched before."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import click

import pictofs
from pictofs.catalog.model import Kind, node_kind
from pictofs.cli import completing, progress
from pictofs.errors import PictofsError, UsageError
from pictofs.mount import asked
from pictofs.mount.advising import Nodes
from pictofs.mount.record import Record

PIECE = 64      # files of one question
AT_ONCE = 4     # questions


@dataclass(slots=True)
class _Report:
    """What `warm` has done; `failed` holds (path, why)."""

    files: int = 0
    here: int = 0
    fetched: int = 0
    evicted: int = 0
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", shell_complete=completing.files)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help=f"Files asked for at once. [{PIECE * AT_ONCE}]"
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--check", is_flag=True, help="Fetch nothing; exit code 1 when something is not here.")
@click.option("--evict", is_flag=True, help="Let go of what is here, unless something is pinned.")
@click.option("--shard", metavar="I/N", help="Every N-th file only, from the I-th on: one part a machine.")
def warm(
    paths: tuple[str, ...], jobs: int | None, as_json: bool, check: bool, evict: bool, shard: str | None
) -> int:
    """Fetch files of a mount, or everything below folders, so that reading them waits for nothing.

    What is here already is not fetched again: a second call continues the first.
    """
    if check and evict:
        raise UsageError("--check and --evict exclude each other: keep one")
    part, parts = _shard(shard)
    report = _Report()
    with Nodes(os.environ) as nodes:
        found = [each for path in paths for each in nodes.below(path)][part - 1 :: parts]
        report.files = len(found)
        lacking = [each for each in found if not nodes.reader(each[0]).whole(each[1])]
        report.here = len(found) - len(lacking)
    if evict:
        held = [each for each in found if each not in set(lacking)]
        _ask("evict", held, jobs, lambda answer, names: _evicted(report, answer), "evicting")
    elif check:
        report.failed = [(path, "is not here") for _, _, path in lacking]
    else:
        # Images first: their annotations cost a request each, and the budget may end before they do.
        lacking.sort(key=lambda each: node_kind(each[1]) is Kind.ANNOTATION)
        _ask("warm", lacking, jobs, lambda answer, names: _fetched(report, answer, names), "fetching")
    _show(report, as_json, check=check, evict=evict)
    return 1 if report.failed else 0


@click.command()
@click.argument("source", required=False, default="-", metavar="[FILE|-]", shell_complete=completing.files)
def advise(source: str) -> int:
    """Announce the order in which files will be read: one path a line, from FILE or standard input.

    They are fetched just ahead of the readers, in this order; the next call replaces it, an empty one takes
    it back.
    """
    try:
        with (
            click.open_file(source, errors="surrogateescape") as lines,
            progress.waiting("looking up the files"),
        ):
            announced = pictofs.advise(line.rstrip("\n") for line in lines if line.strip())
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error
    print(f"{announced} files are announced")
    return 0


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard {text}: write it as I/N, I from 1 to N")
    return int(part), int(parts)


def _ask(
    verb: str,
    files: list[tuple[Record, int, str]],
    jobs: int | None,
    told: Callable[[dict[str, Any], dict[int, str]], None],
    what: str,
) -> None:
    """Asks about the files in pieces, some at once."""
    piece = min(PIECE, jobs or PIECE)
    at_once = max(1, (jobs or PIECE * AT_ONCE) // PIECE)
    done = 0
    with progress.files(what) as shown, ThreadPoolExecutor(at_once) as threads:

        def exchange(some: list[tuple[Record, int, str]]) -> tuple[dict[str, Any], dict[int, str]]:
            names = {node: path for _, node, path in some}
            try:
                return asked.exchange(some[0][0], verb, {"nodes": list(names)}), names
            except PictofsError as error:
                return {"failed": [[node, str(error)] for node in names]}, names

        for answer, names in threads.map(exchange, _pieces(files, piece)):
            told(answer, names)
            done += len(names)
            shown(done, len(files), next(iter(names.values())))


def _pieces(
    files: list[tuple[Record, int, str]], count: int
) -> Iterator[list[tuple[Record, int, str]]]:
    """Of one mount each."""
    by_mount: dict[str, list[tuple[Record, int, str]]] = {}
    for each in files:
        by_mount.setdefault(each[0].mountpoint, []).append(each)
    for some in by_mount.values():
        for start in range(0, len(some), count):
            yield some[start : start + count]


def _fetched(report: _Report, answer: dict[str, Any], names: dict[int, str]) -> None:
    report.fetched += answer.get("fetched", 0)
    report.bytes += answer.get("bytes", 0)
    report.failed += [(names[node], why) for node, why in answer["failed"]]


def _evicted(report: _Report, answer: dict[str, Any]) -> None:
    report.evicted += answer.get("evicted", 0)
    report.failed += [("", why) for _, why in answer.get("failed", [])[:1]]


def _show(report: _Report, as_json: bool, *, check: bool, evict: bool) -> None:
    if as_json:
        print(json.dumps({
            "files": report.files, "here": report.here, "fetched": report.fetched, "evicted": report.evicted,
            "bytes": report.bytes, "failed": [{"path": path, "why": why} for path, why in report.failed],
        }))  # fmt: skip
        return
    if check:
        print(f"{report.here} of {report.files} files are here")
        return
    for path, why in report.failed:
        print(f"pictofs: {path}: {why}", file=sys.stderr)
    if evict:
        print(f"{report.evicted} of {report.files} files were let go")
    else:
        print(
            f"{report.fetched} files fetched ({report.bytes / 1e6:.1f} MB), {report.here} were here, "
            f"{len(report.failed)} failed"
        )
