"""What one emulator is told at its start: one frozen object, and its command-line form.

Every field carries its flag, its help sentence and its limits in its metadata, so that `python -m
pictofs.emulator`, `pictofs emulator` and `launch.start` cannot disagree about them.
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


def _told(
    help: str, *, choices: tuple[str, ...] = (), minimum: float | None = None, metavar: str = ""
) -> dict[str, Any]:
    return {"help": help, "choices": choices, "min": minimum, "metavar": metavar}


@dataclass(frozen=True)
class EmulatorSettings:
    """Every option of `pictofs emulator`; `validate` says whether they go together."""

    data: Path | None = field(
        default=None,
        metadata=_told(
            "Folder to serve: DIR/<dataset>/{images,annotations,exports}, or pictures.", metavar="DIR"
        ),
    )
    generate: int | None = field(
        default=None,
        metadata=_told(
            "Draw a dataset of N JPEG scenes with true boxes and polygons.", minimum=0, metavar="N"
        ),
    )
    dialect: Dialect = field(
        default="c", metadata=_told("Wire dialect of the Developer API.", choices=DIALECTS)
    )
    host: str = field(
        default="127.0.0.1", metadata=_told("Address to listen on, for all three ports.", metavar="ADDR")
    )
    port: int = field(default=0, metadata=_told("Port of the Developer API; 0 takes a free one.", minimum=0))
    storage_port: int = field(
        default=0, metadata=_told("Port of the storage host; 0 takes a free one.", minimum=0)
    )
    control_port: int = field(
        default=0, metadata=_told("Port for faults, counters and mutations; 0 takes a free one.", minimum=0)
    )
    url_ttl: int = field(
        default=3600, metadata=_told("Seconds that a signed storage URL lives.", minimum=1, metavar="S")
    )
    latency_ms: float = field(
        default=0.0, metadata=_told("First-byte latency of every API answer.", minimum=0, metavar="N")
    )
    storage_latency_ms: float = field(
        default=0.0, metadata=_told("First-byte latency of every storage answer.", minimum=0, metavar="N")
    )
    bandwidth: int = field(
        default=0,
        metadata=_told(
            "Bytes a second of the storage host, shared by its connections; 0 is unlimited.",
            minimum=0,
            metavar="B/s",
        ),
    )
    rate_limit: int = field(
        default=5000,
        metadata=_told("API requests allowed in one window; 0 is unlimited.", minimum=0, metavar="N"),
    )
    rate_window_s: float = field(
        default=3600.0,
        metadata=_told("Length of the rate-limit window in seconds.", minimum=0.1, metavar="S"),
    )
    page_cap: int = field(
        default=1000,
        metadata=_told("Rows that a page holds at most, whatever was asked for.", minimum=1, metavar="N"),
    )
    batch_cap: int = field(
        default=10000,
        metadata=_told(
            "Images that one batch download names at most (dialects b and c).", minimum=1, metavar="N"
        ),
    )
    freeze_updated_at: bool = field(
        default=False, metadata=_told("A dataset's updated_at never moves, whatever changes in it.")
    )
    seed: int = field(
        default=0, metadata=_told("Seed of ids, generated content and fault probabilities.", minimum=0)
    )
    organization: str = field(
        default="Pictofs Emulator", metadata=_told("Name of the organization.", metavar="NAME")
    )
    api_key: str = field(
        default="pk_live_emulator_0000000000000000",
        metadata=_told("The API key that is accepted.", metavar="KEY"),
    )
    role: str = field(default="owner", metadata=_told("Role of the API key.", choices=ROLES))
    images: int = field(
        default=0,
        metadata=_told(
            "Make a synthetic dataset of N images, content produced on demand.", minimum=0, metavar="N"
        ),
    )
    image_bytes: int = field(
        default=60_000,
        metadata=_told(
            "Size of a synthetic image; the last bytes vary by up to 256.", minimum=0, metavar="B"
        ),
    )
    datasets: int = field(
        default=1, metadata=_told("How many synthetic datasets of --images each.", minimum=1, metavar="K")
    )
    names: str = field(
        default="mixed",
        metadata=_told(
            "Synthetic names: plain, mixed (twins, Unicode, case), hostile (also '/', controls, too long).",
            choices=("plain", "mixed", "hostile"),
        ),
    )
    statuses: str = field(
        default="new:1,annotate:1,review:1,complete:5",
        metadata=_told("Weights of the statuses in synthetic datasets.", metavar="S:W,…"),
    )
    splits: str = field(
        default="train:7,val:2,test:1",
        metadata=_told(
            "Weights of the splits in synthetic datasets; `none` is a split too.", metavar="S:W,…"
        ),
    )
    annotated: int = field(
        default=80,
        metadata=_told("Per cent of synthetic images that have annotations.", minimum=0, metavar="PERCENT"),
    )
    export_pending_ms: float = field(
        default=100.0,
        metadata=_told(
            "How long a new export stays pending, and again processing, at least.", minimum=0, metavar="N"
        ),
    )
    hold_exports: bool = field(
        default=False,
        metadata=_told("New exports stay pending until the control port completes or fails them."),
    )
    sparse_items: bool = field(
        default=False, metadata=_told("Rows of the batch download leave out id and directory_path (b and c).")
    )
    no_totals: bool = field(default=False, metadata=_told("Pages of dialect c leave out pagination.total."))
    annotation_urls: str = field(
        default="absolute",
        metadata=_told(
            "annotation_url in dialect c: relative, absolute, or on a foreign host that must not get keys.",
            choices=("relative", "absolute", "foreign"),
        ),
    )
    hashes: str = field(
        default="both", metadata=_told("What x-goog-hash carries.", choices=("both", "crc32c", "md5", "none"))
    )
    api_ranges: bool = field(
        default=False, metadata=_told("Image bytes by API honour Range (the real service is not known to).")
    )
    tls_cert: Path | None = field(
        default=None,
        metadata=_told("Certificate chain: API and storage host then speak TLS.", metavar="PEM"),
    )
    tls_key: Path | None = field(default=None, metadata=_told("Private key of --tls-cert.", metavar="PEM"))
    parent: int = field(
        default=0,
        metadata=_told("Exit when the process of this id ends; 0 watches nobody.", minimum=0, metavar="PID"),
    )

    def validate(self) -> EmulatorSettings:
        """Return self, or raise `UsageError` naming the option that cannot be."""
        for each in fields(self):
            _check(each, getattr(self, each.name))
        if self.data is not None and not self.data.is_dir():
            raise UsageError(f"--data {self.data}: no such folder")
        for option, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if path is not None and not path.is_file():
                raise UsageError(f"{option} {path}: no such file")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together")
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
    """Parse `name:weight,…`. Raises `UsageError` for an unknown name, or weights that add up to nothing."""
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


_TYPES: dict[str, type] = {"data": Path, "generate": int, "tls_cert": Path, "tls_key": Path}


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
