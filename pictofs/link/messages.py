"""What the serving and the fetching process say to each other, one msgpack array a frame.

A frame is a four-byte big-endian length and that many bytes, at most `FRAME_LIMIT_BYTES`. Requests carry
an `id` that their answers repeat; answers come in any order. `PROTOCOL` grows with every incompatible
change: a fetching process that is older than a mount drains and hands over.
Keys cross this socket in `Attach` alone; it lies in a folder of mode 0700 and the peer's uid is checked.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

PROTOCOL = 1
FRAME_LIMIT_BYTES = 16 << 20
SUCCEEDS = "succeeds"  # in an account's settings: the pk of the organization whose key this one replaces


class Priority(enum.IntEnum):
    """Who is served first; a fetch is promoted when somebody more urgent wants it."""

    DEMAND = 0
    LOOK_AHEAD = 1
    FILL = 2


class Account(msgspec.Struct, array_like=True, frozen=True):
    """One API key at one origin, and what its mount wants of it. The repr holds no key."""

    base_url: str
    api_key: str
    directory_name: str       # the `organization` setting; "" leaves slug or name
    dialect: str
    settings: dict[str, Any]  # the fields of Settings that the fetching process acts on

    def __repr__(self) -> str:
        """Without the key."""
        return f"Account({self.base_url!r})"


class Attach(msgspec.Struct, tag="attach", array_like=True, frozen=True):
    """The first message of a mount."""

    id: int
    protocol: int
    version: str
    mountpoint: str
    pid: int
    accounts: list[Account]


class Look(msgspec.Struct, tag="look", array_like=True, frozen=True):
    """Somebody looks at `node`: make what the catalog says of it fresh enough.

    ROOT or ORGANIZATION: the list of datasets. DATASET: the dataset itself. IMAGES, ANNOTATIONS, SPLITS,
    STATUSES or VIEW…: the whole listing of images. EXPORTS: the list of exports. IMAGE, ANNOTATION,
    EXPORT: its size, and for an annotation its body's age. `force` skips the ttl (`pictofs refresh`).
    Answered `Done` as soon as the catalog is fresh enough or the service is away and something is
    known; `Failed` when nothing is. `Moved` comes in between as pages arrive.
    """

    id: int
    node: int
    force: bool = False


class Want(msgspec.Struct, tag="want", array_like=True, frozen=True):
    """Make blocks `first` to `last` of `node` present in the store; answered `Done` or `Failed`.

    `lost` says that the path in the catalog was not there or of an earlier boot: look before trusting it.
    `pid` is the reader's, for the access pattern; 0 where nobody knows.
    """

    id: int
    node: int
    first: int
    last: int
    priority: int = Priority.DEMAND
    lost: bool = False
    pid: int = 0


class Read(msgspec.Struct, tag="read", array_like=True, frozen=True):
    """For the access pattern: a reader has read here, from what was present. Not answered.

    `end` says that the file ends there.
    """

    node: int
    offset: int
    size_bytes: int
    pid: int
    end: bool = False


class Cancel(msgspec.Struct, tag="cancel", array_like=True, frozen=True):
    """Nobody waits for `id` any more; `late`: they have been told EIO for want of progress. Not answered."""

    id: int
    late: bool = False


class Ask(msgspec.Struct, tag="ask", array_like=True, frozen=True):
    """A command, answered `Told` or `Failed`. What there is: `pictofs.mirror.control`."""

    id: int
    verb: str
    arguments: dict[str, Any] = {}


class Attached(msgspec.Struct, tag="attached", array_like=True, frozen=True):
    """The answer to `Attach`: the catalog's pk of the organization of each account, in order."""

    id: int
    pid: int
    version: str
    organizations: list[int]
    dialects: list[str]
    notes: list[str]          # lines for the person who mounts: settings that the cache directory overrides


class Done(msgspec.Struct, tag="done", array_like=True, frozen=True):
    """`Look` or `Want` is satisfied; the catalog holds the rest."""

    id: int


class Failed(msgspec.Struct, tag="failed", array_like=True, frozen=True):
    """It could not be done: the errno for the reader, one line that says why; an exit code for `Attach`."""

    id: int
    errno: int
    what: str
    exit_code: int = 1


class Moved(msgspec.Struct, tag="moved", array_like=True, frozen=True):
    """Progress on `id` (a page, some bytes): the wait starts anew, and names may have appeared."""

    id: int


class Told(msgspec.Struct, tag="told", array_like=True, frozen=True):
    """The answer to `Ask`."""

    id: int
    answer: dict[str, Any]


class Changed(msgspec.Struct, tag="changed", array_like=True, frozen=True):
    """Unasked: these kernel-cached facts are no longer true.

    `entries` are (parent node, name) that now lead elsewhere or nowhere; `nodes` have other attributes or
    another listing. `bodies` are nodes of which wrong bytes may have been read: they are read anew.
    """

    entries: list[tuple[int, str]]
    nodes: list[int]
    bodies: list[int] = []


class State(msgspec.Struct, tag="state", array_like=True, frozen=True):
    """Unasked: the standing of one organization towards the service."""

    organization: int
    online: bool
    refused: bool             # the key; what is served ends after auth_grace
    what: str


Request = Attach | Look | Want | Read | Cancel | Ask
Reply = Attached | Done | Failed | Moved | Told | Changed | State
