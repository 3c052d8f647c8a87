"""`mount.pictofs SOURCE DIR [-sfnv] [-N namespace] [-o options] [-t type]`: what mount(8) calls.

Its exit codes are mount(8)'s:

1   wrong use, or no permission      16  problems writing /etc/mtab (never: mountinfo is the truth)
2   system error: no FUSE here       32  mount failure
4   internal bug                     64  some mounts succeeded (never: there is one)
8   interrupted

It is called with the environment of whoever mounts: at boot that has neither HOME nor PATH.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pictofs import __version__
from pictofs.errors import CacheUnusable, NoFuse, PictofsError, UsageError
from pictofs.mount import failures, plan, start

USAGE, SYSTEM, INTERNAL, INTERRUPTED, FAILED = 1, 2, 4, 8, 32
_CLONE_NEWNS = 0x00020000  # sched.h


def main() -> NoReturn:
    """The console script."""
    # `mount -a` at boot may be ended by SIGTERM; what is half mounted is taken back as after a Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupted)
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Mount as told; the exit code. One line on stderr says what went wrong."""
    try:
        return _mount(arguments, environ)
    except KeyboardInterrupt:
        _say("interrupted")
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
    parsing = parser()
    said = parsing.parse_args(arguments)
    if said.help or said.version:
        print(parsing.format_help() if said.help else f"mount.pictofs {__version__}")
        return 0
    if said.source is None or said.mountpoint is None:
        parsing.error("a source and a folder are needed")
    if said.namespace is not None:
        _enter(said.namespace)
    configured = plan.configure(as_given(said.source, os.getcwd()), said.options, environ, sloppy=said.sloppy)
    if "rw" in configured.settings.ignored:
        _say("a mount is always read-only; rw is ignored (ro spares this line)")
    planned = plan.prepare(configured, said.mountpoint, environ, foreground=False)
    if said.fake:
        return 0
    started = start.in_background(planned)
    for note in started.notes:
        _say(note)
    if said.verbose:
        _say(f"{planned.settings.source} mounted on {planned.mountpoint}")
    return 0


def as_given(source: str, folder: str) -> str:
    """SOURCE as it was typed in `folder`: mount(8) makes a path of what happens to be a file there."""
    name = os.path.basename(source)
    made = name and os.path.isabs(source) and os.path.realpath(os.path.join(folder, name)) == source
    return name if made else source


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _enter(namespace: str) -> None:
    """mount(8) hands the namespace over and calls us in its own."""
    try:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(descriptor, _CLONE_NEWNS):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(
            f"-N {namespace}: {error.strerror}; name the file of a mount namespace that you may enter"
        ) from error


def parser() -> Parser:
    """What is typed: mount(8)'s conventions, and one line for what is wrong."""
    made = Parser(
        prog="mount.pictofs", add_help=False,
        description="Mount a Pictograph organization; called by mount(8) for `-t pictofs`.",
    )  # fmt: skip
    made.add_argument("source", metavar="SOURCE", nargs="?")
    made.add_argument("mountpoint", metavar="DIR", nargs="?")
    made.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME=VALUE,…", help="pictofs.toml(5)"
    )
    made.add_argument("-f", dest="fake", action="store_true", help="do everything but mount")
    made.add_argument("-v", dest="verbose", action="store_true", help="say what was done")
    made.add_argument("-s", dest="sloppy", action="store_true", help="ignore options that are unknown")
    made.add_argument("-n", dest="no_mtab", action="store_true", help="write no /etc/mtab (it never is)")
    made.add_argument("-N", dest="namespace", metavar="NS", help="mount in this mount namespace (a file)")
    made.add_argument("-t", dest="kind", metavar="TYPE", help="the file system type (ignored)")
    made.add_argument("-h", "--help", action="store_true", help="show this")
    made.add_argument("-V", "--version", action="store_true", help="show the version")
    return made


class Parser(argparse.ArgumentParser):
    """One line and mount(8)'s code instead of a page and 2."""

    def described(self) -> list[tuple[str, str]]:
        """(what is typed, what it does) of every option, for the manual."""
        return [
            (f"{', '.join(action.option_strings)} {action.metavar or ''}".rstrip(), action.help or "")
            for action in self._actions
            if action.option_strings
        ]

    def error(self, message: str) -> NoReturn:
        """UsageError."""
        raise UsageError(f"{message}; mount.pictofs SOURCE DIR [-sfnv] [-N namespace] [-o options] [-t type]")


def _say(message: str) -> None:
    print(f"mount.pictofs: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
