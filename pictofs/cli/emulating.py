"""`pictofs emulator`: the service on this machine, in the foreground."""

from __future__ import annotations

import json
from typing import Any

import click

from pictofs.emulator import run
from pictofs.emulator.settings import from_mapping, options


def _options(command: click.Command) -> click.Command:
    for option in options():
        shown = "" if option.default in (None, "", False) else f" [{option.default}]"
        command.params.append(
            click.Option(
                [option.flag, option.name],
                is_flag=option.type is bool,
                type=None
                if option.type is bool
                else click.Choice(option.choices)
                if option.choices
                else option.type,
                metavar=None if option.choices else option.metavar or None,
                help=option.help + shown,
            )
        )
    return command


@click.command()
def emulator(**given: Any) -> int:
    """A Pictograph service on this machine, for demos and tests.

    The first line on stdout is JSON: base_url, storage_url, control_url, api_key. Ends with SIGTERM or
    Ctrl-C.
    """
    run(from_mapping({name: value for name, value in given.items() if value is not False}), _announce)
    return 0


def _announce(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


_options(emulator)
