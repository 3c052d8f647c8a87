"""The emulator as a child process, and a small client of its control port.

The child watches the process that started it and ends when that ends, however it ends; `stop` ends it in
order.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from types import TracebackType
from typing import IO, Any

from pictofs.emulator.settings import EmulatorSettings, to_arguments
from pictofs.errors import UsageError

_STOP_S = 10.0
_CONTROL_S = 60.0  # completing an export of a big dataset takes its time


class ControlError(RuntimeError):
    """The control port said no; the message is its reason."""


class Running:
    """An emulator that runs: its addresses, its key, its control port. A context manager that stops it."""

    def __init__(self, process: subprocess.Popen[bytes], found: dict[str, Any]) -> None:
        self._process = process
        self.base_url: str = found["base_url"]
        self.storage_url: str = found["storage_url"]
        self.control_url: str = found["control_url"]
        self.api_key: str = found["api_key"]

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def __repr__(self) -> str:
        return f"Running(pid={self.pid}, base_url={self.base_url!r})"

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """End the child and wait for it; returns its exit code. Nothing happens the second time."""
        _end(self._process)
        return self._process.returncode

    def counters(self, *, detail: bool = True) -> dict[str, Any]:
        """`GET /counters`: what each host was asked."""
        return self._control("GET", f"/counters?detail={'true' if detail else 'false'}")

    def reset_counters(self) -> None:
        """Start counting again."""
        self._control("DELETE", "/counters")

    def fault(self, host: str, kind: str, path: str = "*", **parameters: Any) -> int:
        """`POST /faults` with one entry; returns its number, for `remove_fault`."""
        entry = {"host": host, "kind": kind, "path": path, **parameters}
        number: int = self._control("POST", "/faults", entry)["faults"][0]["id"]
        return number

    def faults(self) -> list[dict[str, Any]]:
        """The entries in force, with how often each has struck."""
        found: list[dict[str, Any]] = self._control("GET", "/faults")["faults"]
        return found

    def remove_fault(self, number: int) -> None:
        """Take one entry back."""
        self._control("DELETE", f"/faults/{number}")

    def clear_faults(self) -> None:
        """Take all entries back; shut ports open again."""
        self._control("DELETE", "/faults")

    def mutate(self, op: str, **fields: Any) -> dict[str, Any]:
        """`POST /mutate` with one operation; returns what it changed."""
        result: dict[str, Any] = self._control("POST", "/mutate", {"op": op, **fields})["results"][0]
        return result

    def switch(self, **values: Any) -> dict[str, Any]:
        """Change settings while it runs: latency_ms, bandwidth, rate_limit, url_ttl and the like."""
        return self.mutate("settings", **values)

    def state(self) -> dict[str, Any]:
        """`GET /state`: datasets and exports as they are."""
        return self._control("GET", "/state")

    def _control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control_url + path, data, method=method)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({})
        )  # this machine is never behind a proxy
        try:
            with opener.open(request, timeout=_CONTROL_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise ControlError(error.read().decode(errors="replace")) from None


def start(settings: EmulatorSettings, *, timeout_s: float = 60.0) -> Running:
    """Start an emulator and wait until it answers. Raises `UsageError`, its own line, where it cannot."""
    settings = replace(settings.validate(), parent=os.getpid())
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pictofs.emulator", *to_arguments(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is for the parent, which stops us in its order
        )
        try:
            assert process.stdout is not None
            line = _first_line(process.stdout, timeout_s)
            if line.endswith(b"\n"):
                return Running(process, json.loads(line))
        except BaseException:
            _end(process)
            raise
        _end(process)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if process.returncode == UsageError.exit_code and said:
        raise UsageError(said.removeprefix("pictofs emulator: "))
    raise UsageError(f"the emulator did not start within {timeout_s:g} s: {said or 'it said nothing'}")


def _first_line(stream: IO[bytes], timeout_s: float) -> bytes:
    """The first line, or what of it arrived before the end of the stream or the deadline."""
    descriptor, line = stream.fileno(), b""
    deadline = time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(descriptor, 65536) if ready else b""
        if not part:
            break
        line += part
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with contextlib.suppress(OSError):
        if process.stdout is not None:
            process.stdout.close()
