"""`pictofs upgrade`."""

from __future__ import annotations

import os

import click

from pictofs.cli import completing, progress
from pictofs.mount import upgrade as upgrading


@click.command()
@click.argument("mountpoint", shell_complete=completing.mountpoints)
def upgrade(mountpoint: str) -> int:
    """Have a live mount go on as this version of the program.

    Readers notice a pause. With driver=fusepy the mount is made anew, and files that are open fail.
    """
    with progress.waiting(f"upgrade of {mountpoint}", bounded=True):
        former, present = upgrading.upgrade(mountpoint, os.environ)
    click.echo(f"{mountpoint}: {former} → {present}")
    return 0
