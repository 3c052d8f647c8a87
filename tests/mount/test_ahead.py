"""What is fetched before it is asked for, on real mounts: epochs, walks, orders, `warm`."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pictofs
from pictofs.emulator.launch import Running
from tests.mount.conftest import Make, Mount, eventually
from tests.mount.conftest import pictofs as command

pytestmark = pytest.mark.mount
IMAGES = 300
SETTLED_S = 40.0
Emulators = Callable[..., Running]


def served(emulators: Emulators, **settings: Any) -> Running:
    made = {"images": IMAGES, "image_bytes": 20_000, "names": "plain", "rate_limit": 0}
    return emulators(**{**made, **settings})


def images_of(mount: Mount) -> list[Path]:
    (dataset,) = (each for each in mount.mountpoint.joinpath("org").iterdir() if each.is_dir())
    return sorted(Path(where) / name for where, _, names in os.walk(dataset / "images") for name in names)


def cached(mount: Mount) -> int:
    return int(mount.status()["datasets"][0]["cached"])


def read(paths: list[Path]) -> None:
    for path in paths:
        assert path.read_bytes()


def read_raw(paths: list[Path]) -> None:
    """`read_bytes` makes nothing of EAGAIN."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.read(fd, 1 << 20)
        finally:
            os.close(fd)


def mounted(mounts: Make, emulator: Running, *options: str, **more: Any) -> Mount:
    return mounts(emulator, "organization=org", *options, **more).mounted()


def test_scattered_reads_fetch_the_rest_of_the_dataset_once(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator)
    paths = images_of(mount)
    assert len(paths) == IMAGES
    emulator.reset_counters()
    read(random.Random(1).sample(paths, 40))
    eventually(lambda: cached(mount) == IMAGES, SETTLED_S, "the whole dataset")
    counters = emulator.counters()
    assert counters["storage"]["requests"] == IMAGES
    assert counters["storage"]["most_requests_of_one_path"] == 1
    assert counters["api"]["requests"] <= 3
    assert "is read in scattered order and fetched ahead" in mount.logged()


def test_thumbnailers_and_search_tools_set_off_no_fill(
    mounts: Make, emulators: Emulators, tmp_path: Path
) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator)
    paths = random.Random(3).sample(images_of(mount), 60)
    thumbnailer = tmp_path / "tumblerd"      # what a process is called tells what it does
    shutil.copy(shutil.which("cat") or "/bin/cat", thumbnailer)
    subprocess.run([thumbnailer, *paths[:30]], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["grep", "-c", "no such text", *paths[30:]], check=False, stdout=subprocess.DEVNULL)
    assert mount.status()["queue"]["fill"] == 0
    assert "fetched ahead" not in mount.logged()
    read(paths)  # what is here already is no first read either
    assert "fetched ahead" not in mount.logged()


def test_a_walk_fetches_a_window_and_not_the_dataset(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator, "prefetch=sequential")
    paths = images_of(mount)
    read(paths[:12])
    eventually(lambda: cached(mount) > 12, SETTLED_S, "files ahead of the reader")
    read(random.Random(2).sample(paths[100:], 40))
    assert cached(mount) < IMAGES // 2


def test_a_reader_of_a_slow_link_waits_as_long_as_bytes_come(mounts: Make, emulators: Emulators) -> None:
    """What is fetched ahead of it shares the link with it: none of it comes within `timeout`."""
    emulator = served(emulators, images=40, image_bytes=200_000, bandwidth=1_000_000)
    mount = mounted(mounts, emulator, "timeout=1s")
    assert all(len(path.read_bytes()) >= 200_000 for path in images_of(mount)[:12])


def test_nothing_is_fetched_ahead_with_prefetch_off(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator, "prefetch=off")
    paths = images_of(mount)
    read([*paths[:20], *random.Random(3).sample(paths[20:], 40)])
    assert cached(mount) == 60
    assert emulator.counters()["storage"]["requests"] == 60


def test_annotations_are_fetched_ahead_of_a_walk(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators, latency_ms=5)
    mount = mounted(mounts, emulator)
    (dataset,) = mount.mountpoint.joinpath("org").iterdir()
    folder = dataset / "annotations"
    names = sorted(Path(where) / name for where, _, names in os.walk(folder) for name in names)
    for name in names[:60]:
        json.loads(name.read_bytes())
    routes = emulator.counters()["api"]["routes"]
    asked = sum(count for route, count in routes.items() if "annotations" in route)
    assert asked > 30
    assert emulator.counters()["api"]["most_requests_of_one_path"] <= 2


