"""What `pictofs install` writes, and where: for the machine as root, for oneself as anybody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pictofs.cli import app, completing, manual
from pictofs.mount import installation, places
from pictofs.mount.installation import Piece

HELPER = Path("/sbin/mount.pictofs")
UNIT = "pictofs@.service"
# Where systemd looks for what is neither of a package nor of the administrator's own hand (systemd.unit(5)).
_UNITS = Path("/usr/local/lib/systemd")
_SHARED = Path("/usr/local/share")
# Where a shell and man look by themselves, below the shared folder; zsh has no such place of one user's.
_COMPLETIONS = {
    "bash": "bash-completion/completions/pictofs",
    "zsh": "zsh/site-functions/_pictofs",
    "fish": "fish/vendor_completions.d/pictofs.fish",
}


def of(python: str, environ: Mapping[str, str], *, machine: bool) -> Iterator[Piece]:
    """Every piece, in the order in which it is written."""
    if machine:
        yield Piece(HELPER, installation.helper(python), 0o755)
    yield from _units(python, environ, machine=machine)
    yield from _reading(_SHARED if machine else places.data_dir(environ), machine=machine)


def _units(python: str, environ: Mapping[str, str], *, machine: bool) -> Iterator[Piece]:
    """systemd's; that of the machine's users is for all of them."""
    if machine:
        program = [python, "-I", "-m", "pictofs"]
        yield Piece(_UNITS / "system" / UNIT, installation.unit(UNIT, program))
        yield Piece(_UNITS / "user" / UNIT, installation.unit(f"user/{UNIT}", program))
    else:
        folder = places.data_dir(environ) / "systemd/user"
        yield Piece(folder / UNIT, installation.unit(f"user/{UNIT}", [python, "-m", "pictofs"]))


def _reading(shared: Path, *, machine: bool) -> Iterator[Piece]:
    """Manual pages, and what shells complete by."""
    for page in manual.pages():
        folder = shared / "man" / f"man{page.file.rpartition('.')[2]}"
        yield Piece(folder / page.file, f'.\\" {installation.MARK}\n{page}')
    for shell, place in _COMPLETIONS.items():
        if machine or shell != "zsh":
            script = completing.script(shell, app.pictofs).lstrip()
            head, _, rest = script.partition("\n") if script.startswith("#") else ("", "", script)
            mark = f"# {installation.MARK}"     # zsh wants its own line first
            yield Piece(shared / place, "\n".join(filter(None, (head, mark, rest))))
