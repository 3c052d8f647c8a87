"""`pictofs mount` and `pictofs umount`."""

from __future__ import annotations

import os
import sys

import click

from pictofs.cli import completing
from pictofs.errors import UsageError
from pictofs.mount import leave, options, plan, start
from pictofs.mount.mountpoint import absolute, clear_dead


def _epilog() -> str:
    lines = ["\b", "Options for -o, PICTOFS_NAME and config.toml (docs/configuration.md has the reasons):"]
    for option in options.OPTIONS:
        lines.append(
            f"  {option.name + '=' + option.value:<44} {option.meaning.replace('`', '')} [{option.default}]"
        )
    return "\n".join(lines)


@click.command(epilog=_epilog())
@click.argument("where", nargs=-1, metavar="[SOURCE] MOUNTPOINT", shell_complete=completing.folders)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to stderr.")
@click.option(
    "-o", "given", multiple=True, metavar="NAME=VALUE,…", help="Options of the mount; may be repeated.",
    shell_complete=completing.settings,
)  # fmt: skip
@click.option("--log-format", type=click.Choice(("text", "json")), help="The same as -o log_format=.")
def mount(
    where: tuple[str, ...], foreground: bool, given: tuple[str, ...], log_format: str | None
) -> int:
    """Mount an organization and return when the mount answers.

    SOURCE is a profile of the configuration file, several of them joined by commas, or the organization that
    the key must belong to; without one, the key's organization is mounted.
    """
    source, mountpoint = _split(where)
    said = [*given, *([f"log_format={log_format}"] if log_format else [])]
    configured = plan.configure(source, said, os.environ)
    if "rw" in configured.settings.ignored:
        print("pictofs: a mount is always read-only; rw is ignored", file=sys.stderr)
    planned = plan.prepare(configured, mountpoint, os.environ, foreground=foreground)
    if foreground:
        return start.in_foreground(planned)
    for note in start.in_background(planned, slow=_say_that_it_takes_time).notes:
        print(f"pictofs: {note}", file=sys.stderr)
    return 0


def _say_that_it_takes_time() -> None:
    # Elsewhere a mount says one line, when it has failed: timeout= bounds the wait.
    if sys.stderr.isatty():
        print("pictofs: the service is slow to answer; Ctrl-C ends the wait", file=sys.stderr)


def _split(where: tuple[str, ...]) -> tuple[str | None, str]:
    if len(where) == 1:
        return None, where[0]
    if len(where) == 2:
        return where[0], where[1]
    raise UsageError("a mountpoint is needed: pictofs mount [SOURCE] MOUNTPOINT")


@click.command()
@click.argument("mountpoint", shell_complete=completing.mountpoints)
@click.option("-l", "--lazy", is_flag=True, help="Unmount now; readers that are inside may finish.")
@click.option("--stale", is_flag=True, help="Only what a mount that was killed has left, if anything.")
def umount(mountpoint: str, lazy: bool, stale: bool) -> int:
    """Unmount, and return when nothing of the mount is left."""
    if stale:
        if clear_dead(absolute(mountpoint)):
            print(f"pictofs: what a mount that was killed left at {mountpoint} is cleared", file=sys.stderr)
        return 0
    from pictofs.cli import progress  # rich, which a mount would keep in memory for its life

    with progress.waiting(f"unmounting {mountpoint}", bounded=True):
        leave.leave(mountpoint, os.environ, lazy=lazy)
    return 0
