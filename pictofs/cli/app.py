"""The command `pictofs` and its subcommands, and how any of them ends: an exit code, and one line when it
failed.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from pictofs import __version__
from pictofs.cli import completing
from pictofs.errors import PictofsError

INTERRUPTED = 130

# A command's module is imported when it is called: `pictofs status` in a loop must not load an emulator each
# time.
COMMANDS = {
    "mount": "mounting",
    "umount": "mounting",
    "status": "state",
    "refresh": "asking",
    "pin": "asking",
    "unpin": "asking",
    "warm": "warming",
    "advise": "warming",
    "datasets": "datasets",
    "exports": "exports",
    "images": "images",
    "download": "download",
    "whoami": "whoami",
    "demo": "demo",
    "emulator": "emulating",
    "ui": "viewing",
    "upgrade": "upgrading",
    "cache": "caching",
    "doctor": "doctoring",
    "completion": "completing",
    "man": "manual",
    "explain": "explaining",
    "install": "installing",
    "uninstall": "installing",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(f"pictofs.cli.{module}"), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # The base's would import every command for a line of help that only some shells show.
        names = completing.words(list(COMMANDS), incomplete)
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="pictofs")
def pictofs() -> None:
    """Mount a Pictograph organization as plain files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code. Errors are one line on stderr, never a traceback."""
    try:
        # Not pictofs.main: it has ideas of its own about exits, interrupts and what is printed.
        given = list(sys.argv[1:] if arguments is None else arguments)
        if asked := os.environ.get(completing.ASKED):
            return completing.answer(pictofs, asked)
        with pictofs.make_context("pictofs", given) as context:
            code = pictofs.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 0
    except click.ClickException as error:
        return _say(_usage(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", INTERRUPTED)
    except PictofsError as error:
        if os.environ.get("PICTOFS_DEBUG"):
            traceback.print_exc()
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        # `pictofs status | head`: the reader has what it wanted. Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the outermost frame: one line for the unexpected
        if os.environ.get("PICTOFS_DEBUG"):
            traceback.print_exc()
        from pictofs.mount import failures

        where = failures.keep(error, os.environ)
        return _say(f"unexpected {type(error).__name__}; {where}, PICTOFS_DEBUG=1 shows it here", 1)
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", "pictofs")
    message = " ".join(error.format_message().split())
    return f"{message.rstrip('.')}; see `{command} --help`"


def _say(message: str, code: int) -> int:
    print(f"pictofs: {message}", file=sys.stderr)
    return code
