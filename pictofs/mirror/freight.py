"""What the fetching process and its carter say to each other: transfers to make, and what became of them.

Signed URLs pass here, and with requests to the API its key, through a socket pair that nobody else has an end
of. Bytes do not: a body goes into the file that its order names, and its length and checksum come back.
"""

from __future__ import annotations

import msgspec

from pictofs.errors import Damaged, ObjectChanged, ObjectGone, PictofsError, TransferError, UrlExpired
from pictofs.storage import Get, Got

_ERRORS: dict[str, type[TransferError]] = {
    kind.__name__: kind for kind in (TransferError, UrlExpired, ObjectGone, ObjectChanged, Damaged)
}


class Route(msgspec.Struct, frozen=True, tag="route"):
    """Certificates, proxy and patience of some mounts; orders name it by its number.

    Those of the API have routes of their own: no handle that ever held a key is used for anything else.
    """

    number: int
    ca_file: str | None
    proxy: str | None
    api: bool
    timeout_s: float


class Order(msgspec.Struct, frozen=True, array_like=True):
    """One transfer into the file `path`. `id` is the sender's; the repr shows no URL and no header.

    With `headers` it is a request to the API for an annotation, which is written as the mount shows it.
    """

    id: int
    route: int
    url: str
    path: str
    first: int | None
    last: int | None
    generation: str | None
    expect_bytes: int | None
    headers: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Order({self.id}, {self.get()!r})"

    def get(self) -> Get:
        """As the transfers take it, its body in memory."""
        return Get(
            self.url, self.first, self.last, generation=self.generation, expect_bytes=self.expect_bytes,
            headers=self.headers,
        )  # fmt: skip


class Orders(msgspec.Struct, frozen=True, tag="orders"):
    """A batch of them."""

    orders: list[Order]


class Spent(msgspec.Struct, frozen=True, tag="spent"):
    """So many bytes came another way: they count against `bandwidth` too."""

    size_bytes: int


class Connections(msgspec.Struct, frozen=True, tag="connections"):
    """So many transfers of each route may run at once from now on."""

    connections: int


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How one ended: `error` names the exception, "" for none, and `text` says it."""

    id: int
    error: str = ""
    text: str = ""
    status: int = 0
    first: int = 0
    total_bytes: int = 0
    body_bytes: int = 0
    etag: str = ""
    generation: str = ""
    md5: str = ""
    crc32c_object: str = ""
    crc32c: int = 0
    last_modified_ns: int = 0
    whole: bool = False
    attempts: int = 0
    first_byte_s: float = 0.0
    elapsed_s: float = 0.0
    told: dict[str, str] = {}

    def got(self) -> Got | PictofsError:
        """As the transfers said it; the body is in the order's file."""
        if self.error:
            return _ERRORS.get(self.error, TransferError)(self.text, status=self.status)
        return Got(
            b"", self.first, self.total_bytes, self.etag, self.generation, self.md5, self.crc32c_object,
            self.crc32c, self.last_modified_ns, self.whole, self.body_bytes, self.attempts,
            self.first_byte_s, self.elapsed_s, self.told,
        )  # fmt: skip


class Report(msgspec.Struct, frozen=True, tag="report"):
    """A batch of outcomes, and what has passed since the carter began.

    `moved`: of orders that are under way for long, the bytes that have come, where more have.
    """

    outcomes: list[Outcome]
    requests: int
    bytes_received: int
    moved: dict[int, int] = {}


def arrived(number: int, got: Got, *, told: bool) -> Outcome:
    """The outcome of a transfer whose body is in its file; `told`: with what the host says of its budget."""
    return Outcome(
        number, "", "", 0, got.first, got.total_bytes, got.body_bytes, got.etag, got.generation, got.md5,
        got.crc32c_object, got.crc32c, got.last_modified_ns, got.whole, got.attempts, got.first_byte_s,
        got.elapsed_s, dict(got.told) if told else {},
    )  # fmt: skip


def failed(number: int, error: PictofsError) -> Outcome:
    """The outcome of one that failed."""
    return Outcome(number, type(error).__name__, str(error), getattr(error, "status", 0))
