"""Settings from `-o`, the environment and the files, the stronger over the weaker.

    strength   says                                        where
    4          -o name=value,…                             the command line
    3          PICTOFS_NAME (and PICTOGRAPH_BASE_URL)      the environment
    2          name = value under [profile.<name>]         the files below
    1          name = value                                the files below

The files are $XDG_CONFIG_HOME/pictofs/config.toml and, weaker, /etc/pictofs/config.toml.

SOURCE is a profile, several profiles joined by commas, or the organization that the key must belong to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pictofs.config import KeySource, Profile, Settings
from pictofs.errors import UsageError
from pictofs.mount import options, places
from pictofs.mount.values import Share

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NO_SOURCE = "pictofs"  # what mountinfo says without a SOURCE; in fstab, where one must be, it means the same
# Not options: switches of the program.
_SWITCHES = frozenset(("PICTOFS_DEBUG",))


@dataclass(slots=True)
class Layer:
    """What one place says: option name → (text, where it was said)."""

    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def say(self, name: str, text: str, where: str) -> None:
        """Take one option; UsageError for a name that is none."""
        options.named(name, where)
        self.said[name] = (text, where)


@dataclass(frozen=True, slots=True)
class Configured:
    """Settings ready to mount with, and the organization that SOURCE asked for (None: the key's, whichever it
    is).
    """

    settings: Settings
    organization: str | None
    given: tuple[str, ...] = ()  # with `settings.source` and `sloppy` what it takes to read them again
    sloppy: bool = False
    said: frozenset[str] = frozenset()  # the options that some place has said


def split_options(text: str) -> list[str]:
    """The parts of an `-o` value: commas part them, `\\,` is a comma and `\\\\` a backslash, as in fuse(8).
    """
    parts, current, escaped = [], "", False
    for character in text:
        if escaped:
            current += character if character in ",\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append(current)
            current = ""
        else:
            current += character
    parts.append(current + "\\" * escaped)
    return [part.strip() for part in parts if part.strip()]


def of_command_line(given: Iterable[str], *, sloppy: bool = False) -> Layer:
    """The layer of all `-o`; a later one wins. Words of mount(8) are collected, they set no option.

    `sloppy`: so is what nobody knows.
    """
    layer = Layer()
    for part in (part for text in given for part in split_options(text)):
        name, _, text = part.partition("=")
        if options.ignored(name) or (sloppy and name not in options.BY_NAME):
            layer.ignored.append(name)
        elif not _ and options.BY_NAME.get(name) and options.BY_NAME[name].value != "on | off":
            raise UsageError(f"-o {name}: it needs a value, {name}={options.BY_NAME[name].value}")
        else:
            layer.say(name, text, "-o")
    return layer


def of_environment(environ: Mapping[str, str]) -> Layer:
    """The layer of PICTOFS_NAME; an empty variable says nothing."""
    layer = Layer()
    if environ.get("PICTOGRAPH_BASE_URL"):
        layer.say("base_url", environ["PICTOGRAPH_BASE_URL"], "PICTOGRAPH_BASE_URL")
    for variable in sorted(environ):
        if variable.startswith("PICTOFS_") and variable not in _SWITCHES and environ[variable]:
            name = variable.removeprefix("PICTOFS_")
            layer.say(name.lower(), environ[variable], f"environment variable {variable}")
    return layer


def of_file(path: Path) -> tuple[Layer, dict[str, Layer]]:
    """The plain layer of a file and those of its profiles; a missing file says nothing."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Layer(), {}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; make it readable or remove it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    sections = document.pop("profile", {})
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise UsageError(f"{path}: a profile is a section, [profile.<name>]")
    return _of_table(document, str(path)), {
        name: _of_table(section, f"{path} [profile.{name}]") for name, section in sections.items()
    }


def _of_table(table: Mapping[str, Any], where: str) -> Layer:
    layer = Layer()
    for name, value in table.items():
        if options.ignored(name):
            layer.ignored.append(name)
            continue
        if isinstance(value, bool):
            text = "on" if value else "off"
        elif isinstance(value, int | float | str):
            text = str(value)
        else:
            options.named(name, where)
            raise UsageError(f'{where}: {name} takes one value, as in {name} = "…"')
        layer.say(name, text, where)
    return layer


