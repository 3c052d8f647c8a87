"""What cannot be undone is asked about first."""

from __future__ import annotations

import sys

import click

from pictofs.cli import shown
from pictofs.errors import UsageError

NOTHING_DONE = 1


def agreed(question: str, yes: bool) -> bool:
    """Whether to go on: `--yes`, or an answer on the terminal. UsageError where nobody can answer."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: say --yes to delete without being asked")
    if click.confirm(question, err=True):
        return True
    print("pictofs: nothing was deleted", file=sys.stderr)
    return False


def say_deleted(what: str, identity: str, name: str, as_json: bool) -> None:
    """That it is gone."""
    if as_json:
        shown.print_json({"deleted": {"id": identity, "name": name}})
    else:
        print(f"{what} {shown.plain(name)} is deleted")
