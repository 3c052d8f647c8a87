"""`pictofs refresh`, `pin` and `unpin`: what is asked of the fetching process, about paths on a mount."""

from __future__ import annotations

import os
import sys

import click

from pictofs.cli import completing, progress
from pictofs.mount import asked


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", shell_complete=completing.files)
def refresh(paths: tuple[str, ...]) -> int:
    """Look at the service now, whatever `ttl` says: at datasets, directories or files."""
    return _each("refresh", paths)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", shell_complete=completing.files)
def pin(paths: tuple[str, ...]) -> int:
    """Keep what is fetched of these files, whatever else has to leave the cache."""
    return _each("pin", paths)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", shell_complete=completing.files)
def unpin(paths: tuple[str, ...]) -> int:
    """Let these files leave the cache again."""
    return _each("unpin", paths)


def _each(verb: str, paths: tuple[str, ...]) -> int:
    """Ask about every path; 1 when some could not be done, each with its line."""
    with progress.waiting(f"{verb} of {len(paths)} paths" if len(paths) > 1 else f"{verb} {paths[0]}"):
        failed = [(path, error) for path, error in asked.ask(verb, paths, os.environ) if error is not None]
    for path, error in failed:
        print(f"pictofs: {path}: {error}", file=sys.stderr)
    if not failed:
        return 0
    return failed[0][1].exit_code if len(paths) == 1 else 1
