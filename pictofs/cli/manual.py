"""`pictofs man`: the manual pages, made of what `--help` says and of the table of options.

pictofs.1         every command                     from the commands themselves
mount.pictofs.8   what mount(8) calls               from its parser
pictofs.toml.5    every option                      from mount/options.py
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pictofs import __version__
from pictofs.cli.roff import Page
from pictofs.errors import UsageError
from pictofs.mount import helper, options

# Of the pages' words, not of the day on which they are written: what is installed twice must be the same.
REVISED = "2026-11-28"
EXITS = {
    0: "done",
    1: "some items failed, or the service refused; the lines name them",
    2: "usage or configuration",
    3: "the API key was refused",
    4: "the service cannot be reached, and nothing is known",
    5: "no FUSE here",
    6: "the mountpoint cannot be used",
    7: "not mounted, or busy",
    130: "interrupted",
}
_EXITS_8 = {
    0: "mounted",
    helper.USAGE: "wrong use or configuration, or no permission",
    helper.SYSTEM: "system error: no FUSE here",
    helper.INTERNAL: "a bug; the log says more",
    helper.INTERRUPTED: "interrupted",
    helper.FAILED: "the mount failed",
}
_FILES = {
    "~/.config/pictofs/config.toml, /etc/pictofs/config.toml": "settings: `pictofs.toml`(5)",
    "~/.cache/pictofs, /var/cache/pictofs": "what was fetched and is known; the latter for root",
    "~/.local/state/pictofs, /var/log/pictofs": "logs of mounts in the background",
    "MOUNTPOINT/.pictofs/status.json, metrics, access.log": "what a mount is doing",
}
_ENVIRONMENT = {
    "PICTOGRAPH_API_KEY": "the API key, where no option says where it is",
    "PICTOGRAPH_BASE_URL": "where the Developer API is, as the option `base_url`",
    "PICTOFS_NAME": "the option NAME, for every option of `pictofs.toml`(5) in capitals",
    "PICTOFS_DEBUG": "not empty: unexpected errors show their traceback",
    "NO_COLOR": "not empty: no colours",
}
_EXAMPLE = """\
api_key_file = "/etc/pictofs/key"
cache_size = "200G"

[profile.lab]
api_key_file = "/etc/pictofs/lab.key"
organization = "lab"
"""


def pages() -> list[Page]:
    """All of them."""
    return [_program(), _helper(), _configuration()]


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command below that does something, with the context in which it is typed."""
    if not isinstance(command, click.Group):
        yield command, context
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None and not inner.hidden:
            yield from commands(inner, click.Context(inner, context, info_name=name))


def _page(name: str, number: int, what: str) -> Page:
    return Page(name, number, what, date=REVISED, version=__version__)


def _program() -> Page:
    from pictofs.cli.app import pictofs

    page = _page("pictofs", 1, "mount a Pictograph organization as plain files")
    page.section("SYNOPSIS")
    page.text("`pictofs` COMMAND [OPTION]… [ARGUMENT]…")
    page.section("DESCRIPTION")
    page.text(
        "pictofs mounts a Pictograph organization as plain files. Bytes arrive when they are needed "
        "or seen to be needed soon, and from then on reading costs what reading a local file costs. "
        "The mount is read-only, survives restarts and an absent service with what it knows, and "
        "never shows a hole where a listing failed."
    )
    page.text("Errors are one line on stderr: what is wrong, and the mend.")
    page.section("COMMANDS")
    top = click.Context(pictofs, info_name="pictofs", help_option_names=["-h", "--help"])
    for command, context in commands(pictofs, top):
        usage = " ".join(command.collect_usage_pieces(context))
        page.part(f"{context.command_path} {usage}")
        page.texts(inspect.cleandoc(command.help or ""))
        for parameter in command.params:
            record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            if record is not None:
                page.entry(*record)
    page.section("EXIT STATUS")
    for code, what in EXITS.items():
        page.entry(str(code), what)
    page.section("ENVIRONMENT")
    for name, what in _ENVIRONMENT.items():
        page.entry(name, what)
    page.section("FILES")
    for name, what in _FILES.items():
        page.entry(name, what)
    page.section("SEE ALSO")
    page.text("`mount.pictofs`(8), `pictofs.toml`(5), `mount`(8), `fuse`(4)")
    return page


