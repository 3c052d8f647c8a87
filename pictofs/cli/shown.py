"""How commands show what they found: tables and facts for people, one JSON document for programs.

What a service calls a thing may hold anything, so no control character reaches a terminal. A table that does
not go to a terminal is as wide as its cells: a pipe must not get half a name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_CHARACTERS = 10_000
ROWS_AT_ONCE = 1000  # of a list that may be long: a table is laid out when all its rows are there
_UNITS = ("K", "M", "G", "T")
_STYLES = {"completed": "green", "complete": "green", "failed": "red", "processing": "yellow"}


def console(*, stderr: bool = False) -> Console:
    """Where to print; NO_COLOR and what is no terminal are respected by rich."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_CHARACTERS)


def print_json(value: Any) -> None:
    """One document on stdout."""
    print(_json(value, indent=2), flush=True)


def print_json_rows(rows: Iterable[Any]) -> None:
    """One array on stdout, a row a line, however many there are."""
    between = "[\n"
    for row in rows:
        print(between + _json(row), end="")
        between = ",\n"
    print("[]" if between == "[\n" else "\n]", flush=True)


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)  # a lone surrogate, or a terminal that is not UTF-8
    return text


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """Rows below their headings; columns that start with `#` hold numbers. `empty` where there are none."""
    out = console()
    first = True
    for page in _pages(rows):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=first)
        for column in columns:
            table.add_column(
                column.removeprefix("#"), justify="right" if column.startswith("#") else "left", no_wrap=True
            )
        for row in page:
            table.add_row(*map(cell, row))
        out.print(table)
        first = False
    if first:
        print(empty)


def print_facts(facts: Mapping[str, Any]) -> None:
    """One thing, a line for each trait that is known."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        if value not in (None, "", ()):
            grid.add_row(Text(name, style="dim"), cell(value))
    console().print(grid)


def cell(value: Any) -> Text:
    """A value as people read it."""
    if value is None or value == "":
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, (tuple, list)):
        return Text(", ".join(map(plain, value)))
    text = plain(value)
    return Text(text, style=_STYLES.get(text, ""))


def plain(value: Any) -> str:
    """A text on one line, in which nothing acts on a terminal."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def size(count_bytes: int | None) -> str:
    """Bytes as people read them; "" where they are not known."""
    if count_bytes is None:
        return ""
    if count_bytes < 1024:
        return f"{count_bytes} B"
    scaled = float(count_bytes)
    for unit in _UNITS:
        scaled /= 1024
        if scaled < 1024 or unit == _UNITS[-1]:
            return f"{scaled:.1f}{unit}"
    raise AssertionError


def _pages(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    left = iter(rows)
    while page := list(islice(left, ROWS_AT_ONCE)):
        yield page
