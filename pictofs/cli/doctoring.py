"""`pictofs doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
from rich.text import Text

from pictofs import doctor as room
from pictofs.cli import account, pieces, shown
from pictofs.doctor import Finding, Level, bundle, mounts
from pictofs.doctor.examine import subject
from pictofs.mount import installation

_STYLES = {Level.PASS: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
_NAME_CHARACTERS = 18


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option(
    "--bundle", "archive", type=click.Path(path_type=Path), metavar="FILE",
    help="Write an archive (.tar.gz) without secrets to attach to a bug report.",
)  # fmt: skip
@account.with_account
def doctor(as_json: bool, archive: Path | None, profile: str | None, given: tuple[str, ...]) -> int:
    """Look whether this machine can mount with these settings, and what keeps it from doing so.

    Each line is pass, warn or fail, with the mend. Exit code 1 when something fails.
    """
    examined = subject(profile, given, os.environ)
    ours = tuple(pieces.of(installation.program(), os.environ, machine=True))
    live = mounts.look(os.environ)
    found = list(_told(room.examine(examined, ours, live), quiet=as_json))
    if archive is not None:
        bundle.write(archive, found, examined, live)
    if as_json:
        shown.print_json(bundle.report(found))
    else:
        _sum_up(found, archive)
    return 1 if any(each.level is Level.FAIL for each in found) else 0


def _told(found: Iterator[Finding], *, quiet: bool) -> Iterator[Finding]:
    """Each line as soon as it is known: DNS and TLS may take their time."""
    out = shown.console()
    for each in found:
        if not quiet:
            name = Text(f"{shown.plain(each.check):<{_NAME_CHARACTERS}} ")
            level = Text(f"{each.level.value}  ", style=_STYLES[each.level])
            out.print(Text.assemble(level, name, shown.plain(each.what)), soft_wrap=True)
            if each.mend:
                out.print(Text(f"{'':<6}{'':<{_NAME_CHARACTERS}} → {shown.plain(each.mend)}"), soft_wrap=True)
        yield each


def _sum_up(found: list[Finding], archive: Path | None) -> None:
    counts = {level: sum(each.level is level for each in found) for level in Level}
    print(f"{counts[Level.PASS]} passed, {counts[Level.WARN]} warned, {counts[Level.FAIL]} failed")
    if archive is not None:
        print(f"{archive} holds this report, the logs and the state of the mounts, without secrets: look "
              "through it before you send it")  # fmt: skip