def _helper() -> Page:
    page = _page("mount.pictofs", 8, "mount a Pictograph organization")
    page.section("SYNOPSIS")
    page.text("`mount -t pictofs` SOURCE DIR [`-o` OPTION,…]")
    page.text("`mount.pictofs` SOURCE DIR [`-sfnvhV`] [`-N` NAMESPACE] [`-o` OPTION,…] [`-t` TYPE]")
    page.section("DESCRIPTION")
    page.text(
        "`mount`(8) calls `mount.pictofs` for the type `pictofs`, also for lines of /etc/fstab. It "
        "returns when the mount answers. `pictofs install` puts it into /sbin; it needs neither HOME "
        "nor PATH."
    )
    page.text(
        "SOURCE is a profile of the configuration file, several of them joined by commas, or the "
        "organization that the key must belong to. `umount DIR` ends the mount."
    )
    page.section("OPTIONS")
    for option in helper.parser().described():
        page.entry(*option)
    page.section("MOUNT OPTIONS")
    page.text("`-o` takes the options of `pictofs.toml`(5) as NAME=VALUE; a comma in a value is `\\,`.")
    page.text(
        "Of mount(8) and fuse(8) these words are known and, but for `noexec`, mean nothing here, as does "
        "whatever begins with `x-`: "
        + ", ".join(sorted(options.MOUNT8))
        + ". `rw` is a warning: a mount is read-only."
    )
    page.section("EXIT STATUS")
    for code, what in _EXITS_8.items():
        page.entry(str(code), what)
    page.section("EXAMPLES")
    page.text("A line of /etc/fstab, mounted once somebody looks:")
    page.verbatim("lab  /srv/pictograph  pictofs  noauto,x-systemd.automount,_netdev,allow_other  0  0")
    page.section("SEE ALSO")
    page.text("`pictofs`(1), `pictofs.toml`(5), `mount`(8), `fstab`(5)")
    return page


def _configuration() -> Page:
    page = _page("pictofs.toml", 5, "settings of pictofs")
    page.section("DESCRIPTION")
    page.text("An option is said in one of these places; what is said in an earlier one wins:")
    page.entry("the command line", "`-o name=value,name=value`; a comma in a value is `\\,`")
    page.entry("the environment", "`PICTOFS_NAME=value`")
    page.entry("a profile in a file", "`name = value` under `[profile.<name>]`")
    page.entry("a file", "`name = value`")
    page.text(
        "The files are $XDG_CONFIG_HOME/pictofs/config.toml (~/.config/pictofs/config.toml) and, "
        "weaker than it, /etc/pictofs/config.toml. They are TOML; a value may be a string, a number "
        "or a boolean. An unknown name is an error that offers the nearest."
    )
    page.text(
        "Sizes take `K`, `M`, `G`, `T` (powers of 1024), the limits of the cache also `%` of the file "
        "system it is on. Times take seconds or `90s`, `5m`, `1h`."
    )
    page.section("OPTIONS")
    for option in options.OPTIONS:
        page.entry(
            f"{option.name} = {option.value}",
            f"{option.meaning}.",
            f"Default: {option.default}. Why: {option.reason}.",
        )
    page.section("EXAMPLE")
    page.verbatim(_EXAMPLE)
    page.section("SEE ALSO")
    page.text("`pictofs`(1), `mount.pictofs`(8)")
    return page


@click.command()
@click.argument("page", required=False, metavar="[PAGE]")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write all pages into this folder instead.",
)  # fmt: skip
def man(page: str | None, output: Path | None) -> int:
    """Print a manual page, to be read by man: pictofs man | man -l -

    PAGE is pictofs.1, which it is by itself, mount.pictofs.8 or pictofs.toml.5. `pictofs install` puts them
    where man looks by itself.
    """
    made = {each.file: str(each) for each in pages()}
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
            for name, text in made.items():
                (output / name).write_text(text, encoding="ascii")
        except OSError as error:
            raise UsageError(
                f"--output {output} cannot be written to ({error.strerror}): name another"
            ) from None
        return 0
    if page is not None and page not in made:
        raise UsageError(f"there is no page {page!r}; there are {', '.join(made)}")
    sys.stdout.write(made[page or "pictofs.1"])
    return 0
