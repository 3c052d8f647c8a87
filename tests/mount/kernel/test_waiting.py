"""What waits holds nobody else up, and can be left."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from pictofs.drivers.kernel import mounting
from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import HASH, digest, finished, reader
from tests.mounting import tree_of

pytestmark = pytest.mark.mount


def test_a_read_that_waits_holds_up_nobody_else(folder: Path, serve: Serve, io: str) -> None:
    (folder / "held-1").write_bytes(b"late")
    served = serve(folder, io=io)
    waiting = reader(HASH, served.mountpoint / "held-1")
    served.until(lambda: served.ask("state")["waiting"] == 1)
    assert tree_of(served.mountpoint / "a") == tree_of(folder / "a")
    assert waiting.poll() is None
    served.ask("release")
    assert finished(waiting).strip() == digest(b"late")


def test_answers_come_out_of_order(folder: Path, serve: Serve) -> None:
    (folder / "slow-0.6-x").write_bytes(b"late")
    (folder / "slow-0.1-x").write_bytes(b"soon")
    served = serve(folder)
    began_s = time.monotonic()
    late = reader(HASH, served.mountpoint / "slow-0.6-x")
    soon = reader(HASH, served.mountpoint / "slow-0.1-x")
    assert finished(soon).strip() == digest(b"soon")
    assert finished(late).strip() == digest(b"late")
    assert time.monotonic() - began_s < 10.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_reader_with_a_signal_leaves_a_hung_read_at_once(
    folder: Path, serve: Serve, io: str, number: signal.Signals
) -> None:
    (folder / "held-1").write_bytes(b"x" * 100_000)
    served = serve(folder, io=io)
    code = (
        "import os,signal,sys,time\n"
        "def leave(*_): os.write(1, f'{time.monotonic()}'.encode()); os._exit(0)\n"
        "signal.signal(signal.SIGINT, leave)\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.read(fd, 100)\n"
    )
    hung = reader(code, served.mountpoint / "held-1")
    served.until(lambda: served.ask("state")["waiting"] >= 1)
    sent_s = time.monotonic()
    hung.send_signal(number)
    said, _ = hung.communicate(timeout=20)
    left_s = float(said) if said else time.monotonic()
    assert left_s - sent_s < 0.5
    served.until(lambda: served.ask("state")["waiting"] == 0)


def test_aborting_the_connection_ends_every_wait(folder: Path, serve: Serve) -> None:
    (folder / "held-1").write_bytes(b"x")
    served = serve(folder)
    hung = reader(HASH, served.mountpoint / "held-1")
    served.until(lambda: served.ask("state")["waiting"] >= 1)
    mounting.abort(str(served.mountpoint))
    _, wrong = hung.communicate(timeout=20)
    assert hung.returncode
    assert "OSError" in wrong
    assert served.child is not None
    assert served.child.wait(20) == 0
