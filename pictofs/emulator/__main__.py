"""`python -m pictofs.emulator`: the emulator without the rest of pictofs' command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pictofs.emulator import run
from pictofs.emulator.settings import from_mapping, options
from pictofs.errors import UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other bad usage."""
        raise UsageError(f"{message}; --help lists the options")


def parser() -> argparse.ArgumentParser:
    """The options of `EmulatorSettings`; `parse_args` raises `UsageError`."""
    made = _Parser("python -m pictofs.emulator", description="A Pictograph service on this machine.")
    for option in options():
        if option.type is bool:
            made.add_argument(option.flag, action="store_true", help=option.help)
        else:
            made.add_argument(
                option.flag,
                type=option.type,
                default=None,
                choices=option.choices or None,
                metavar=None if option.choices else option.metavar or None,
                help=option.help.replace("%", "%%")
                + (f" [{option.default}]" if option.default is not None else ""),
            )
    return made


def announce(found: dict[str, Any]) -> None:
    """The one line on stdout."""
    print(json.dumps(found), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; 2 with one line on stderr for bad usage."""
    try:
        run(from_mapping(vars(parser().parse_args(arguments))), announce)
    except UsageError as error:
        print(f"pictofs emulator: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
