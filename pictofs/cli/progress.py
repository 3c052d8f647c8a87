"""How far something is: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pictofs.cli.shown import console, plain, size

LINE_S = 5.0  # between two lines where there is no terminal
NAME_CHARACTERS = 40
Told = Callable[[int, int, str], None]  # done, in all, what is under way


@contextmanager
def files(what: str, unit: str = "files") -> Iterator[Told]:
    """Counts files, or another unit."""
    with _told(what, (MofNCompleteColumn(),), lambda done, total: f"{done} of {total} {unit}") as told:
        yield told


@contextmanager
def amount(what: str) -> Iterator[Told]:
    """Counts bytes."""
    columns = (DownloadColumn(binary_units=True), TransferSpeedColumn())
    with _told(what, columns, lambda done, total: f"{size(done)} of {size(total)}") as told:
        yield told


@contextmanager
def states(what: str) -> Iterator[Callable[[str], None]]:
    """Says each new state once; on a terminal with a sign that something goes on."""
    out, last = console(stderr=True), ""
    if not out.is_terminal:

        def line(state: str) -> None:
            nonlocal last
            if state != last:
                last = state
                print(f"pictofs: {plain(what)}: {plain(state)}", file=sys.stderr, flush=True)

        yield line
        return
    with out.status("") as sign:
        yield lambda state: sign.update(f"{_quiet(what)}: {_quiet(state)}")


@contextmanager
def waiting(what: str, *, bounded: bool = False) -> Iterator[None]:
    """Something goes on, who knows how long: a sign on a terminal, a line every LINE_S seconds elsewhere.

    `bounded`: a limit of seconds ends it, so that it is silent where no terminal is.
    """
    out = console(stderr=True)
    if out.is_terminal:
        with out.status(_quiet(what)):
            yield
        return
    if bounded:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        waited_s = 0.0
        while not ended.wait(LINE_S):
            waited_s += LINE_S
            print(f"pictofs: {plain(what)}: {waited_s:.0f} s", file=sys.stderr, flush=True)

    telling = threading.Thread(target=tell, name="progress", daemon=True)
    telling.start()
    try:
        yield
    finally:
        ended.set()
        telling.join()


@contextmanager
def _told(what: str, columns: tuple[ProgressColumn, ...], words: Callable[[int, int], str]) -> Iterator[Told]:
    out = console(stderr=True)
    if not out.is_terminal:
        yield _Lines(what, words).told
        return
    shown = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), *columns, TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False), console=out, transient=True,
    )  # fmt: skip
    with shown:
        task = shown.add_task(plain(what), total=None, name="")

        def told(done: int, total: int, name: str) -> None:
            shown.update(task, completed=done, total=total, name=_short(plain(name)))

        yield told


class _Lines:
    """A line at most every LINE_S seconds, and one at the end."""

    def __init__(
        self, what: str, words: Callable[[int, int], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._words = words
        self._clock = clock
        self._next_s = clock() + LINE_S

    def told(self, done: int, total: int, name: str) -> None:
        now_s = self._clock()
        if done < total and now_s < self._next_s:
            return
        self._next_s = now_s + LINE_S
        print(f"pictofs: {plain(self._what)}: {self._words(done, total)}", file=sys.stderr, flush=True)


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"…{name[1 - NAME_CHARACTERS :]}"


def _quiet(text: str) -> str:
    return plain(text).replace("[", r"\[")
