"""Attaching to the fetching process: who this mount is, and whether it is taken."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from pictofs import __version__
from pictofs.catalog import CatalogReader
from pictofs.errors import PictofsError, Unreachable, UsageError
from pictofs.link import Client
from pictofs.link.messages import PROTOCOL, SUCCEEDS, Account, Attach, Attached, Failed
from pictofs.mount import record
from pictofs.mount.plan import Plan

ATTACH_MARGIN_S = 10.0  # beyond `timeout`, within which the fetching process itself gives up


class Refused(PictofsError):
    """The fetching process said no to this mount."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def attach(plan: Plan, succeeds: Sequence[int] = ()) -> tuple[Client, Attached]:
    """Connect to the fetching process and say who we are; `succeeds`: the organizations, account by account,
    whose former keys these replace.

    LinkLost when nobody answers, Refused with its reason when it says no, Unreachable when it is silent.
    """
    client = Client(plan.socket)
    client.connect()
    of = accounts(plan, succeeds)
    request = Attach(client.next_id(), PROTOCOL, __version__, plan.mountpoint, os.getpid(), of)
    try:
        answer = client.exchange(request, plan.settings.timeout_s + ATTACH_MARGIN_S)
    except TimeoutError:
        client.close()
        raise Unreachable("the fetching process does not answer; its log is fetch.log in cache_dir") from None
    except BaseException:
        client.close()
        raise
    if isinstance(answer, Attached):
        return client, answer
    client.close()
    assert isinstance(answer, Failed)
    raise Refused(answer.what, answer.exit_code)


def accounts(plan: Plan, succeeds: Sequence[int] = ()) -> list[Account]:
    """One account a profile, with the settings that the fetching process may act on."""
    settings = plan.settings
    acted_on = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in ("profiles", "ignored", "noexec")
    }
    return [
        Account(
            profile.base_url, key, profile.organization or "", profile.dialect,
            acted_on if former is None else {**acted_on, SUCCEEDS: former},
        )
        for profile, key, former in zip_longest(settings.profiles, plan.api_keys, succeeds)
    ]  # fmt: skip


def fetching(attached: Attached) -> dict[str, Any]:
    """What the supervisor is told of the process that is attached to; its start tells it from a later one."""
    started = record.start_ticks(attached.pid)
    return {"fetching": attached.pid, "fetching_started": started, "version": attached.version}


def check_organization(plan: Plan, reader: CatalogReader, attached: Attached) -> None:
    """UsageError where SOURCE names an organization, and the key is another's."""
    if plan.organization is None:
        return
    row = reader.organization(attached.organizations[0])
    names = {plan.settings.profiles[0].organization or ""}
    if row is not None:
        names |= {row.slug, row.name}
        if not row.remote_id.startswith("key:"):  # what stands for it where the service names none
            names.add(row.remote_id)
    names.discard("")
    if plan.organization not in names:
        called = " or ".join(sorted(map(repr, names))) or "unnamed by the service; -o organization= names it"
        raise UsageError(
            f"SOURCE {plan.organization!r} is no profile, and the key's organization is {called}"
        )
