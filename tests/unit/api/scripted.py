"""A wire that follows a script, and a clock that moves only when somebody sleeps or a script says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pictofs.api import Client
from pictofs.api.wire import Broken, Call

KEY = "pk_live_secret_0123456789"
BASE = "https://api.test/api/v1/developer"


class Clock:
    """Monotonic and wall clock in one; `slept` is every wait asked for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_700_000_000.0

    def sleep(self, wait_s: float) -> None:
        self.slept.append(wait_s)
        self.now += wait_s


class Answered:
    """What a script answers with; `torn` breaks off after the body."""

    def __init__(
        self,
        body: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        torn: bool = False,
    ) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.torn = torn
        self.closed = False
        self.sent = 0

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), 7):
            piece = self.body[start : start + 7]
            self.sent += len(piece)
            yield piece
        if self.torn:
            raise Broken("its answer broke off")

    def close(self) -> None:
        self.closed = True


class Asked:
    """A call, taken apart."""

    def __init__(self, call: Call) -> None:
        self.method = call.method
        self.url = call.url
        self.headers = dict(call.headers)
        self.body = json.loads(call.body) if call.body else None
        parts = urlsplit(call.url)
        self.raw_path = parts.path.partition("/api/v1/developer")[2]
        self.path = unquote(self.raw_path)
        self.query = dict(parse_qsl(parts.query))


Script = Callable[[Asked], Any]


class ScriptedWire:
    """Answers every call with what the script gives: Answered, a JSON value, or an exception to raise."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.timeouts: list[float] = []
        self.answers: list[Answered] = []
        self.closed = False

    def send(self, call: Call, timeout_s: float) -> Any:
        asked = Asked(call)
        self.asked.append(asked)
        self.timeouts.append(timeout_s)
        given = self.script(asked)
        if isinstance(given, BaseException):
            raise given
        answer = given if isinstance(given, Answered) else Answered(given)
        self.answers.append(answer)
        return answer

    def close(self) -> None:
        self.closed = True

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


def in_turn(*given: Any) -> Script:
    """A script that answers once with each, then with the last for ever."""
    left = list(given)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def client_of(
    script: Script, *, clock: Clock | None = None, base_url: str = BASE, **options: Any
) -> tuple[Client, ScriptedWire, Clock]:
    """A client whose dialect is `c` and whose jitter draws the half, unless told otherwise."""
    clock = clock or Clock()
    wire = ScriptedWire(script)
    given = {"dialect": "c", "draw": lambda: 0.5, "sleep": clock.sleep, **options}
    client = Client(base_url, given.pop("key", lambda: KEY), wire=wire, clock=clock, wall=clock.wall, **given)
    return client, wire, clock
