"""A Pictograph service on this machine: the Developer API in three dialects, a storage host, a control port.

`run` serves in this process, `launch.start` in a child; docs/emulator.md describes every switch, fault and
mutation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pictofs.emulator.settings import EmulatorSettings
from pictofs.errors import UsageError

__all__ = ["EmulatorSettings", "run"]


def run(settings: EmulatorSettings, announce: Callable[[dict[str, Any]], None]) -> None:
    """Serve until SIGTERM or SIGINT, then leave nothing behind.

    `announce` is called once, when all three ports answer, with base_url, storage_url, control_url and
    api_key. Raises `UsageError`, one line, for settings that cannot be, a port in use, or a missing emulator
    extra.
    """
    try:
        from pictofs.emulator.server import serve
    except ModuleNotFoundError as error:
        raise UsageError(f"the emulator needs {error.name}: pip install 'pictofs[emulator]'") from None
    serve(settings, announce)
