"""What an operator asks of a live mount: its state, its metrics, its recent operations."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount.conftest import Make, Mount, eventually, run

pytestmark = pytest.mark.mount
DATASET = "Street Scenes"
IMAGES = 12


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    running = start(EmulatorSettings(generate=IMAGES))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def mount(emulator: Running, port: int, shared_mounts: Make) -> Mount:
    """A mount with metrics; its files are read once."""
    made = shared_mounts(emulator, f"metrics={port}", "prefetch=off", "log_format=json").mounted()
    for image in images(made)[:4]:
        image.read_bytes()
    return made


def images(mount: Mount) -> list[Path]:
    return sorted(path for path in (mount.root / DATASET / "images").rglob("*") if path.is_file())


def scraped(port: int) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_status_says_what_was_read_and_fetched(mount: Mount) -> None:
    status = mount.status()
    assert status["hits"]["network"] >= 4
    assert status["read"]["files"] >= 4
    assert (status["datasets"][0]["name"], status["datasets"][0]["cached"]) == (DATASET, 4)
    assert status["links"]["urls"] >= IMAGES
    text = run(sys.executable, "-m", "pictofs", "status", mount.mountpoint).stdout
    assert "network" in text
    assert DATASET in text
    eventually(
        lambda: mount.status()["datasets"][0]["bytes"] == sum(i.stat().st_size for i in images(mount)[:4]),
        20, "the bytes of the dataset are counted",
    )  # fmt: skip


def test_prometheus_scrapes_what_the_mount_says(mount: Mount, port: int) -> None:
    found = eventually(lambda: scraped(port), 20, "somebody listens")
    assert found["pictofs_dataset_cached", DATASET] == 4
    assert found["pictofs_reads_total", "network"] >= 4
    assert found["pictofs_online",] == 1
    listening = run("ss", "-ltnH", f"sport = :{port}", check=False).stdout
    assert not listening or "127.0.0.1" in listening, "a bare port listens on this machine alone"


def test_a_metrics_address_in_use_is_one_line_and_nothing_is_mounted(
    mount: Mount, port: int, mounts: Make
) -> None:
    second = mounts(mount.emulator, f"metrics={port}")
    ran = second.mount()
    assert ran.returncode == 2
    assert re.fullmatch(r"pictofs: metrics=127\.0\.0\.1:\d+ cannot be listened on .*\n", ran.stderr)
    assert not os.path.ismount(second.mountpoint)


def test_a_killed_serving_process_takes_its_listener_with_it_and_the_next_has_one(
    mount: Mount, port: int
) -> None:
    before = mount.status()["pids"]["serving"]
    os.kill(before, 9)
    eventually(lambda: mount.status()["pids"]["serving"] not in (None, before), 20, "another serves")
    eventually(lambda: scraped(port)["pictofs_restarts_total",] >= 1, 20, "and is scraped")


def test_watching_says_what_happened_in_between(mount: Mount) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pictofs", "status", "--watch", str(mount.mountpoint)],
        stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout is not None
            line = next(line for line in watching.stdout if "files/s" in line)
            assert re.search(r"read +[\d.]+ ?[BKMG]/s, \d+ files/s", line)
        finally:
            watching.terminate()


def test_every_process_of_a_mount_logs_the_same_json(mount: Mount) -> None:
    processes = set()
    for path in (mount.log, mount.cache / "fetch.log"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        keys = {key for line in lines for key in line}
        assert keys == {"time", "level", "process", "pid", "logger", "message"}
        processes |= {line["process"] for line in lines}
    assert "fetching" in processes
    assert processes & {"supervisor", "serving"}


def test_the_access_log_names_operations_only_after_a_look(mount: Mount) -> None:
    log = mount.mountpoint / ".pictofs" / "access.log"
    assert "recorded while" in log.read_text()
    with pytest.raises(FileNotFoundError):
        (mount.root / DATASET / "nothing-of-that-name").stat()
    assert " lookup " in log.read_text()
    assert "nothing-of-that-name" in log.read_text()


def test_the_listener_is_gone_when_the_mount_is(emulator: Running, mounts: Make) -> None:
    port = free_port()
    short = mounts(emulator, f"metrics={port}").mounted()
    eventually(lambda: scraped(port), 20, "somebody listens")
    assert short.umount().returncode == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5).close()
