"""A manual page in the words of man(7). Pure.

Texts are plain, with `code` between backquotes; whatever they hold, no character of theirs acts as a request.
"""

from __future__ import annotations

import re
import textwrap

LINE = 78
_CODE = re.compile(r"`([^`]+)`")


def escaped(text: str) -> str:
    """A text as roff prints it: ASCII, and nothing in it is a request."""
    shown = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    shown = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in shown)
    return "\\&" + shown if shown.startswith(".") else shown


def marked(text: str) -> str:
    """The same, in lines of a page's source, what stands between backquotes in bold."""
    parts = _CODE.split(" ".join(text.split()))
    made = (f"\\fB{escaped(part)}\\fR" if at % 2 else escaped(part) for at, part in enumerate(parts) if part)
    lines = textwrap.wrap("".join(made), LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join("\\&" + line if line.startswith(".") else line for line in lines)


class Page:
    """A page that is written from its top to its end."""

    def __init__(self, name: str, number: int, what: str, *, date: str, version: str) -> None:
        self.file = f"{name}.{number}"
        self._lines = [
            f'.TH {escaped(name.upper())} {number} {date} "pictofs {escaped(version)}"',
            '.SH NAME',
            f"{escaped(name)} \\- {escaped(what)}",
        ]  # fmt: skip

    def section(self, title: str) -> None:
        """A heading; text must follow."""
        self._lines.append(f".SH {escaped(title)}")
        self._first = True

    _first = True

    def part(self, title: str) -> None:
        """A heading within a section."""
        self._lines.append(f'.SS "{escaped(title).replace(chr(34), "(dq")}"')
        self._first = True

    def text(self, text: str) -> None:
        """A paragraph."""
        if not self._first:
            self._lines.append(".PP")
        self._first = False
        self._lines.append(marked(text))

    def texts(self, text: str) -> None:
        """Paragraphs with empty lines between them; one that click was told to keep (\\b) as it stands."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            if paragraph.lstrip().startswith("\b"):
                self.verbatim(paragraph.lstrip().removeprefix("\b").strip("\n"))
            else:
                self.text(paragraph)

    def verbatim(self, text: str) -> None:
        """Lines as they stand."""
        if not self._first:
            self._lines.append(".PP")
        self._first = False
        self._lines += [".nf", *(escaped(line) or "\\&" for line in text.splitlines()), ".fi"]

    def entry(self, term: str, text: str, *more: str) -> None:
        """A term, and what is said of it."""
        self._lines += [".TP", f"\\fB{escaped(term)}\\fR", marked(text) or "\\&"]
        for paragraph in more:
            self._lines += [".br", marked(paragraph)]
        self._first = False

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"
