"""The room table of docs/architecture.md, held by the imports; each third-party library to its room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pictofs"
# "" is the package itself: its version
OPEN = {"errors", "names", "config", "secrets", "stacks", "journal", ""}

_BELOW_MOUNT = {"api", "storage", "catalog", "store", "link", "mirror", "tree", "vfs", "drivers"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "names": set(),
    "config": set(),
    "secrets": set(),
    "stacks": set(),
    "journal": set(),
    "api": set(),
    "storage": set(),
    "catalog": set(),
    "store": set(),
    "link": set(),
    "emulator": set(),
    "download": {"api", "storage"},
    "mirror": {"api", "storage", "catalog", "store", "link"},
    "tree": {"catalog", "link"},
    "vfs": {"tree", "catalog", "link"},
    "drivers": {"vfs"},
    "mount": _BELOW_MOUNT,
    "ui": {"api", "mount"},
    "doctor": {*_BELOW_MOUNT, "mount"},
    "cli": {*_BELOW_MOUNT, "download", "mount", "ui", "doctor", "emulator"},
    "torch": set(),
    "__main__": {"cli"},
}

LIBRARIES: dict[str, set[str]] = {
    "requests": {"api", "storage"},  # storage: the fallback where libcurl cannot be installed
    "urllib3": {"api", "storage"},
    "pycurl": {"storage"},
    "certifi": {"storage"},  # libcurl's wheel has the path of another machine's certificates compiled in
    "diskcache": {"store"},
    "fuse": {"drivers"},
    "google_crc32c": {"storage", "store", "download", "mirror", "emulator"},
    "cachetools": {"mirror", "tree", "ui"},
    "msgspec": {"api", "storage", "link", "mirror", "tree", "vfs", "catalog", "store", "emulator"},
    "prometheus_client": {"vfs"},
    "tomllib": {"mount"},
    "tomli": {"mount"},
    "click": {"cli"},
    "rich": {"cli"},
    "uvicorn": {"emulator"},
    "starlette": {"emulator"},
    "uvloop": {"emulator"},
    "httptools": {"emulator"},
    "PIL": {"emulator"},
    "torch": {"torch"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem.replace("__init__", "")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            if node.module == "pictofs":
                for name in node.names:
                    inside = (PACKAGE / name.name).is_dir() or (PACKAGE / f"{name.name}.py").exists()
                    yield node.lineno, f"pictofs.{name.name}" if inside else "pictofs"
            else:
                yield node.lineno, node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    room = room_of(path)
    if room == "":
        return
    assert room in ROOMS, f"{room} is no room of the table"
    for line, module in imports(path):
        first, _, rest = module.partition(".")
        if first == "pictofs":
            other = rest.partition(".")[0]
            assert other in OPEN | ROOMS[room] | {room}, f"{path.name}:{line}: {room} may not import {module}"
        elif first not in sys.stdlib_module_names:
            assert room in LIBRARIES.get(first, set()), f"{path.name}:{line}: {first} is not for {room}"


def test_the_rooms_form_no_circle() -> None:
    for room, below in ROOMS.items():
        reach, frontier = set(below), set(below)
        while frontier:
            frontier = {lower for upper in frontier for lower in ROOMS[upper]} - reach
            reach |= frontier
        assert room not in reach


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_one_purpose_and_at_most_400_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)), "a module says in its first lines what it is for"


def test_no_pickle_anywhere() -> None:
    for path in MODULES:
        for line, module in imports(path):
            assert module.partition(".")[0] not in ("pickle", "marshal", "shelve", "dill"), f"{path}:{line}"


def test_every_dependency_is_used_and_every_library_declared() -> None:
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    used = {module.partition(".")[0] for path in MODULES for _, module in imports(path)}
    distribution = {
        "fuse": "fusepy",
        "google_crc32c": "google-crc32c",
        "prometheus_client": "prometheus-client",
        "PIL": "pillow",
    }
    for library in LIBRARIES:
        name = distribution.get(library, library)
        if library not in ("tomllib", "urllib3", "torch"):  # torch: whoever has it has it
            assert (f'"{name}' in declared) == (library in used), library
