"""What one emulator is told at its start: one frozen object, and its command-line form.

Every field carries its flag, its help sentence and its limits in its metadata, so that `python -m pictofs.emulator`,
`pictofs emulator` and `launch.start` cannot disagree about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pictofs.errors import UsageError

Dialect = Literal["a", "b", "c"]
DIALECTS = ("a", "b", "c")
ROLES = ("viewer", "annotator", "member", "admin", "owner")  # ascending rights
STATUSES = ("new", "annotate", "review", "complete")
SPLITS = ("train", "val", "test", "none")
DEFAULT_SCENES = 24  # enough for every directory, status, split and shape of the generated dataset to occur


def _option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    metavar: str = "",
) -> Any:
    return field(
        default=default, metadata={"help": help, "choices": choices, "min": minimum, "metavar": metavar}
    )


@dataclass(frozen=True)
class EmulatorSettings:
    """Every option of `pictofs emulator`; `validate` says whether they go together."""

    data: Path | None = _option(
        None, "Folder to serve: DIR/<dataset>/{images,annotations,exports}, or pictures.", metavar="DIR"
    )
    generate: int | None = _option(
        None, "Draw a dataset of N JPEG scenes with true boxes and polygons.", minimum=0, metavar="N"
    )
    dialect: Dialect = _option("c", "Wire dialect of the Developer API.", choices=DIALECTS)
    host: str = _option("127.0.0.1", "Address to listen on, for all three ports.", metavar="ADDR")
    port: int = _option(0, "Port of the Developer API; 0 takes a free one.", minimum=0)
    storage_port: int = _option(0, "Port of the storage host; 0 takes a free one.", minimum=0)
    control_port: int = _option(0, "Port for faults, counters and mutations; 0 takes a free one.", minimum=0)
    url_ttl: int = _option(3600, "Seconds that a signed storage URL lives.", minimum=1, metavar="S")
    latency_ms: float = _option(0.0, "First-byte latency of every API answer.", minimum=0, metavar="N")
    storage_latency_ms: float = _option(
        0.0, "First-byte latency of every storage answer.", minimum=0, metavar="N"
    )
    bandwidth: int = _option(
        0,
        "Bytes a second of the storage host, shared by its connections; 0 is unlimited.",
        minimum=0,
        metavar="B/s",
    )
    rate_limit: int = _option(
        5000, "API requests allowed in one window; 0 is unlimited.", minimum=0, metavar="N"
    )
    rate_window_s: float = _option(
        3600.0, "Length of the rate-limit window in seconds.", minimum=0.1, metavar="S"
    )
    page_cap: int = _option(
        1000, "Rows that a page holds at most, whatever was asked for.", minimum=1, metavar="N"
    )
    batch_cap: int = _option(
        10000, "Images that one batch download names at most (dialects b and c).", minimum=1, metavar="N"
    )
    freeze_updated_at: bool = _option(False, "A dataset's updated_at never moves, whatever changes in it.")
    seed: int = _option(0, "Seed of ids, generated content and fault probabilities.", minimum=0)
    organization: str = _option("Pictofs Emulator", "Name of the organization.", metavar="NAME")
    api_key: str = _option(
        "pk_live_emulator_0000000000000000", "The API key that is accepted.", metavar="KEY"
    )
    role: str = _option("owner", "Role of the API key.", choices=ROLES)
    images: int = _option(
        0, "Make a synthetic dataset of N images, content produced on demand.", minimum=0, metavar="N"
    )
    image_bytes: int = _option(
        60_000, "Size of a synthetic image; the last bytes vary by up to 256.", minimum=0, metavar="B"
    )
    datasets: int = _option(1, "How many synthetic datasets of --images each.", minimum=1, metavar="K")
    names: str = _option(
        "mixed",
        "Names in synthetic datasets: plain, mixed (twins, Unicode, case), hostile (also '/', controls, over 255 bytes).",
        choices=("plain", "mixed", "hostile"),
    )
    statuses: str = _option(
        "new:1,annotate:1,review:1,complete:5",
        "Weights of the statuses in synthetic datasets.",
        metavar="S:W,…",
    )
    splits: str = _option(
        "train:7,val:2,test:1",
        "Weights of the splits in synthetic datasets; `none` is a split too.",
        metavar="S:W,…",
    )
    annotated: int = _option(
        80, "Per cent of synthetic images that have annotations.", minimum=0, metavar="PERCENT"
    )
    export_pending_ms: float = _option(
        100.0, "How long a new export stays pending, and again processing, at least.", minimum=0, metavar="N"
    )
    hold_exports: bool = _option(
        False, "New exports stay pending until the control port completes or fails them."
    )
    sparse_items: bool = _option(
        False, "Rows of the batch download leave out id and directory_path (b and c)."
    )
    no_totals: bool = _option(False, "Pages of dialect c leave out pagination.total.")
    annotation_urls: str = _option(
        "absolute",
        "annotation_url in dialect c: relative, absolute, or on a foreign host that must not get the key.",
        choices=("relative", "absolute", "foreign"),
    )
    hashes: str = _option("both", "What x-goog-hash carries.", choices=("both", "crc32c", "md5", "none"))
    api_ranges: bool = _option(False, "Image bytes by API honour Range (the real service is not known to).")
    parent: int = _option(
        0, "Exit when the process of this id ends; 0 watches nobody.", minimum=0, metavar="PID"
    )

    def validate(self) -> EmulatorSettings:
        """Return self, or raise `UsageError` naming the option that cannot be."""
        for each in fields(self):
            _check(each, getattr(self, each.name))
        if self.data is not None and not self.data.is_dir():
            raise UsageError(f"--data {self.data}: no such folder")
        for name, known in (("statuses", STATUSES), ("splits", SPLITS)):
            weights(getattr(self, name), known, flag(name))
        if self.annotated > 100:
            raise UsageError("--annotated is a percentage, at most 100")
        if self.image_bytes > 64 * 1024 * 1024:
            raise UsageError("--image-bytes is at most 64 MiB; serve bigger files with --data")
        ports = [port for port in (self.port, self.storage_port, self.control_port) if port]
        if len(set(ports)) != len(ports):
            raise UsageError("--port, --storage-port and --control-port must differ")
        if not self.api_key:
            raise UsageError("--api-key must not be empty")
        return self

    @property
    def scenes(self) -> int:
        """How many scenes to draw: `generate`, or a few when nothing else is there to serve."""
        if self.generate is not None:
            return self.generate
        return 0 if self.data is not None or self.images else DEFAULT_SCENES


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def _check(each: Field[Any], value: Any) -> None:
    choices, minimum = each.metadata["choices"], each.metadata["min"]
    if choices and value not in choices:
        raise UsageError(f"{flag(each.name)} {value}: choose from {', '.join(choices)}")
    if minimum is not None and value is not None and value < minimum:
        raise UsageError(f"{flag(each.name)} {value}: at least {minimum:g}")
    if each.name.endswith("port") and not 0 <= value <= 65535:
        raise UsageError(f"{flag(each.name)} {value}: a port is 0 to 65535")


def weights(text: str, known: Iterable[str], option: str) -> dict[str, int]:
    """Parse `name:weight,…`; raise `UsageError` for an unknown name or a weight that is no positive number."""
    allowed = tuple(known)
    found: dict[str, int] = {}
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        if name not in allowed or (colon and not weight.isdigit()):
            raise UsageError(f"{option} {text}: expected name:weight,… with names from {', '.join(allowed)}")
        found[name] = int(weight) if colon else 1
    if sum(found.values()) < 1:
        raise UsageError(f"{option} {text}: the weights are all zero")
    return found


@dataclass(frozen=True)
class Option:
    """One command-line option, enough to build it in argparse or click."""

    name: str
    flag: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...]
    metavar: str


_TYPES: dict[str, type] = {"data": Path, "generate": int}


def options() -> tuple[Option, ...]:
    """Every option in its order; `type` is str, int, float, bool (a switch) or Path."""
    found = []
    for each in fields(EmulatorSettings):
        default = None if each.default is MISSING else each.default
        found.append(
            Option(
                each.name,
                flag(each.name),
                _TYPES.get(each.name, type(default)),
                default,
                each.metadata["help"],
                each.metadata["choices"],
                each.metadata["metavar"],
            )
        )
    return tuple(found)


def from_mapping(values: Mapping[str, Any]) -> EmulatorSettings:
    """Settings from parsed options (absent or None means the default), validated."""
    known = {each.name for each in fields(EmulatorSettings)}
    given = {name: value for name, value in values.items() if name in known and value is not None}
    return EmulatorSettings(**given).validate()


def to_arguments(settings: EmulatorSettings) -> list[str]:
    """The command line that makes the same settings again; what has its default value is left out."""
    arguments: list[str] = []
    for option in options():
        value = getattr(settings, option.name)
        if value == option.default:
            continue
        if option.type is bool:
            arguments.append(option.flag)
        else:
            arguments.append(f"{option.flag}={value}")
    return arguments
