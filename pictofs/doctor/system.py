"""The rest of the machine: what reads everything it sees, mount(8)'s helper, units, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pictofs import __version__
from pictofs.doctor.finding import Finding, bad, good, poor
from pictofs.drivers import mountinfo
from pictofs.mirror.readers import Habit, habit_of
from pictofs.mount import installation
from pictofs.mount.installation import Piece

UPDATEDB_CONF = "/etc/updatedb.conf"
FSTAB = "/etc/fstab"
_SYSTEMD = "/run/systemd/system"
_SYSTEMCTL_LIMIT_S = 5.0
# `pip` knows them by these names; what a dependency is for is in docs/architecture.md.
_REQUIREMENT = re.compile(r"^(?P<name>[\w.-]+)\s*(?P<bounds>[^;]*)(?:;(?P<marker>.*))?$")
_BOUND = re.compile(r"(>=|==)\s*([\d.]+)")


@dataclass(frozen=True, slots=True)
class Pieces:
    """What `pictofs install` writes: how each of them stands, by path; `fstab` has lines that need them."""

    standing: Mapping[str, str]        # "as written", "another version", "absent"
    fstab: tuple[str, ...]             # mountpoints of type pictofs


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of systemd with pictofs in its name."""

    name: str
    active: str
    sub: str


def updatedb(configuration: str | None, installed: bool, mountpoints: Iterable[str]) -> Finding:
    """Whether `locate`'s index leaves mounts alone; `configuration` None: there is no file of it."""
    check = "updatedb"
    if configuration is None and not installed:
        return good(check, "it is not installed")
    words = _assignments(configuration or "")
    if mountinfo.TYPE in words.get("PRUNEFS", "").split():
        return good(check, f"{UPDATEDB_CONF} leaves {mountinfo.TYPE} alone")
    pruned = words.get("PRUNEPATHS", "").split()
    places = list(mountpoints)
    if places and all(any(_inside(place, path) for path in pruned) for place in places):
        return good(check, f"{UPDATEDB_CONF} leaves the mountpoints alone")
    mend = f"add {mountinfo.TYPE} to PRUNEFS in {UPDATEDB_CONF}"
    return poor(check, "it walks through every mount that it can see, and lists every dataset for that", mend)


def indexers(names: Iterable[str]) -> Finding:
    """Programs that read a little of everything, by the names of the processes that run."""
    found = sorted({name for name in names if habit_of(name) is Habit.IDLES and name != "file"})
    if not found:
        return good("indexers", "none runs")
    mend = "have them leave the mountpoint alone; pictofs fetches nothing ahead for them"
    return poor("indexers", f"{', '.join(found)} may read what they see", mend)


def helper(pieces: Pieces) -> Finding:
    """mount(8)'s helper and the other files of `pictofs install`."""
    check = "installed files"
    absent = [path for path, how in pieces.standing.items() if how == "absent"]
    old = [path for path, how in pieces.standing.items() if how == "another version"]
    without = [path for path in absent if path.endswith("/mount.pictofs")]
    if without and pieces.fstab:
        what = f"{FSTAB} mounts {', '.join(pieces.fstab)}, and there is no {without[0]}"
        return bad(check, what, "`pictofs install` as root")
    if len(absent) == len(pieces.standing):
        what = f"none: mount(8), {FSTAB} and systemd do not know pictofs"
        return good(check, f"{what}; `pictofs install` tells them, where you want that")
    if absent or old:
        what = f"of {len(pieces.standing)} files {len(absent)} are missing, {len(old)} of another version"
        return poor(check, f"{what}: {', '.join([*absent, *old][:3])} …", "`pictofs install` writes them")
    return good(check, f"all {len(pieces.standing)} are there")


def units(found: Iterable[Unit] | None) -> Finding:
    """systemd's units; None where no systemd runs."""
    if found is None:
        return good("units", "no systemd runs here")
    all_of_them = list(found)
    failed = [unit for unit in all_of_them if unit.active == "failed"]
    if failed:
        names = " ".join(unit.name for unit in failed)
        return bad("units", f"failed: {names}", f"`journalctl -u {failed[0].name}` says why")
    said = ", ".join(f"{unit.name} ({unit.active}, {unit.sub})" for unit in all_of_them)
    return good("units", said or "none of pictofs is loaded")