def read(
    source: str | None,
    given: Sequence[str],
    environ: Mapping[str, str],
    files: Iterable[Path],
    *,
    sloppy: bool = False,
) -> Configured:
    """Settings of a mount from everything that says something; UsageError is one line that names where.

    `sloppy`: names on the command line that are no option are ignored.
    """
    plain: list[Layer] = []
    sections: dict[str, list[Layer]] = {}
    for path in files:
        layer, profiles = of_file(path)
        plain.append(layer)
        for name, section in profiles.items():
            sections.setdefault(name, []).append(section)
    strong = [of_command_line(given, sloppy=sloppy), of_environment(environ)]
    names, organization = chosen(source, sections)
    merged = {name: _merge([*strong, *sections.get(name, []), *plain]) for name in names or ("",)}
    _refuse_shared_keys(merged, strong)
    alone = len(merged) == 1
    mount = _mount_wide(merged)
    cache_dir = _absolute(mount.pop("cache_dir", None) or str(places.cache_dir(environ, os.getuid())))
    for name in ("overlay", "ca_file", "log_file"):
        if name in mount:
            mount[name] = _absolute(mount[name])
    for name in ("cache_size_bytes", "min_free_bytes"):
        if isinstance(mount.get(name), Share):
            mount[name] = mount[name].of(_file_system_bytes(cache_dir))
    settings = Settings(
        source=source or NO_SOURCE,
        profiles=tuple(_profile(name, said, alone) for name, said in merged.items()),
        cache_dir=cache_dir,
        noexec=options.noexec(strong[0].ignored),
        ignored=tuple(strong[0].ignored),
        **mount,
    )
    said_somewhere = frozenset(name for said in merged.values() for name in said)
    return Configured(settings, organization, tuple(given), sloppy, said_somewhere)


def chosen(source: str | None, sections: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """(profiles to mount, organization the key must belong to) that a SOURCE means.

    A profile wins over an organization of the same name: only its section can say which key to use.
    """
    if source is None or source in ("", NO_SOURCE, "none"):
        return [], None
    if source in sections:
        return [source], None
    parts = [part.strip() for part in source.split(",")]
    if len(parts) > 1 and any(part in sections for part in parts):
        missing = [part for part in parts if part not in sections]
        if missing:
            raise UsageError(f"SOURCE {source}: there is no [profile.{missing[0]}] in the configuration file")
        if len(set(parts)) < len(parts):
            raise UsageError(f"SOURCE {source}: a profile stands there twice")
        return parts, None
    return [], source


def _merge(layers: Iterable[Layer]) -> dict[str, tuple[str, str]]:
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        # A stronger place that says where the key is silences every weaker place about it.
        key_known = any(options.BY_NAME[name].scope == options.KEY for name in merged)
        for name, said in layer.said.items():
            if not (key_known and options.BY_NAME[name].scope == options.KEY):
                merged.setdefault(name, said)
    if "api_key_file" in merged and "api_key_command" in merged:
        raise UsageError(
            f"{merged['api_key_file'][1]}: api_key_file and api_key_command are both set; keep one"
        )
    return merged


def _refuse_shared_keys(merged: Mapping[str, Any], strong: Iterable[Layer]) -> None:
    """With several profiles, what belongs to one of them cannot be said for all."""
    if len(merged) < 2:
        return
    for layer in strong:
        for name, (_, where) in layer.said.items():
            if options.BY_NAME[name].scope == options.KEY or name == "organization":
                raise UsageError(
                    f"{where}: {name} cannot hold for several profiles; write it into their sections"
                )


def _mount_wide(merged: Mapping[str, Mapping[str, tuple[str, str]]]) -> dict[str, Any]:
    wide: dict[str, Any] = {}
    for option in options.OPTIONS:
        if option.scope != options.MOUNT:
            continue
        said = [profile[option.name] for profile in merged.values() if option.name in profile]
        if len({text for text, _ in said}) > 1 or 0 < len(said) < len(merged):
            raise UsageError(
                f"{said[0][1]}: {option.name} holds for a whole mount, and these profiles differ; "
                f"say it with -o or outside their sections"
            )
        if said:
            wide[option.field] = option.read(*said[0])
    return wide


def _profile(name: str, said: Mapping[str, tuple[str, str]], alone: bool) -> Profile:
    own: dict[str, Any] = {}
    key: dict[str, Any] = {} if alone else {"credential": f"api-key-{name}"}
    for option in options.OPTIONS:
        if option.scope == options.MOUNT or option.name not in said:
            continue
        (key if option.scope == options.KEY else own)[option.field] = option.read(*said[option.name])
    if "file" in key:
        key["file"] = _absolute(key["file"])
    return Profile(name=name or "default", key=KeySource(**key), **own)


def _absolute(path: str) -> str:
    # The daemon's working directory is /, so a relative path means something only now.
    return os.path.abspath(os.path.expanduser(path))


def _file_system_bytes(path: str) -> int:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_frsize * status.f_blocks
