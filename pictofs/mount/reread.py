"""`python -m pictofs.mount.reread PAPER ANSWER`: what files, environment and keys say now, for a live mount.

A program of its own, since the supervisor must not wait: a password store asks a person, a home may be on a
server that is away. PAPER is the descriptor of the plan as it is (`handover.written`), ANSWER the one of a
pipe that gets one JSON object: `{"plan": …}` or `{"error": one line}`. Keys pass through both, and through
nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

from pictofs import secrets
from pictofs.errors import PictofsError
from pictofs.mount import configuration, handover, keys, places, scraped
from pictofs.mount.plan import Plan


def again(plan: Plan) -> Plan:
    """The plan as it would be made now; UsageError where the settings or a key no longer make sense."""
    try:
        os.chdir(plan.folder)
    except OSError:
        pass  # it is gone: only a relative path would have needed it
    files = places.configuration_files(plan.environ)
    said = configuration.read(plan.settings.source, plan.given, plan.environ, files, sloppy=plan.sloppy)
    settings = dataclasses.replace(said.settings, foreground=plan.settings.foreground)
    if settings.metrics not in (None, plan.settings.metrics):
        scraped.check(settings.metrics)
    api_keys = tuple(keys.read(profile, plan.environ) for profile in settings.profiles)
    return dataclasses.replace(plan, settings=settings, organization=said.organization, api_keys=api_keys)


def main() -> None:
    """Reads PAPER, answers."""
    paper, answer = map(int, sys.argv[1:])
    with open(paper, "rb") as file:
        file.seek(0)
        plan = handover.read(json.loads(file.read()))
    secrets.remember(*plan.api_keys)
    word: dict[str, Any]
    try:
        word = {"plan": handover.written(again(plan))}
    except PictofsError as error:
        word = {"error": str(error)}
    with open(answer, "wb") as pipe:
        pipe.write(json.dumps(word).encode())


if __name__ == "__main__":
    main()