def test_sizes_of_annotations_are_fetched_ahead_of_who_asks_for_one_after_the_other(
    mounts: Make, emulators: Emulators
) -> None:
    emulator = served(emulators, latency_ms=20)
    mount = mounted(mounts, emulator)
    images_of(mount)
    (dataset,) = mount.mountpoint.joinpath("org").iterdir()
    listed = subprocess.run(
        ["ls", "-lR", dataset / "annotations"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert listed.count(".json\n") == IMAGES
    waited = mount.status()["waits"]["operations"]
    assert waited["getattr"] + waited["lookup"] < IMAGES / 4


def test_the_day_s_allowance_ends_what_nobody_waits_for(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator, "max_fetch=3M")
    paths = images_of(mount)
    read(random.Random(4).sample(paths, 40))
    eventually(lambda: "max_fetch" in mount.logged(), SETTLED_S, "the end of the allowance")
    assert cached(mount) < 160
    with pytest.raises(BlockingIOError):
        read_raw(paths)


def test_warm_fetches_checks_and_lets_go(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator, "prefetch=off")
    folder = images_of(mount)[0].parents[0]
    while folder.name != "images":
        folder = folder.parent
    assert command("warm", "--check", folder).returncode == 1
    begun = json.loads(command("warm", "--json", "--shard", "1/3", folder).stdout)["fetched"]
    assert begun == IMAGES // 3
    ran = command("warm", "--json", folder)  # goes on with what is not here
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert (report["files"], report["here"], report["fetched"]) == (IMAGES, begun, IMAGES - begun)
    assert report["failed"] == []
    assert report["bytes"] > (IMAGES - begun) * 19_000
    assert command("warm", "--check", folder).returncode == 0
    assert json.loads(command("warm", "--json", folder).stdout)["here"] == IMAGES
    assert emulator.counters()["storage"]["requests"] == IMAGES
    assert command("warm", "--evict", "--shard", "1/3", folder).returncode == 0
    assert cached(mount) == IMAGES - IMAGES // 3
    assert command("warm", "--shard", "4/3", folder).returncode == 2


def test_warm_fetches_archives_too(mounts: Make, emulators: Emulators, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "Sets"
    (folder / "images").mkdir(parents=True)
    (folder / "exports").mkdir()
    (folder / "images" / "one.jpg").write_bytes(os.urandom(1000))
    with zipfile.ZipFile(folder / "exports" / "all.zip", "w") as archive:
        archive.writestr("images/one.jpg", os.urandom(3 << 20))
    emulator = emulators(data=tmp_path / "data", rate_limit=0)
    mount = mounted(mounts, emulator, "prefetch=off")
    exports = mount.mountpoint / "org" / "Sets" / "exports"
    report = json.loads(command("warm", "--json", exports).stdout)
    assert (report["files"], report["fetched"], report["failed"]) == (1, 1, [])
    emulator.reset_counters()
    assert (exports / "all.zip").read_bytes() == (folder / "exports" / "all.zip").read_bytes()
    assert emulator.counters()["storage"]["requests"] == 0


def test_warm_reports_what_fails(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator, "prefetch=off", "timeout=3")
    paths = images_of(mount)
    beside = [Path(str(path).replace("/images/", "/annotations/")) for path in paths]
    annotations = [path.with_suffix(".json") for path in beside]
    emulator.fault("api", "status", "*annotations*", status=403)
    ran = command("warm", "--json", *annotations[:5], *paths[:5])
    report = json.loads(ran.stdout)
    assert ran.returncode == 1, ran.stderr
    assert report["fetched"] + len(report["failed"]) == 10
    assert all("/annotations/" in failed["path"] for failed in report["failed"])
    assert report["failed"]


def test_an_announced_order_is_fetched_before_it_is_read(mounts: Make, emulators: Emulators) -> None:
    emulator = served(emulators)
    mount = mounted(mounts, emulator)
    order = random.Random(5).sample(images_of(mount), IMAGES)
    assert pictofs.advise(order) == IMAGES
    eventually(lambda: cached(mount) == IMAGES, SETTLED_S, "what was announced")
    assert emulator.counters()["storage"]["requests"] == IMAGES
    ran = command("advise", "/etc/hostname")
    assert ran.returncode == 7, ran   # on no mount


def test_with_a_small_cache_an_announced_order_makes_room_for_itself(
    mounts: Make, emulators: Emulators
) -> None:
    emulator = served(emulators, image_bytes=100_000)
    mount = mounted(mounts, emulator, "cache_size=16M")      # of 30 MB
    paths = images_of(mount)
    for epoch in range(2):
        order = random.Random(epoch).sample(paths, IMAGES)
        emulator.reset_counters()
        pictofs.advise(order)
        read(order)
    counters = emulator.counters()["storage"]
    assert counters["most_requests_of_one_path"] <= 2
    assert counters["requests"] <= IMAGES
