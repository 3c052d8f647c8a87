"""Files that pictofs puts into the system's folders: written once, known again, taken away.

Every one carries `MARK` in its first lines. What stands in the place of one and does not carry it belongs to
somebody else and is never written to, nor removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pictofs
from pictofs.errors import PictofsError, UsageError

MARK = "Written by `pictofs install`; `pictofs uninstall` removes it."
_MARKED_LINES = 5
_PROBE_LIMIT_S = 30.0
HELPER = "pictofs.mount.helper"
PACKAGED = "/usr/bin/pictofs"  # as the units of `systemd/` say it, for packages that have it there


@dataclass(frozen=True, slots=True)
class Piece:
    """One file: where it goes (absolute), what it says, its mode."""

    path: Path
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a piece; `error` with the mend when nothing could."""

    path: Path
    what: str
    error: str = ""


def helper(python: str) -> str:
    """The text of `/sbin/mount.pictofs`: `python` as it is, whatever the environment says.

    Not a `#!` of that Python: the kernel cuts long ones, and this needs no PATH.
    """
    quoted = "'" + python.replace("'", "'\\''") + "'"
    return f'#!/bin/sh\n# {MARK}\nexec {quoted} -I -m {HELPER} "$@"\n'


def unit(name: str, program: Sequence[str]) -> str:
    """A unit of `systemd/`, which calls pictofs by the words of `program`; UsageError without that folder."""
    # In a wheel the folder is within the package, in a clone beside it.
    package = Path(pictofs.__file__).parent
    folder = next((path for path in (package / "systemd", package.parent / "systemd") if path.is_dir()), None)
    if folder is None:
        raise UsageError(f"{package} has no folder systemd; install pictofs again: pip install -U pictofs")
    text = (folder / name).read_text(encoding="utf-8")
    return f"# {MARK}\n{text.replace(PACKAGED, ' '.join(map(_quoted, program)))}"


def _quoted(word: str) -> str:
    """As systemd.syntax(7) has it in a command line."""
    text = word.replace("%", "%%").replace("$", "$$")
    if all(character.isalnum() or character in "%$/._+-@" for character in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check(python: str) -> None:
    """UsageError where `python` finds pictofs only through the environment, which mount(8) does not pass on.
    """
    try:
        ran = subprocess.run(
            [python, "-I", "-m", HELPER, "-V"], env={}, cwd="/", stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_PROBE_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{python} cannot be started without an environment: {error}") from error
    if ran.returncode:
        raise UsageError(
            f"{python} finds pictofs only through PYTHONPATH or a user's site-packages, and mount(8) has "
            f"neither; install it with that Python's pip, in a venv or for the system"
        )


def put(pieces: Iterable[Piece], root: Path = Path("/")) -> Iterator[Outcome]:
    """Write what is not there or differs, below `root`; the outcomes, piece by piece."""
    for piece in pieces:
        path = below(root, piece.path)
        try:
            yield Outcome(path, _put(path, piece))
        except (OSError, PictofsError) as error:
            yield Outcome(path, "not written", _why(error))


def take_away(pieces: Iterable[Piece], root: Path = Path("/")) -> Iterator[Outcome]:
    """Remove what is there and ours; the outcomes, piece by piece."""
    for piece in pieces:
        path = below(root, piece.path)
        try:
            yield Outcome(path, _take_away(path))
        except (OSError, PictofsError) as error:
            yield Outcome(path, "not removed", _why(error))


def below(root: Path, path: Path) -> Path:
    """An absolute path as it is below a root that something is packaged in."""
    return root / path.relative_to("/")


def present(piece: Piece) -> bool:
    """Whether a file of ours is there, of this or another version."""
    try:
        return _ours(piece.path)
    except (OSError, PictofsError):
        return False


def _put(path: Path, piece: Piece) -> str:
    known = _ours(path)
    if known and path.read_text(encoding="utf-8") == piece.text and path.stat().st_mode & 0o777 == piece.mode:
        return "is there"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(piece.text, encoding="utf-8")
        draft.chmod(piece.mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return "replaced" if known else "written"


def _take_away(path: Path) -> str:
    if not _ours(path):
        return "is not there"
    path.unlink()
    return "removed"


def _ours(path: Path) -> bool:
    """False where nothing is; PictofsError for what is another's."""
    if not os.path.lexists(path):
        return False
    if path.is_file() and not path.is_symlink():
        with path.open(encoding="utf-8", errors="replace") as file:
            if any(MARK in line for _, line in zip(range(_MARKED_LINES), file, strict=False)):
                return True
    raise PictofsError("it was not written by `pictofs install`; move it away first if pictofs is to have it")


def _why(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "permission denied; run it as root"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def program() -> str:
    """The Python that runs this, by which every piece calls pictofs."""
    return sys.executable
