"""What nobody expected, kept where it can be looked at."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping

from pictofs.mount import places
from pictofs.secrets import masked


def keep(error: BaseException, environ: Mapping[str, str]) -> str:
    """Append the traceback to the log of the commands, without secrets; words that say where it is."""
    path = places.log_dir(environ, os.getuid()) / "pictofs.log"
    text = masked("".join(traceback.format_exception(error)))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{text}\n")
    except OSError:
        return "its log cannot be written"
    return f"the traceback is in {path}"
