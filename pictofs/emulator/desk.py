"""What every endpoint of the API shares: parameters in, answers out, repeated writes replayed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pictofs.emulator.dialect import API_PATH, Dialect
from pictofs.emulator.service import Refusal, Service

Endpoint = Callable[[Request], Awaitable[Response]]
Made = TypeVar("Made")
LABEL = "pictofs.route"  # scope key: the route that answered, for the counters
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_KEPT_WRITES = 1000
_SLICE = 100  # rows that are made before the loop gets a turn: about 3 ms
_IN_TURN = 10_000  # rows; a longer answer holds up no other


def json_response(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


class Desk:
    """The common part of the endpoints: one service, one dialect."""

    def __init__(self, service: Service, dialect: Dialect) -> None:
        self.service, self.dialect = service, dialect
        self._written: OrderedDict[tuple[str, str, str], Response] = OrderedDict()
        self._making = asyncio.Lock()

    def route(self, path: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",)) -> Route:
        """A route whose label the counters see, and whose writes an Idempotency-Key makes repeatable."""

        async def labelled(request: Request) -> Response:
            request.scope[LABEL] = f"{request.method} {path}"
            idempotency = request.headers.get("idempotency-key")
            if idempotency is None or request.method in ("GET", "HEAD", "DELETE"):
                return await endpoint(request)
            key = (idempotency, request.method, request.url.path)
            if key not in self._written:
                self._written[key] = await endpoint(request)
                if len(self._written) > _KEPT_WRITES:
                    self._written.popitem(last=False)
            return self._written[key]

        return Route(API_PATH + path, labelled, methods=list(methods))

    def refuse(self, refusal: Refusal) -> Response:
        """The refusal in the dialect."""
        return json_response(self.dialect.error(refusal), refusal.status)

    def invalid(self, name: str, message: str) -> Refusal:
        """The refusal of a parameter: 422 with its place, in dialect a 400."""
        if self.dialect.letter == "a":
            return Refusal(400, "bad_request", f"{name}: {message}")
        return Refusal(
            422, "validation_error", f"{name}: {message}", [{"loc": ["query", name], "msg": message}]
        )

    def number(self, request: Request, name: str, default: int, minimum: int) -> int:
        """An integer parameter. Raises the refusal of one that is none or too small."""
        text = request.query_params.get(name)
        if text is None:
            return default
        if not text.lstrip("-").isdecimal() or int(text) < minimum:
            raise self.invalid(name, f"must be an integer of at least {minimum}")
        return int(text)

    def window(
        self, request: Request, default: int, most: int, limit: str = "limit", offset: str = "offset"
    ) -> tuple[int, int]:
        """Limit and offset of a page; a limit over the most, or over the page cap, is cut without a word."""
        wanted = self.number(request, limit, default, 1)
        return min(wanted, most, self.service.switches.page_cap), self.number(request, offset, 0, 0)

    def truth(self, request: Request, name: str) -> bool:
        """A boolean parameter, false where it is absent. Raises the refusal of one that is none."""
        text = request.query_params.get(name, "false").lower()
        if text not in (*_TRUE, *_FALSE):
            raise self.invalid(name, "must be a boolean")
        return text in _TRUE

    def choice(self, request: Request, name: str, known: Sequence[str]) -> str | None:
        """A parameter from a set, None where it is absent. Raises the refusal of another value."""
        text = request.query_params.get(name)
        if text is not None and text not in known:
            raise self.invalid(name, f"must be one of {', '.join(known)}")
        return text

    async def made(self, positions: Sequence[int], make: Callable[[int], Made]) -> list[Made]:
        """A row of each position, the loop getting turns.

        Answers are made one after the other, as they were asked for: side by side all of them would come
        when the last does.
        """
        if len(positions) > _IN_TURN:
            return await _rows(positions, make)
        async with self._making:
            return await _rows(positions, make)


async def _rows(positions: Sequence[int], make: Callable[[int], Made]) -> list[Made]:
    rows: list[Made] = []
    for start in range(0, len(positions), _SLICE):
        rows.extend([make(position) for position in positions[start : start + _SLICE]])
        if start + _SLICE < len(positions):
            await asyncio.sleep(0)
    return rows


def segment(request: Request, name: str) -> str:
    """A path parameter, percent-decoded: routes match the path as it was sent."""
    return unquote(request.path_params[name])


async def fields(request: Request) -> dict[str, Any]:
    """The body of a write: a JSON object, or a form. Raises the 422 of anything else."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    try:
        read = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError as error:
        raise Refusal(422, "validation_error", f"The body is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise Refusal(422, "validation_error", "The body must be a JSON object")
    return read


def text_field(body: dict[str, Any], name: str) -> str:
    """A string of a body that must be there. Raises the 422."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(
            422, "validation_error", f"{name} is required", [{"loc": ["body", name], "msg": "Field required"}]
        )
    return value
