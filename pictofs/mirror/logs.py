"""Where the fetching process logs: `fetch.log` in the cache directory, and stderr where somebody reads it.

This process holds the keys and the signed URLs: no line of it passes unmasked.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys

from pictofs import journal
from pictofs.secrets import masked

FILE = "fetch.log"
# Two files of this size at most: an operator wants yesterday, not last year.
FILE_BYTES = 4 << 20


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and its traceback, without secrets."""
        return masked(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object a line, under the names that the other processes of a mount use (`mount/logs.py`)."""
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "process": "fetching",
            "pid": record.process,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class _Marked(logging.Formatter):
    """Another one's lines, as the journal wants them."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """With its severity before each line."""
        return journal.marked(self._formatter.format(record), record.levelno)


def set_up(cache_dir: str, level: str, form: str) -> None:
    """Directs this process' log. What cannot be written to is left out: a mount does not fail for its log."""
    root = logging.getLogger()
    root.setLevel(getattr(logging, level.upper(), logging.INFO))
    handlers: list[logging.Handler] = []
    try:
        handlers.append(
            logging.handlers.RotatingFileHandler(
                os.path.join(cache_dir, FILE), maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8"
            )
        )
    except OSError:
        pass
    if not _is_null(sys.stderr):
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        formatter = _Json() if form == "json" else _Text()
        at_journal = not isinstance(handler, logging.FileHandler) and journal.is_at(sys.stderr)
        handler.setFormatter(_Marked(formatter) if at_journal else formatter)
        root.addHandler(handler)


def _is_null(stream: object) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(os.devnull))  # type: ignore[attr-defined]
    except (OSError, AttributeError, ValueError):
        return True
