"""`mount.pictofs SOURCE DIR [-sfnvN] [-o opts]`: what mount(8) calls for `-t pictofs`, with its exit codes.

1   wrong use, or no permission      16  problems writing /etc/mtab (never: mountinfo is the truth)
2   system error: no FUSE here       32  mount failure
4   internal bug                     64  some mounts succeeded (never: there is one)
8   interrupted
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pictofs.errors import CacheUnusable, NoFuse, PictofsError, UsageError
from pictofs.mount import failures, plan, start

USAGE, SYSTEM, INTERNAL, INTERRUPTED, FAILED = 1, 2, 4, 8, 32


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Mount as told; the exit code. One line on stderr says what went wrong."""
    try:
        return _mount(arguments, environ)
    except KeyboardInterrupt:
        return INTERRUPTED
    except PictofsError as error:
        _say(str(error))
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 - the outermost frame: one line and a log for the unexpected
        _say(f"unexpected {type(error).__name__}; {failures.keep(error, environ)}")
        return INTERNAL


def exit_code(error: PictofsError) -> int:
    """mount(8)'s code for an error."""
    if isinstance(error, NoFuse) or error.exit_code == NoFuse.exit_code:
        return SYSTEM
    if isinstance(error, UsageError | CacheUnusable):
        return USAGE
    return FAILED


def _mount(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    said = _parser().parse_args(arguments)
    configured = plan.configure(said.source, said.options, environ)
    if "rw" in configured.settings.ignored:
        _say("a mount is always read-only; rw is ignored")
    planned = plan.prepare(configured, said.mountpoint, environ, foreground=False)
    if said.fake:
        return 0
    started = start.in_background(planned)
    for note in started.notes:
        _say(note)
    if said.verbose:
        _say(f"{planned.settings.source} mounted on {planned.mountpoint}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mount.pictofs", description="Mount a Pictograph organization; called by mount(8).")
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("mountpoint", metavar="DIR")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="NAME=VALUE,…")
    parser.add_argument("-f", dest="fake", action="store_true", help="do everything but mount")
    parser.add_argument("-v", dest="verbose", action="store_true", help="say what was done")
    parser.add_argument(
        "-s", dest="sloppy", action="store_true", help="tolerate options that are unknown (ignored)"
    )
    parser.add_argument("-n", dest="no_mtab", action="store_true", help="write no /etc/mtab (it never is)")
    parser.add_argument(
        "-N", dest="namespace", metavar="NS", help="the mount namespace, which mount(8) has entered"
    )
    parser.add_argument("-t", dest="kind", metavar="TYPE", help="the file system type (ignored)")
    return parser


class _Parser(argparse.ArgumentParser):
    """One line and mount(8)'s code instead of a page and 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; mount.pictofs SOURCE DIR [-sfnvN] [-o options]")


def _say(message: str) -> None:
    print(f"mount.pictofs: {message}", file=sys.stderr)
