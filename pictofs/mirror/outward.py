"""The ways out of this process: the API under a mount's key, and the storage hosts."""

from __future__ import annotations

from pictofs.api import Client
from pictofs.link.messages import Account
from pictofs.mirror.policy import Limits, Policy
from pictofs.mirror.transfer import Carrier
from pictofs.storage import Transfers


def client_of(account: Account, policy: Policy) -> Client:
    """The API under an account's key."""
    return Client(
        account.base_url,
        lambda: account.api_key,
        dialect=account.dialect or "auto",
        timeout_s=policy.timeout_s,
        ca_file=policy.ca_file,
        proxy=policy.proxy,
    )


def carrier_of(limits: Limits, policy: Policy) -> Carrier:
    """Storage transfers within the limits of the cache directory."""
    return Transfers(
        connections=limits.transfers,
        timeout_s=policy.timeout_s,
        ca_file=policy.ca_file,
        proxy=policy.proxy,
        bandwidth_bytes_s=limits.bandwidth_bytes_s,
    )
