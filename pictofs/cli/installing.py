"""`pictofs install` and `pictofs uninstall`: the files that make the system know pictofs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from pictofs.cli import pieces
from pictofs.mount import installation
from pictofs.mount.installation import Outcome, Piece

_ROOT = click.option(
    "--root", type=click.Path(path_type=Path), default=Path("/"), metavar="DIR",
    help="Below this folder, as for a package that is built.",
)  # fmt: skip


@click.command()
@_ROOT
def install(root: Path) -> int:
    """Make the system know pictofs: mount(8)'s helper, so that `mount -t pictofs` and /etc/fstab work, units
    `pictofs@NAME.service` for systemd, manual pages, and what shells complete by.

    As an ordinary user only what a user may have is installed. A second call changes nothing; a file that is
    not from here is left alone, and that is exit code 1.
    """
    machine = _machine(root)
    if machine:
        installation.check(installation.program())
    code = _say(installation.put(_pieces(root), root))
    if not machine:
        print("pictofs: for `mount -t pictofs`, root must do it too: sudo pictofs install", file=sys.stderr)
    return code


@click.command()
@_ROOT
def uninstall(root: Path) -> int:
    """Take away what `pictofs install` has written, and nothing else."""
    return _say(installation.take_away(_pieces(root), root))


def _pieces(root: Path) -> Iterator[Piece]:
    return pieces.of(installation.program(), os.environ, machine=_machine(root))


def _machine(root: Path) -> bool:
    return os.geteuid() == 0 or root != Path("/")


def _say(outcomes: Iterable[Outcome]) -> int:
    code = 0
    for outcome in outcomes:
        if outcome.error:
            print(f"pictofs: {outcome.path} is {outcome.what}: {outcome.error}", file=sys.stderr)
            code = 1
        else:
            print(f"{outcome.path} {outcome.what}")
    return code
