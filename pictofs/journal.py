"""systemd's journal at the other end of a stream, and how a line says how severe it is (sd-daemon(3))."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

# syslog(3) severities
_SEVERITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def is_at(stream: object, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the stream leads there: JOURNAL_STREAM alone is inherited by whatever a service starts."""
    try:
        status = os.fstat(stream.fileno())  # type: ignore[attr-defined]
    except (OSError, AttributeError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def marked(text: str, level: int) -> str:
    """The text with its severity before each line, which the journal takes away."""
    mark = f"<{_SEVERITY.get(level, 6)}>"
    return "\n".join(mark + line for line in text.splitlines())
