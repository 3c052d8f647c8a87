"""What a mount asks of the fetching process, and what belongs to the cache directory instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from pictofs.errors import UsageError
from pictofs.link.messages import Account


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `config.Settings` that the fetching process acts on; others are ignored."""

    ttl_s: float = 60.0
    timeout_s: float = 20.0
    offline: str = "auto"
    auth_grace_s: float = 0.0
    archived: str = "hide"
    ca_file: str | None = None
    proxy: str | None = None
    jobs: int | None = None
    bandwidth_bytes_s: int | None = None
    cache_size_bytes: int | None = None
    min_free_bytes: int | None = None
    eviction: str = "epoch"
    prefetch: str = "auto"
    bulk: str = "auto"
    max_fetch_bytes_day: int | None = None

    @property
    def ttl_ns(self) -> int:
        """`ttl_s` in the catalog's unit."""
        return int(self.ttl_s * 1e9)

    @property
    def patience_s(self) -> float:
        """How long a look waits for the service, without progress, when what is known could be served."""
        return min(5.0, self.timeout_s / 4)


def policy_of(account: Account) -> Policy:
    """The policy in an account's settings; UsageError when a value has another type than its option."""
    known: dict[str, Any] = {
        name: account.settings[name] for name in Policy.__struct_fields__ if name in account.settings
    }
    try:
        return msgspec.convert(known, Policy)
    except msgspec.ValidationError as error:
        raise UsageError(f"the settings of this mount are not understood: {error}") from None


@dataclass(frozen=True, slots=True)
class Limits:
    """What belongs to the cache directory: the mount that starts the fetching process sets it."""

    cache_size_bytes: int
    min_free_bytes: int
    eviction: str = "epoch"
    jobs: int | None = None
    bandwidth_bytes_s: int | None = None
    max_fetch_bytes_day: int | None = None

    @property
    def transfers(self) -> int:
        """How many transfers may run at once."""
        return max(1, min(64, self.jobs or 64))


def notes(limits: Limits, policy: Policy, cache_dir: str) -> list[str]:
    """A line for each setting that this mount gave and that another mount's value overrides."""
    differing = [
        (option, given, used)
        for option, given, used, default in (
            ("cache_size", policy.cache_size_bytes, limits.cache_size_bytes, None),
            ("min_free", policy.min_free_bytes, limits.min_free_bytes, None),
            ("eviction", policy.eviction, limits.eviction, "epoch"),
            ("jobs", policy.jobs, limits.jobs, None),
            ("bandwidth", policy.bandwidth_bytes_s, limits.bandwidth_bytes_s, None),
            ("max_fetch", policy.max_fetch_bytes_day, limits.max_fetch_bytes_day, None),
        )
        if given not in (used, default)
    ]
    return [
        f"{option}={given} is not used: {cache_dir} is in use by an earlier mount with "
        f"{option}={'none' if used is None else used}"
        for option, given, used in differing
    ]
