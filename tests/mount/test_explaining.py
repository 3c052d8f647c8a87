"""`pictofs explain`: files and readers of a live mount whose service is slow on purpose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount.conftest import Make, Mount, eventually, pictofs

pytestmark = pytest.mark.mount
DATASET = "Street Scenes"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    running = start(EmulatorSettings(generate=12))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def mount(emulator: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(emulator, "prefetch=off", "ttl=1h").mounted()


def explained(what: str | Path, *words: str) -> Any:
    ran = pictofs("explain", "--json", *words, what)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def images(mount: Mount) -> list[Path]:
    return sorted(path for path in (mount.root / DATASET / "images").rglob("*") if path.is_file())


def flights(mount: Mount) -> Any:
    return json.loads((mount.mountpoint / ".pictofs" / "status.json").read_text())["flights"]


@contextmanager
def stalled(emulator: Running) -> Iterator[None]:
    """Every transfer stands still after its first bytes."""
    body = json.dumps({"host": "storage", "kind": "stall", "probability": 1}).encode()
    urllib.request.urlopen(
        urllib.request.Request(f"{emulator.control_url}/faults", body, method="POST"), timeout=10
    ).close()
    yield
    urllib.request.urlopen(
        urllib.request.Request(f"{emulator.control_url}/faults", method="DELETE"), timeout=10
    ).close()


@contextmanager
def reading(path: Path, *, again: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that reads a file, once or for ever."""
    loop = "while True: sum(range(20000))\n" if again else ""
    code = f"import sys\nfile = open(sys.argv[1], 'rb')\nprint('open', flush=True)\nfile.read()\n{loop}"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def test_a_file_before_during_and_after_its_fetch(mount: Mount, emulator: Running) -> None:
    image = images(mount)[0]
    before = explained(image)
    assert (before["kind"], before["file"]["blocks"], before["file"]["whole"]) == ("image", 0, False)
    assert before["dataset"]["name"] == DATASET
    assert "the first read waits for" in before["verdict"]
    with stalled(emulator), reading(image) as reader:
        eventually(lambda: flights(mount), 20, "the fetch is seen")
        during = explained(image)
        (flight,) = during["asked"]["flights"]
        assert (flight["priority"], flight["doing"], flight["pids"]) == ("demand", "fetching", [reader.pid])
        assert "under way" in during["verdict"]
    image.read_bytes()
    after = explained(image)
    assert (after["file"]["whole"], after["file"]["size"]) == (True, image.stat().st_size)
    assert "whole in the cache" in after["verdict"]
    text = pictofs("explain", image).stdout
    assert text.splitlines()[0] == after["verdict"]


def test_a_reader_that_waits_and_one_that_computes_are_told_apart(mount: Mount, emulator: Running) -> None:
    one, other = images(mount)[1:3]
    with stalled(emulator), reading(one) as reader:
        eventually(lambda: flights(mount), 20, "it waits")
        waits = explained(str(reader.pid), "--seconds", "1.2")
    assert waits["shares"]["pictofs"] > 0.9, waits
    assert [each["path"] for each in waits["waits_for"]] == [str(one.relative_to(mount.root))]
    assert [each["path"] for each in waits["open"]] == [str(one)]
    assert "for bytes from the service" in waits["verdict"]
    other.read_bytes()
    with reading(other, again=True) as reader:
        computes = explained(str(reader.pid), "--seconds", "1")
    assert computes["shares"]["computing"] > 0.5, computes
    assert computes["verdict"].startswith("pictofs is not what it waits for most")


def test_views_folders_and_names_that_are_not_known_are_explained_too(mount: Mount) -> None:
    image = images(mount)[0]
    link = next(p for p in (mount.root / DATASET / "status").rglob("images/*") if p.is_symlink())
    assert explained(link)["kind"] == "image"
    folder = explained(image.parent)
    assert (folder["kind"], folder["file"]) == ("images", None)
    assert "it was listed" in folder["verdict"]
    nothing = explained(mount.root / DATASET / "images" / "no.jpg")
    assert nothing["unknown"] == "no.jpg"
    requests = mount.status()["requests"]["api"]
    unread = explained(next((mount.root / DATASET / "annotations").rglob("*.json")))
    assert (unread["kind"], unread["file"]["size"]) == ("annotation", None)
    assert mount.status()["requests"]["api"] == requests, "explaining fetches nothing"


def test_what_is_no_reader_and_no_path_of_a_mount_is_one_line(mount: Mount, tmp_path: Path) -> None:
    ran = pictofs("explain", "4194303")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "no process" in ran.stderr
    ran = pictofs("explain", tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (7, 1)
    assert explained(str(os.getpid()), "--seconds", "0.1")["open"] == []
