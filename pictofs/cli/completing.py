"""`pictofs completion`: what a shell needs to complete command lines, and the words it is then given.

The script that a shell reads calls `pictofs` at each Tab with what was typed in its environment; `answer`
prints the words. Nothing here may wait for a mount or for the service: whoever presses Tab waits.
"""

from __future__ import annotations

import os
import sys

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

PROGRAM = "pictofs"
ASKED = "_PICTOFS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def script(shell: str, program: click.Command) -> str:
    """What the shell reads."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    made = kind(program, {}, PROGRAM, ASKED)
    # Not source(): it runs bash to ask for its version.
    return made.source_template % made.source_vars() + "\n"


def answer(program: click.Command, asked: str) -> int:
    """The words that a shell asks for."""
    return shell_complete(program, {}, PROGRAM, ASKED, asked)


def words(names: list[str], incomplete: str) -> list[CompletionItem]:
    """Those that begin so."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def mountpoints(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Where something of this user is mounted; it is not asked."""
    from pictofs.mount import places, record

    live = record.live(places.run_dir(os.environ, os.getuid()))
    return words([known.mountpoint for known in live], incomplete) or folders(context, parameter, incomplete)


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell knows them."""
    return [CompletionItem(incomplete, type="dir")]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell knows them."""
    return [CompletionItem(incomplete, type="file")]


def settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For -o: `name=`, and `name=value` where a few words are all it takes; behind a comma too."""
    from pictofs.mount.options import OPTIONS

    before, comma, _ = incomplete.rpartition(",")
    found = []
    for option in OPTIONS:
        values = option.value.split(" | ") if option.value == option.value.lower() else [""]
        found += [f"{before}{comma}{option.name}={value}" for value in values]
    return words(found, incomplete)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print what a shell needs to complete command lines of pictofs.

    \b
    bash:  eval "$(pictofs completion bash)"          in ~/.bashrc
    zsh:   eval "$(pictofs completion zsh)"           in ~/.zshrc, after compinit
    fish:  pictofs completion fish > ~/.config/fish/completions/pictofs.fish

    `pictofs install` puts them where these shells look by themselves.
    """
    from pictofs.cli.app import pictofs

    sys.stdout.write(script(shell, pictofs))
    return 0
