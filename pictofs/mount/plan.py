"""What a supervisor is told: the settings, checked, and everything that was found out before the fork."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pictofs import __version__
from pictofs.config import Settings
from pictofs.drivers import mountinfo
from pictofs.errors import UsageError
from pictofs.mount import configuration, keys, logs, mountpoint, options, overlay, places, scraped
from pictofs.mount.configuration import Configured


@dataclass(frozen=True, slots=True)
class Plan:
    """A mount that may be started. Its repr holds no key."""

    settings: Settings
    organization: str | None  # that the key must belong to; None: any
    mountpoint: str  # absolute, checked
    log: str  # path, or "" for stderr
    run_dir: Path
    api_keys: tuple[str, ...] = field(repr=False)  # one a profile, in order
    environ: Mapping[str, str] = field(repr=False)
    # With `settings.source`, what it takes to read the settings again: `-o`, whether unknown names in it are
    # passed over, and where relative paths begin.
    given: tuple[str, ...] = field(default=(), repr=False)
    sloppy: bool = False
    folder: str = "/"

    @property
    def socket(self) -> str:
        """Where the fetching process of the cache directory listens."""
        return os.path.join(self.settings.cache_dir, "fetch.sock")

    @property
    def beneath(self) -> str:
        """Where FUSE is mounted: at the mountpoint, or where the overlay above takes it from."""
        if self.settings.overlay is None:
            return self.mountpoint
        return str(self.run_dir / (places.name_of(self.mountpoint) + mountinfo.BENEATH))


# Values that this version does not act on yet: refused, since silence would be a promise.
_NOT_YET = {"annotation_size": "exact"}


def _refuse_what_is_not_made(settings: Settings) -> None:
    for name, works in _NOT_YET.items():
        value = getattr(settings, options.BY_NAME[name].field)
        if value is not None and value not in (works or "").split():
            mend = f"use {' or '.join(works.split())}" if works else "leave it out"
            raise UsageError(f"{name}={value} is not available in pictofs {__version__}; {mend}")


def prepare(configured: Configured, folder: str, environ: Mapping[str, str], *, foreground: bool) -> Plan:
    """Check everything that can be told without the network and without /dev/fuse, the cheapest first.

    MountpointUnusable, UsageError (a key that is not there among them), CacheUnusable.
    """
    settings = configured.settings
    _refuse_what_is_not_made(settings)
    where = mountpoint.check(folder)
    if settings.metrics is not None:
        scraped.check(settings.metrics)
    api_keys = tuple(keys.read(profile, environ) for profile in settings.profiles)
    places.check_cache_dir(Path(settings.cache_dir), where)
    if settings.overlay is not None:
        overlay.prepare(settings, where)
    log = logs.place(settings, where, environ, foreground=foreground)
    logs.prepare(log)
    return Plan(
        settings,
        configured.organization,
        where,
        log,
        places.run_dir(environ, os.getuid()),
        api_keys,
        dict(environ),
        configured.given,
        configured.sloppy,
        os.getcwd(),
    )


def configure(
    source: str | None, given: Sequence[str], environ: Mapping[str, str], *, sloppy: bool = False
) -> Configured:
    """The settings of this machine's files, environment and command line."""
    return configuration.read(source, given, environ, places.configuration_files(environ), sloppy=sloppy)
