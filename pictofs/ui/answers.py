"""What the page asks for, by path: its own files, and figures, folders, shapes and pictures of mounts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pictofs.errors import NotFound, NotMounted, PictofsError, UsageError
from pictofs.mount import report
from pictofs.mount.record import Record
from pictofs.ui import below
from pictofs.ui.faults import faults
from pictofs.ui.figures import Figures
from pictofs.ui.gallery import Gallery, content_type

PICTURE_LIMIT_BYTES = 256 << 20
_PAGE = resources.files("pictofs.ui") / "page"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/plot.js": ("plot.js", "text/javascript; charset=utf-8"),
    "/pictures.js": ("pictures.js", "text/javascript; charset=utf-8"),
    "/shapes.js": ("shapes.js", "text/javascript; charset=utf-8"),
}

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole body, and what it is."""

    status: int
    body: bytes
    kind: str = "application/json"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to send: an open descriptor and its size."""

    descriptor: int
    size_bytes: int
    kind: str


class Answers:
    """Of one page; `live()` are the mounts that it shows."""

    def __init__(self, live: Callable[[], list[Record]]) -> None:
        self._live = live
        self._figures = Figures()
        self._gallery = Gallery()
        self._documents: dict[str, Callable[[Query], Any]] = {
            "/api/mounts": self._mounts,
            "/api/state": self._state,
            "/api/folder": self._folder,
            "/api/place": self._place,
            "/api/shapes": self._shapes,
        }

    def answer(self, path: str, query: Query) -> Answer:
        """A file of the page, or a JSON document; what goes wrong is one too."""
        if path in _FILES:
            name, kind = _FILES[path]
            return Answer(200, (_PAGE / name).read_bytes(), kind)
        asked = self._documents.get(path)
        if asked is None:
            return failed(404, "there is no such page")
        try:
            return Answer(200, _json(asked(query)))
        except (PictofsError, OSError) as error:
            return refused(error)

    @contextmanager
    def picture(self, query: Query) -> Iterator[Picture]:
        """The picture that is asked for. PictofsError and OSError where it cannot be shown."""
        names = below.parts(query.get("path", ""))
        kind = content_type(names[-1]) if names else None
        if kind is None:
            raise UsageError("no browser shows a picture of that kind")
        with below.opened(self._of(query).mountpoint, names) as file:
            size_bytes = os.fstat(file).st_size
            if size_bytes > PICTURE_LIMIT_BYTES:
                raise UsageError("it is too large for a page")
            yield Picture(file, size_bytes, kind)

    def _of(self, query: Query) -> Record:
        """The mount that is meant; a folder where none is, is none."""
        wanted = query.get("mount", "")
        for known in self._live():
            if known.mountpoint == wanted:
                return known
        raise NotMounted(f"{wanted}: nothing of pictofs is mounted there")

    def _mounts(self, query: Query) -> list[dict[str, str]]:
        return [{"mountpoint": r.mountpoint, "source": r.source, "version": r.version} for r in self._live()]

    def _state(self, query: Query) -> dict[str, Any]:
        known = self._of(query)
        document, samples = self._figures.look(known.mountpoint, lambda: report.document(known))
        since = _number(query, "since")
        return {
            "document": document,
            "faults": faults(document),
            "samples": [sample for sample in samples if sample["at"] > since],
        }

    def _folder(self, query: Query) -> dict[str, Any]:
        names = below.parts(query.get("path", ""))
        return self._gallery.page(self._of(query).mountpoint, names, int(_number(query, "offset")))

    def _place(self, query: Query) -> str:
        return self._gallery.place(self._of(query).mountpoint, query.get("dataset", ""))

    def _shapes(self, query: Query) -> list[dict[str, Any]]:
        return self._gallery.shapes(self._of(query).mountpoint, below.parts(query.get("path", "")))


def refused(error: PictofsError | OSError) -> Answer:
    """An error as the page shows it. 502: the mount gave one."""
    if isinstance(error, OSError):
        return failed(404 if isinstance(error, FileNotFoundError) else 502, error.strerror or str(error))
    if isinstance(error, NotMounted | NotFound):
        return failed(404, str(error))
    return failed(400 if isinstance(error, UsageError) else 502, str(error))


def failed(status: int, what: str) -> Answer:
    """One line that says what is wrong."""
    return Answer(status, _json({"error": what}))


def _number(query: Query, name: str) -> float:
    try:
        return float(query.get(name, "0"))
    except ValueError:
        raise UsageError(f"{name} is a number") from None


def _json(value: Any) -> bytes:
    # A name may hold bytes that are no UTF-8; ASCII takes lone surrogates there and back.
    return json.dumps(value).encode("ascii")
