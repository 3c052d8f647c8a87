"""What changes remotely is seen through every cache of the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import HASH, digest, finished, holding, reader

pytestmark = pytest.mark.mount


def test_another_version_is_seen_and_an_open_file_keeps_the_one_it_has(
    folder: Path, serve: Serve, io: str
) -> None:
    file = folder / "60000.bin"
    old = file.read_bytes()
    served = serve(folder, io=io)
    seen = served.mountpoint / "60000.bin"
    with holding(seen, 1) as held:
        assert held("hash") == digest(old)
        new = os.urandom(70_000)
        (folder / "other").write_bytes(new)
        os.rename(folder / "other", file)  # as the store does: never the same file with other bytes
        served.ask("rescan")
        served.until(lambda: seen.stat().st_size == len(new))
        assert seen.read_bytes() == new
        assert held("hash") == digest(old)


def test_what_comes_and_what_goes_is_seen_through_every_cache(folder: Path, serve: Serve) -> None:
    served = serve(folder)
    mount = served.mountpoint
    for _ in range(2):
        assert "new" not in os.listdir(mount / "a")
    assert not (mount / "a" / "new").exists()
    assert (mount / "a" / "ü ä 汉.jpg").exists()
    (folder / "a" / "new").write_bytes(b"n")
    (folder / "a" / "ü ä 汉.jpg").unlink()
    served.ask("rescan")
    served.until(lambda: (mount / "a" / "new").exists() and not (mount / "a" / "ü ä 汉.jpg").exists())
    assert sorted(os.listdir(mount / "a")) == sorted(os.listdir(folder / "a"))
    assert (mount / "a" / "new").read_bytes() == b"n"


def test_attributes_of_a_node_that_stays_are_seen(folder: Path, serve: Serve) -> None:
    (folder / "pinned-1").write_bytes(b"one")
    served = serve(folder)
    seen = served.mountpoint / "pinned-1"
    assert seen.read_bytes() == b"one"
    (folder / "pinned-1").write_bytes(b"two and more")
    served.ask("rescan")
    served.until(lambda: seen.stat().st_size == 12)
    assert seen.read_bytes() == b"two and more"


def test_a_change_of_thousands_of_names_is_seen(folder: Path, serve: Serve) -> None:
    for number in range(5000):
        (folder / "empty" / f"{number:04}").write_bytes(b"")
    served = serve(folder)
    mount = served.mountpoint / "empty"
    assert sum(1 for row in os.scandir(mount) if row.stat().st_size == 0) == 5000
    for number in range(5000):
        (folder / "empty" / f"{number:04}").write_bytes(b"x")
    served.ask("rescan")
    served.until(lambda: all((mount / f"{number:04}").stat().st_size == 1 for number in (0, 2500, 4999)))
    assert sum(1 for row in os.scandir(mount) if row.stat().st_size == 1) == 5000


def test_a_change_in_a_directory_where_somebody_waits_stops_nobody_there(folder: Path, serve: Serve) -> None:
    (folder / "held-1").write_bytes(b"x")
    served = serve(folder)
    hung = reader(HASH, served.mountpoint / "held-1")
    served.until(lambda: served.ask("state")["waiting"] >= 1)
    (folder / "new").write_bytes(b"n")
    served.ask("rescan")
    served.until(lambda: (served.mountpoint / "new").exists())
    assert hung.poll() is None
    served.ask("release")
    finished(hung)
