"""The settings of a mount: frozen values, one sentence a field. Nothing here reads a file or the environment.

`docs/configuration.md` repeats the fields with reasons; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_BASE_URL = "https://api.pictograph.io/api/v1/developer"


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where an API key comes from; the key itself is read when it is needed and never kept here."""

    file: str | None = None               # api_key_file
    command: str | None = None            # api_key_command, run through the shell
    variable: str = "PICTOGRAPH_API_KEY"  # the environment, when neither is set
    credential: str = "api-key"           # then $CREDENTIALS_DIRECTORY/<this>


@dataclass(frozen=True, slots=True)
class Profile:
    """One key at one origin: one organization of the mount."""

    name: str = "default"
    key: KeySource = KeySource()
    base_url: str = DEFAULT_BASE_URL      # with or without /api/v1/developer
    organization: str | None = None       # name of the first directory; None: slug, name, "organization"
    dialect: str = "auto"                 # auto, a, b, c


@dataclass(frozen=True, slots=True)
class Settings:
    """Every option of a mount, parsed and checked."""

    source: str = "pictofs"               # mountinfo's source, verbatim
    profiles: tuple[Profile, ...] = (Profile(),)
    mode: str = "full"                    # full, images_only, annotations_only
    status_filter: str | None = None      # only images of that status
    archived: str = "hide"                # hide, show
    driver: str = "auto"                  # auto, kernel, fusepy
    io: str = "cache"                     # cache, passthrough
    overlay: str | None = None            # a local folder that gets upper/ and work/
    cache_dir: str = ""                   # absolute; resolved by the reader of settings
    cache_size_bytes: int | None = None   # None: min(20 % of the file system, 50G)
    min_free_bytes: int | None = None     # None: 5 % of the file system
    eviction: str = "epoch"               # epoch, lru, fifo
    ttl_s: float = 60.0                   # how old a listing may be when it is looked at
    timeout_s: float = 20.0               # without progress, then an errno
    offline: str = "auto"                 # on, auto, off
    auth_grace_s: float = 0.0             # how long what is known is served after the key was refused
    prefetch: str = "auto"                # auto, sequential, all, off
    bulk: str = "auto"                    # auto, create, off
    jobs: int | None = None               # ceiling on transfers; None: adaptive up to 64
    bandwidth_bytes_s: int | None = None  # ceiling; None: none
    max_fetch_bytes_day: int | None = None
    annotation_size: str = "exact"        # exact, padded
    opened: str = "hidden"                # hidden, listed, off
    allow_other: bool = False
    uid: int | None = None                # None: the mounter's
    gid: int | None = None
    umask: int = 0o222
    ca_file: str | None = None            # None: the environment's
    proxy: str | None = None
    metrics: str | None = None            # HOST:PORT
    log_level: str = "info"
    log_format: str = "text"              # text, json
    log_file: str | None = None
    foreground: bool = False
    noexec: bool = False                  # mount(8)'s word, also what its `user` means
    ignored: tuple[str, ...] = field(default=())  # options of mount(8) that mean nothing here
