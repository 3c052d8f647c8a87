"""Every check, one after the other: what is the machine's, what is the settings', what is the service's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pictofs.config import Profile, Settings
from pictofs.doctor import cachedir, kernel, mounts, network, system
from pictofs.doctor.finding import Finding, bad, good, poor
from pictofs.doctor.mounts import Live
from pictofs.errors import PictofsError
from pictofs.mount import places, plan
from pictofs.mount.configuration import Configured
from pictofs.mount.installation import Piece
from pictofs.secrets import masked


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: the settings that a mount would have. `configured` None: they cannot be read."""

    configured: Configured | None
    finding: Finding
    environ: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """Those, or the defaults."""
        if self.configured is not None:
            return self.configured.settings
        return Settings(cache_dir=str(places.cache_dir(self.environ, os.getuid())))


def subject(profile: str | None, given: Sequence[str], environ: Mapping[str, str]) -> Subject:
    """Reads the settings."""
    files = [str(path) for path in places.configuration_files(environ) if path.exists()]
    try:
        configured = plan.configure(profile, list(given), dict(environ))
    except PictofsError as error:
        mend = "docs/configuration.md has every option; until then the defaults are examined"
        return Subject(None, bad("settings", str(error), mend), environ)
    return Subject(configured, good("settings", f"from {', '.join(files) or 'no file'}"), environ)


def examine(subject: Subject, pieces: Iterable[Piece], live: Sequence[Live]) -> Iterator[Finding]:
    """The findings, as they are made; without secrets."""
    settings = subject.settings
    steps: list[Callable[[], Iterable[Finding]]] = [
        lambda: [subject.finding],
        lambda: kernel.checks(kernel.look(settings.cache_dir), settings),
        lambda: cachedir.checks(cachedir.look(settings), settings.io),
        *(
            (lambda profile=profile: _service(profile, subject))
            for profile in settings.profiles
        ),
        lambda: mounts.checks(live, mounts.strays(live)),
        lambda: system.checks(pieces, [each.record.mountpoint for each in live]),
    ]
    for step in steps:
        try:
            for found in step():
                yield replace(found, what=masked(found.what), mend=masked(found.mend))
        except Exception as error:  # noqa: BLE001 - what could not be looked at must not hide the rest
            what = f"something could not be looked at: {type(error).__name__}: {masked(str(error))}"
            yield poor("doctor", what, "attach a bundle to a bug report")


def _service(profile: Profile, subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    prefix = f"{profile.name}: " if len(settings.profiles) > 1 else ""
    wanted = subject.configured.organization if subject.configured is not None else None
    for found in _way_and_key(profile, settings, subject.environ, wanted):
        yield replace(found, check=prefix + found.check)


def _way_and_key(
    profile: Profile, settings: Settings, environ: Mapping[str, str], wanted: str | None
) -> Iterator[Finding]:
    way = network.way(profile, settings)
    yield from network.way_checks(way, time.time())
    api_key, found = network.key_of(profile, environ)
    yield found
    reached = not (way.proxy_error or way.dns_error or way.tls_error or way.answer_error)
    if api_key and reached:
        yield from network.standing_checks(network.standing(profile, settings, api_key), wanted)
