"""The emulator as a process: its first line, its end, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from pictofs.errors import UsageError
from tests.emulator.client import Api, ask

COMMAND = [sys.executable, "-m", "pictofs.emulator"]
LIMIT_S = 20


def ended(condition: Callable[[], bool]) -> bool:
    deadline = perf_counter() + LIMIT_S
    while perf_counter() < deadline:
        if condition():
            return True
        select.select([], [], [], 0.01)
    return False


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_line_is_json_and_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*COMMAND, "--generate", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = json.loads(process.stdout.readline())
        assert set(found) == {"base_url", "storage_url", "control_url", "api_key"}
        assert found["base_url"].endswith("/api/v1/developer")
        assert ask(found["base_url"] + "/datasets/", X_API_Key=found["api_key"]).status == 200
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
        assert process.stdout.read() == process.stderr.read() == b""
    assert list(tmp_path.iterdir()) == []


def test_it_ends_although_a_request_stalls_and_an_export_is_being_made(api: Callable[..., Api]) -> None:
    found = api(export_pending_ms=60_000.0)
    found("/exports/", "POST", data={"dataset_name": "Synthetic", "name": "e"})
    found.emulator.fault("storage", "stall")
    found.emulator.fault("api", "stall", "*/organizations/*")
    url = found.items("Synthetic")[0]["url"]
    waiting = []
    for target in (url, found.emulator.base_url + "/organizations/me"):
        host, _, path = target.removeprefix("http://").partition("/")
        sock = socket.create_connection((host.partition(":")[0], int(host.partition(":")[2])))
        sock.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {found.emulator.api_key}\r\n\r\n".encode()
        )
        assert sock.recv(10)
        waiting.append(sock)
    began = perf_counter()
    assert found.emulator.stop() == 0
    assert perf_counter() - began < 5
    for sock in waiting:
        sock.close()


def test_it_dies_with_the_process_that_started_it() -> None:
    """Also when that is killed, and a process that the parent forked holds on to every descriptor."""
    script = (
        "import os, signal, sys\n"
        "from pictofs.emulator.launch import start\n"
        "from pictofs.emulator.settings import EmulatorSettings\n"
        "running = start(EmulatorSettings(images=1))\n"
        "heir = os.fork()\n"
        "if heir == 0:\n"
        "    signal.pause()\n"
        "print(running.pid, heir, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        emulator, heir = (int(word) for word in parent.stdout.readline().split())
        try:
            assert not gone(emulator)
            parent.kill()
            parent.wait(LIMIT_S)
            assert ended(lambda: gone(emulator))
        finally:
            os.kill(heir, signal.SIGKILL)


def test_stopping_twice_is_stopping_once(launched: Callable[..., Running]) -> None:
    emulator = launched(images=1)
    assert [emulator.stop(), emulator.stop()] == [0, 0]
    assert gone(emulator.pid)


@pytest.mark.parametrize("option", ["port", "storage_port", "control_port"])
def test_a_port_in_use_is_one_line_and_exit_code_2(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(f"--{option.replace('_', '-')}={port}", "--images=1")
        assert (done.returncode, done.stdout) == (2, "")
        assert str(port) in done.stderr
        assert done.stderr.count("\n") == 1
        with pytest.raises(UsageError, match=str(port)):
            start(EmulatorSettings(images=1, **{option: port}))  # type: ignore[arg-type]


def test_two_emulators_cannot_share_a_port(launched: Callable[..., Running]) -> None:
    port = int(launched(images=1).storage_url.rpartition(":")[2])
    with pytest.raises(UsageError, match=str(port)):
        start(EmulatorSettings(images=1, storage_port=port))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data=/nowhere/at/all"],
        ["--dialect=d"],
        ["--page-cap=0"],
        ["--no-such-option"],
        ["--statuses=done:1"],
    ],
)
def test_bad_usage_is_exit_code_2_and_says_what(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[0].partition("=")[0] in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_host_that_is_not_ours_is_one_line() -> None:
    done = run("--host=203.0.113.1", "--images=1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "203.0.113.1" in done.stderr


def test_a_given_port_is_taken() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with start(EmulatorSettings(images=1, port=port)) as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{port}/api/v1/developer"


def test_the_key_is_in_no_repr(launched: Callable[..., Running]) -> None:
    emulator = launched(images=1)
    assert emulator.api_key not in repr(emulator)


def test_memory_stays_small_for_a_million_images(launched: Callable[..., Running]) -> None:
    began = perf_counter()
    emulator = launched(images=1_000_000)
    assert perf_counter() - began < 10
    found = Api(emulator, "c")
    assert (
        found("/images/", dataset="Synthetic", offset=999_990, limit=1000).json["pagination"]["has_more"]
        is False
    )
    resident = next(
        int(line.split()[1])
        for line in Path(f"/proc/{emulator.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert resident < 150_000  # KiB


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
