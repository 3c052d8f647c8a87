"""Logging of the processes of a mount: one line an event, to stderr, journal or file, and never a secret.

Rooms log to `logging.getLogger(__name__)`; only this module decides where it goes. What looks
like a key or a signed URL is masked: the rooms hide them already, and this is for what a library wrote.
"""

from __future__ import annotations

import fcntl
import json
import logging
import logging.handlers
import os
import stat
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path

from pictofs import journal
from pictofs.config import Settings
from pictofs.errors import UsageError
from pictofs.mount import places
from pictofs.secrets import masked

_KEEP_BYTES = 10 << 20  # a log that has become larger becomes `.1`


class _Rotating(logging.handlers.WatchedFileHandler):
    """A log that several processes append to, put aside by whichever finds it too long; the others follow.

    The standard library's rotating handler renames what another process has just begun.
    """

    def _open(self) -> TextIOWrapper:
        return open(
            self.baseFilename, "a", encoding=self.encoding, errors=self.errors,
            opener=lambda path, flags: os.open(path, flags, 0o600),
        )  # fmt: skip

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; a log that cannot be written is never the end of a mount."""
        try:
            self._put_aside()
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _put_aside(self) -> None:
        if self.stream is None:  # it could not be opened again; that is tried with each line
            return
        status = os.fstat(self.stream.fileno())
        if status.st_size <= _KEEP_BYTES or not stat.S_ISREG(status.st_mode):
            return
        # Of those who have this very file open, one renames it.
        fcntl.flock(self.stream.fileno(), fcntl.LOCK_EX)
        try:
            if os.path.samestat(status, os.stat(self.baseFilename)):
                os.replace(self.baseFilename, self.baseFilename + ".1")
        finally:
            fcntl.flock(self.stream.fileno(), fcntl.LOCK_UN)


class _Text(logging.Formatter):
    def __init__(self, role: str, at_journal: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._role = role
        self._at_journal = at_journal

    def format(self, record: logging.LogRecord) -> str:
        if self._at_journal:  # it knows the time and the pid
            lines = f"{self._role}: {record.getMessage()}"
            if record.exc_info:
                lines += "\n" + self.formatException(record.exc_info)
            return journal.marked(masked(lines), record.levelno)
        line = super().format(record)
        stamp, separator, rest = line.partition(f" {record.levelname} ")
        return masked(f"{stamp}{separator}{self._role}[{os.getpid()}] {rest}")


class _Json(logging.Formatter):
    def __init__(self, role: str, at_journal: bool) -> None:
        super().__init__()
        self._role = role
        self._at_journal = at_journal

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "process": self._role,
            "pid": os.getpid(),
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = masked(self.formatException(record.exc_info))
        text = json.dumps(line, ensure_ascii=False)
        return journal.marked(text, record.levelno) if self._at_journal else text


def place(settings: Settings, mountpoint: str, environ: Mapping[str, str], *, foreground: bool) -> str:
    """The path of the log; empty for stderr. A background mount always has a file."""
    if settings.log_file is not None:
        return settings.log_file
    if foreground:
        return ""
    return str(places.log_dir(environ, os.getuid()) / f"{places.name_of(mountpoint)}.log")


def prepare(path: str) -> None:
    """Make the log's folder and put an overgrown log aside; UsageError when it cannot be written."""
    if not path:
        return
    log = Path(path)
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _KEEP_BYTES:
            log.replace(log.with_name(log.name + ".1"))
        with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab"):
            pass
    except OSError as error:
        raise UsageError(f"log_file {path} cannot be written: {error.strerror}; name another") from error


def configure(settings: Settings, role: str, path: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send every logger of this process to its place, and unexpected exceptions too."""
    handler: logging.Handler = (
        _Rotating(path, encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    )
    at_journal = not path and journal.is_at(sys.stderr, environ)
    form = _Json if settings.log_format == "json" else _Text
    handler.setFormatter(form(role, at_journal))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    # At debug urllib3 writes whole URLs, and fusepy a traceback for every name that does not exist.
    for chatty in ("urllib3", "fuse"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