def versions(python: str, required: Iterable[str], installed: Mapping[str, str | None]) -> Finding:
    """The program and what it is made with; `required` as the package's metadata says it."""
    lacking = []
    for line in required:
        parts = _REQUIREMENT.match(line)
        if parts is None or "extra" in (parts["marker"] or ""):
            continue
        there = installed.get(parts["name"])
        if there is None:
            if not parts["marker"]:
                lacking.append(f"{parts['name']} is missing")
            continue
        lacking += [
            f"{parts['name']} {there} is not {sign}{bound}"
            for sign, bound in _BOUND.findall(parts["bounds"])
            if not _holds(there, sign, bound)
        ]
    said = f"pictofs {__version__}, Python {python}"
    if lacking:
        what = f"{said}; {', '.join(lacking)}"
        return bad("versions", what, "install pictofs again: pip install -U pictofs")
    return good("versions", said)


def checks(pieces: Iterable[Piece], mountpoints: Iterable[str]) -> Iterator[Finding]:
    """All of it, over this machine."""
    yield updatedb(_text(UPDATEDB_CONF), shutil.which("updatedb") is not None, mountpoints)
    yield indexers(processes())
    yield helper(standing(pieces, _text(FSTAB) or ""))
    yield units(loaded_units())
    required = requirements()
    yield versions(platform.python_version(), required, installed_versions(required))


def standing(pieces: Iterable[Piece], fstab: str) -> Pieces:
    """How the files of `pictofs install` stand."""
    return Pieces({str(piece.path): _how(piece) for piece in pieces}, tuple(of_fstab(fstab)))


def of_fstab(fstab: str) -> Iterator[str]:
    """The mountpoints of the lines that are ours."""
    for line in fstab.splitlines():
        words = line.split("#")[0].split()
        if len(words) >= 3 and words[2] in ("pictofs", mountinfo.TYPE):
            yield words[1]


def processes() -> Iterator[str]:
    """The names of all processes that can be seen."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield (folder / "comm").read_text(errors="replace").strip()
            except OSError:
                continue  # it has ended


def loaded_units() -> list[Unit] | None:
    """What systemd says; None where none runs, or it does not answer."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not os.path.isdir(_SYSTEMD):
        return None
    words = [systemctl, *([] if os.geteuid() == 0 else ["--user"]), "list-units", "--all", "--plain",
             "--no-legend", "--no-pager", "pictofs*", "*pictofs*"]  # fmt: skip
    try:
        ran = subprocess.run(
            words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SYSTEMCTL_LIMIT_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [Unit(*words) for words in map(_unit, ran.stdout.splitlines()) if words]


def _unit(line: str) -> tuple[str, str, str] | None:
    words = line.replace("●", " ").split()
    return (words[0], words[2], words[3]) if len(words) >= 4 else None


def requirements() -> list[str]:
    """What the package says that it needs; nothing where it is not installed as one."""
    try:
        return importlib.metadata.requires("pictofs") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def installed_versions(required: Iterable[str]) -> dict[str, str | None]:
    """Name → version, None for what is not there."""
    found: dict[str, str | None] = {}
    for line in required:
        parts = _REQUIREMENT.match(line)
        if parts is None or "extra" in (parts["marker"] or ""):
            continue
        try:
            found[parts["name"]] = importlib.metadata.version(parts["name"])
        except importlib.metadata.PackageNotFoundError:
            found[parts["name"]] = None
    return found


def _how(piece: Piece) -> str:
    if not installation.present(piece):
        return "absent"
    same = piece.path.read_text(encoding="utf-8", errors="replace") == piece.text
    return "as written" if same else "another version"


def _assignments(text: str) -> dict[str, str]:
    return dict(re.findall(r'^\s*(\w+)\s*=\s*"([^"]*)"', text, re.MULTILINE))


def _inside(place: str, folder: str) -> bool:
    return (place + "/").startswith(folder.rstrip("/") + "/")


def _holds(there: str, sign: str, bound: str) -> bool:
    have, want = ([int(part) for part in re.findall(r"\d+", text)[:4]] for text in (there, bound))
    width = max(len(have), len(want))
    have, want = have + [0] * (width - len(have)), want + [0] * (width - len(want))
    return have == want if sign == "==" else have >= want


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
