"""`pictofs whoami`: whose key this is, and what is left of the hour's requests."""

from __future__ import annotations

from datetime import datetime

import click

from pictofs.cli import account, shapes, shown


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@account.with_account
def whoami(as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """The organization of the API key, the key's role, and the budget of API requests that is left."""
    with account.opened(profile, given) as known:
        client = known.client
        me = client.organization.me()
        if as_json:
            shown.print_json(shapes.of_account(me, client.budget, client.origin, client.dialect))
            return 0
        budget, left = client.budget, "the service does not say"
        if budget is not None:
            until = datetime.fromtimestamp(budget.reset_s).strftime("%H:%M:%S")
            left = f"{budget.remaining} of {budget.limit} requests, until {until}"
        shown.print_facts(
            {
                "organization": me.name,
                "slug": me.slug,
                "id": me.id,
                "role": me.role or "the service does not say",
                "budget left": left,
                "service": f"{client.origin} (dialect {client.dialect})",
            }
        )
    return 0
