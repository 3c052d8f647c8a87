"""Whom a command asks: a client under the settings that a mount would have, from the same places."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from pictofs.api import Client
from pictofs.cli import completing
from pictofs.config import Settings
from pictofs.errors import Forbidden, UsageError
from pictofs.mount import keys, plan

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Account:
    """A client, and what it was made of. The repr holds no key."""

    client: Client
    settings: Settings
    api_key: str = field(repr=False)


def with_account(command: F) -> F:
    """The options that say whose account; the command gets them as `profile` and `given`."""
    for option in (
        click.option(
            "-o",
            "given",
            multiple=True,
            metavar="NAME=VALUE,…",
            help="Options of a mount, as base_url.",
            shell_complete=completing.settings,
        ),
        click.option("--profile", metavar="NAME", help="A [profile.NAME] of the configuration file."),
    ):
        command = option(command)
    return command


@contextmanager
def opened(
    profile: str | None, given: tuple[str, ...], environ: Mapping[str, str] = os.environ
) -> Iterator[Account]:
    """An account to use and close again. UsageError for settings that cannot be, or no key."""
    configured = plan.configure(profile, list(given), dict(environ))
    settings = configured.settings
    if len(settings.profiles) > 1:
        raise UsageError(f"--profile {profile}: one at a time")
    (one,) = settings.profiles
    if profile is not None and one.name != profile:  # as a SOURCE, it would be an organization
        raise UsageError(f"there is no [profile.{profile}] in the configuration file")
    api_key = keys.read(one, environ)
    downloads = None
    if settings.bandwidth_bytes_s is not None:
        from pictofs.download import Downloads

        downloads = Downloads(bandwidth_bytes_s=settings.bandwidth_bytes_s)
    with Client(
        one.base_url,
        lambda: api_key,
        dialect=one.dialect,
        timeout_s=settings.timeout_s,
        ca_file=settings.ca_file,
        proxy=settings.proxy,
        downloads=downloads,
    ) as client:
        yield Account(client, settings, api_key)


@contextmanager
def needing_admin(what: str) -> Iterator[None]:
    """A 403 within is said in words: which role it takes."""
    said = None
    try:
        yield
    except Forbidden as error:
        said = error
    if said is not None:
        raise Forbidden(
            f"{what} needs the role admin or owner, and this API key has a lower one: "
            f"take another key, with --profile or api_key_file",
            status=said.status,
            code=said.code,
            request_id=said.request_id,
        )
