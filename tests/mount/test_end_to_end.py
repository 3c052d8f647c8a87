"""From an API key to plain files: what the mount promises (docs/semantics.md, quoted), shown on real mounts.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from PIL import Image

from pictofs import names
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount import sources
from tests.mount.conftest import Make, Mount, eventually, pictofs, run

pytestmark = pytest.mark.mount
TTL_S = 0.5


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    sources.nested(folder)
    return folder


def in_dialect(dialect: str, data: Path) -> EmulatorSettings:
    return EmulatorSettings(
        dialect=dialect, data=data, rate_limit=100_000,
        images=sources.BIG_IMAGES, image_bytes=1000, names="plain", annotated=0,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["a", "b", "c"])
def service(request: pytest.FixtureRequest, data: Path) -> Iterator[Running]:
    with start(in_dialect(request.param, data)) as running:
        yield running


@pytest.fixture(scope="module")
def mount(service: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(service).mounted()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service in dialect c for tests that change it; each brings a dataset of its own."""
    with start(EmulatorSettings(generate=12, rate_limit=100_000)) as running:
        yield running


def copied(of: Path, to: Path) -> Path:
    run("cp", "-r", of, to)
    return to


def as_served(expected: dict[str, bytes], mount: Mount) -> dict[str, bytes]:
    """Names as the mount writes them; dialect A knows no directories."""
    found = {"/".join(map(names.encode, name.split("/"))): body for name, body in expected.items()}
    if mount.status()["dialect"] != "a":
        return found
    flat = {os.path.basename(name): body for name, body in found.items()}
    assert len(flat) == len(found)
    return flat


def assert_same(found: Path, expected: dict[str, bytes], mount: Mount) -> None:
    """Equal names and bytes; not one assert of megabytes."""
    left, right = sources.files(found), as_served(expected, mount)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


# In each dialect


def test_a_copy_of_2000_images_equals_the_source(mount: Mount, data: Path, tmp_path: Path) -> None:
    """ "A copy of a dataset equals the source byte for byte."

    "Every image, annotation and completed export of every dataset is a file."
    """
    there = mount.root / sources.NESTED
    assert {entry.name for entry in mount.root.iterdir()} == {sources.NESTED, sources.BIG}
    copy = copied(there, tmp_path / "copy")
    assert_same(copy / "images", sources.files(data / sources.NESTED / "images"), mount)
    annotations = sources.files(copy / "annotations")
    expected = as_served(sources.files(data / sources.NESTED / "annotations"), mount)
    assert {
        name: json.loads(body)["annotations"] for name, body in annotations.items() if name in expected
    } == {name: json.loads(body)["annotations"] for name, body in expected.items()}
    for name in annotations.keys() - expected.keys():
        assert json.loads(annotations[name])["annotations"] == []
    assert all(body.endswith(b"}\n") and body.startswith(b"{\n  ") for body in annotations.values())
    assert (copy / "exports" / "whole.zip").read_bytes() == (
        data / sources.NESTED / "exports" / "whole.zip"
    ).read_bytes()
    assert json.loads((copy / "dataset.json").read_bytes())["name"] == sources.NESTED


def test_a_copy_of_10500_images_is_whole(mount: Mount, data: Path, tmp_path: Path) -> None:
    """More than one call of the batch download names; several copies at once, as data loaders read."""
    there, copy = mount.root / sources.BIG / "images", tmp_path / "copy"
    copy.mkdir()
    everything = (
        f"cd '{there}' && find . -type d -exec mkdir -p '{copy}/{{}}' ';' && "   # or two copies race for one
        f"find . -type f -print0 | xargs -0 -P 8 -n 250 cp --parents -t '{copy}'"
    )
    run("sh", "-c", everything)
    expected = sources.big(in_dialect(mount.status()["dialect"], data))
    assert len(expected) == sources.BIG_IMAGES
    assert_same(copy, expected, mount)


def test_an_export_is_listed_and_tested_through_the_mount(mount: Mount) -> None:
    path = mount.root / sources.NESTED / "exports" / "whole.zip"
    assert "039.jpg" in run("unzip", "-l", path).stdout
    assert "No errors detected" in run("unzip", "-t", path).stdout


def test_a_split_is_read_through_its_plain_paths(mount: Mount, data: Path) -> None:
    if mount.status()["dialect"] == "a":
        pytest.skip("dialect A knows no splits")
    split = mount.root / sources.NESTED / "splits" / "train" / "images"
    found = sources.files(split)
    assert len(found) == sum(
        "train" in path.parts for path in (data / sources.NESTED / "images").rglob("*.jpg")
    )
    for name in sorted(found)[:5]:
        with Image.open(split / name) as picture:
            picture.load()
            assert picture.size == (24, 24)
        assert cv2.imread(str(split / name)).shape == (24, 24, 3)


def test_stat_is_exact_and_stays(service: Running, shared_mounts: Make, data: Path) -> None:
    """ "The size that stat returns is exact."

    "A file has the same modification time before and after it is fetched."
    """
    fresh = shared_mounts(service, "prefetch=off").mounted()
    below = "" if fresh.status()["dialect"] == "a" else "train/día"
    source = data / sources.NESTED / "images" / "train" / "día"
    folder = fresh.root / sources.NESTED / "images" / below
    for path in sorted(source.iterdir())[:20]:
        before = os.stat(folder / path.name)
        assert before.st_size == path.stat().st_size
        assert (folder / path.name).read_bytes() == path.read_bytes()
        after = os.stat(folder / path.name)
        assert (after.st_mtime_ns, after.st_size, after.st_ino) == (
            before.st_mtime_ns,
            before.st_size,
            before.st_ino,
        )
    annotation = fresh.root / sources.NESTED / "annotations" / below
    for path in sorted(annotation.iterdir())[:5]:
        assert os.stat(path).st_size == len(path.read_bytes())
    assert fresh.umount().returncode == 0


def test_a_key_goes_to_the_api_alone(mount: Mount, service: Running) -> None:
    """ "The key goes to the API's host alone." """
    counters = service.counters(detail=False)
    assert counters["storage"]["keys"] == []
    assert counters["storage"]["authorization"] == 0
    assert counters["api"]["keys"] == [service.api_key]
    told = mount.logged() + Path("/proc/self/mountinfo").read_text()
    for name in ("status.json", "metrics", "access.log"):
        told += (mount.mountpoint / ".pictofs" / name).read_text()
    for pid in mount.status()["pids"].values():
        told += Path(f"/proc/{pid}/cmdline").read_text()
    assert service.api_key not in told
    assert "X-Goog-Signature=" not in told.replace("X-Goog-Signature=…", "")


# Against odds


def test_the_same_copy_with_short_lived_urls_and_failing_transfers(
    service: Running, mounts: Make, data: Path, tmp_path: Path
) -> None:
    """ "A transfer that breaks goes on at the same byte." """
    service.switch(url_ttl=2)
    for kind in ("status", "reset", "truncate"):
        service.fault("storage", kind, probability=0.01 / 3)
    try:
        rough = mounts(service).mounted()
        copy = copied(rough.root / sources.NESTED / "images", tmp_path / "copy")
        assert_same(copy, sources.files(data / sources.NESTED / "images"), rough)
        assert sum(fault["struck"] for fault in service.faults()) > 0
    finally:
        service.clear_faults()
        service.switch(url_ttl=3600)


def test_a_wrong_byte_never_arrives(calm: Running, mounts: Make) -> None:
    """ "A wrong byte is fetched again and never served." """
    made = new_dataset(calm, "damaged", 4)
    number = calm.fault("storage", "corrupt", "*", count=2)
    mount = mounts(calm).mounted()
    folder = mount.root / "damaged" / "images"
    for name, body in made.items():
        assert (folder / name).read_bytes() == body
    calm.remove_fault(number)
    name, body = add_image(calm, "damaged", "always.jpg")
    calm.fault("storage", "corrupt", "*always*")
    run_refresh(mount.root / "damaged")
    with pytest.raises(OSError, match="Input/output") as caught:
        (folder / name).read_bytes()
    assert caught.value.errno == errno.EIO
    calm.clear_faults()
    assert eventually(lambda: (folder / name).read_bytes() == body, 10, "the right bytes once they are right")


# What changes


def content(name: str, size: int = 3000) -> bytes:
    body = sources.jpeg(sum(name.encode()) * 31)
    return body + (name.encode() * (size // len(name) + 1))[: size - len(body)]


def add_image(
    service: Running, dataset: str, name: str, body: bytes | None = None, **fields: object
) -> tuple[str, bytes]:
    import base64

    body = content(name) if body is None else body
    service.mutate(
        "add_image", dataset=dataset, filename=name, content=base64.b64encode(body).decode(), **fields
    )
    return name, body


def new_dataset(service: Running, name: str, images: int) -> dict[str, bytes]:
    service.mutate("add_dataset", name=name)
    return dict(add_image(service, name, f"{number:03d}.jpg") for number in range(images))


def run_refresh(path: Path) -> None:
    ran = pictofs("refresh", path)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def lively(calm: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(calm, f"ttl={TTL_S}s", "timeout=4s").mounted()


def soon(condition: Callable[[], object], what: str, ages: int = 1) -> None:
    """Within `ages` ttl, and what a busy machine needs on top."""
    eventually(condition, ages * TTL_S + 3.0, what)


def test_what_changes_is_seen_when_it_is_looked_at_after_ttl(calm: Running, lively: Mount) -> None:
    """ "A change is seen at the latest when it is looked at after ttl." """
    import base64

    new_dataset(calm, "changing", 3)
    soon((lively.root / "changing").exists, "a new dataset")
    folder = lively.root / "changing" / "images"
    assert sorted(os.listdir(folder)) == ["000.jpg", "001.jpg", "002.jpg"]
    _, body = add_image(calm, "changing", "new.jpg")
    soon((folder / "new.jpg").exists, "an image that was added")
    assert (folder / "new.jpg").read_bytes() == body

    other = content("another version", 5000)
    calm.mutate(
        "replace_image", dataset="changing", image="001.jpg", content=base64.b64encode(other).decode(),
        same_id=False, keep_created_at=False,
    )  # fmt: skip
    soon(lambda: (folder / "001.jpg").read_bytes() == other, "an image that was replaced")
    calm.mutate("delete_image", dataset="changing", image="002.jpg")
    soon(lambda: not (folder / "002.jpg").exists(), "an image that was deleted")
    calm.mutate("set_image", dataset="changing", image="000.jpg", values={"split": "val"})
    soon((lively.root / "changing" / "splits" / "val" / "images" / "000.jpg").exists, "another split")
    calm.mutate("rename_dataset", dataset="changing", name="renamed")
    soon((lively.root / "renamed" / "images" / "new.jpg").exists, "the dataset's new name")
    calm.mutate("delete_dataset", dataset="renamed")
    soon(lambda: not (lively.root / "renamed").exists(), "a dataset that was deleted")


@pytest.mark.parametrize("frozen", [False, True], ids=["updated_at moves", "updated_at is still"])
def test_an_annotation_edited_at_equal_count(calm: Running, lively: Mount, frozen: bool) -> None:
    """ "A change that its dataset does not show is seen at the latest after ten ttl." """
    name = f"edited {frozen}"
    new_dataset(calm, name, 1)
    box = {"id": "x", "name": "cat", "type": "bbox", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}
    calm.mutate("edit_annotation", dataset=name, image="000.jpg", annotations=[box])
    path = lively.root / name / "annotations" / "000.json"
    soon(path.exists, "the annotation")
    soon(lambda: json.loads(path.read_bytes())["annotations"], "its box")
    calm.switch(freeze_updated_at=frozen)
    try:
        changed = {**box, "bounding_box": {"x": 100, "y": 2, "w": 3, "h": 4}}
        calm.mutate("edit_annotation", dataset=name, image="000.jpg", annotations=[changed], touch=not frozen)
        soon(lambda: b"100" in path.read_bytes(), "the edit", ages=10 if frozen else 1)
        assert json.loads(path.read_bytes())["annotations"][0]["bounding_box"]["x"] == 100
    finally:
        calm.switch(freeze_updated_at=False)


def test_refresh_asks_at_once(calm: Running, mounts: Make) -> None:
    new_dataset(calm, "patient", 1)
    mount = mounts(calm, "ttl=1h").mounted()
    folder = mount.root / "patient" / "images"
    assert os.listdir(folder) == ["000.jpg"]
    add_image(calm, "patient", "new.jpg")
    assert not (folder / "new.jpg").exists()
    run_refresh(mount.root / "patient")
    soon((folder / "new.jpg").exists, "the new image after refresh")


def test_a_reader_in_the_middle_gets_the_old_version_or_estale(calm: Running, lively: Mount) -> None:
    """ "A reader gets one version whole, or ESTALE, and never a mixture." """
    import base64

    old, new = os.urandom(5 << 20), os.urandom(5 << 20)
    calm.mutate("add_dataset", name="versions")
    archive = {"dataset": "versions", "name": "big", "format": "pictograph"}
    calm.mutate("add_export", content=base64.b64encode(old).decode(), **archive)
    path = lively.root / "versions" / "exports" / "big.zip"
    soon(path.exists, "the export")
    with open(path, "rb", buffering=0) as file:
        read = file.read(100_000)
        calm.mutate("delete_export", dataset="versions", export="big")
        calm.mutate("add_export", content=base64.b64encode(new).decode(), **archive)
        soon(lambda: path.read_bytes() == new, "the new version at the path")
        try:
            while part := file.read(1 << 20):
                read += part
            ended = 0
        except OSError as error:
            ended = error.errno or -1
    assert ended == errno.ESTALE or len(read) == len(old)
    assert old.startswith(read)


def test_looking_at_what_is_unchanged_costs_one_request_a_ttl(calm: Running, mounts: Make) -> None:
    """ "Looking at what has not changed costs one request a dataset and ttl." """
    new_dataset(calm, "still", 5)
    mount = mounts(calm, "ttl=2s").mounted()
    folder = mount.root / "still" / "images"
    sources.files(folder)
    calm.reset_counters()
    begun = time.monotonic()
    while time.monotonic() - begun < 4.5:
        sources.files(folder)
        for _ in range(20):
            os.stat(folder / "000.jpg")
        time.sleep(0.1)
    ages = (time.monotonic() - begun) / 2 + 1
    # the list of datasets, the dataset itself
    assert 1 <= calm.counters()["api"]["requests"] <= 2 * ages
    assert calm.counters()["storage"]["requests"] == 0


def test_nothing_can_be_written(lively: Mount) -> None:
    """ "Every write is refused with EROFS." """
    for write in (
        lambda: (lively.root / "x").touch(),
        lambda: (lively.root / "x").mkdir(),
        lambda: os.rename(lively.root, lively.mountpoint / "y"),
        lambda: os.chmod(lively.root, 0o777),
        lambda: os.symlink("a", lively.root / "x"),
        lambda: os.rmdir(lively.root),
        lambda: os.utime(lively.root),
    ):
        with pytest.raises(OSError, match="Read-only") as caught:
            write()
        assert caught.value.errno == errno.EROFS


def test_names_stay_when_twins_arrive_and_leave(calm: Running, lively: Mount) -> None:
    """ "A name once given stays." """
    calm.mutate("add_dataset", name="twins")
    first, _ = add_image(calm, "twins", "same.jpg", content("first"))
    folder = lively.root / "twins" / "images"
    soon((folder / "same.jpg").exists, "the first")
    calm.mutate("add_image", dataset="twins", filename="same.jpg", size=6000)
    soon(lambda: len(os.listdir(folder)) == 2, "the second")
    later = next(name for name in os.listdir(folder) if name != first)
    assert later.startswith("same~")
    assert (folder / "same.jpg").read_bytes() == content("first")


# Without the service


def test_without_the_service_what_is_known_is_served(calm: Running, mounts: Make) -> None:
    """ "What was read before reads again without the service, also after a remount."

    "What is not known and cannot be fetched is EIO within timeout." "Listing failed is not listing empty."
    "When the service is back, what is new appears within ttl."
    """
    made = new_dataset(calm, "away", 6)
    new_dataset(calm, "never seen", 2)
    mount = mounts(calm, f"ttl={TTL_S}s", "timeout=3s", "prefetch=off").mounted()
    folder = mount.root / "away" / "images"
    assert sorted(os.listdir(folder)) == sorted(made)
    for name in ("000.jpg", "001.jpg"):
        assert (folder / name).read_bytes() == made[name]
    os.listdir(mount.root)
    try:
        for host in ("api", "storage"):
            calm.fault(host, "refuse")
        for again in (False, True):
            if again:
                assert mount.umount().returncode == 0
                mount.mounted()
            time.sleep(TTL_S)  # what the kernel was told is too old now
            for name in ("000.jpg", "001.jpg"):
                assert (folder / name).read_bytes() == made[name]
            assert sorted(os.listdir(folder)) == sorted(made)
            for read in (
                lambda: (folder / "005.jpg").read_bytes(),
                lambda: os.listdir(mount.root / "never seen" / "images"),
            ):
                begun = time.monotonic()
                with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno says it
                    read()
                assert caught.value.errno == errno.EIO
                assert time.monotonic() - begun < 2 * 3 + 2  # opening and reading wait on their own
            assert mount.status()["online"] is False
    finally:
        calm.clear_faults()
    name, body = add_image(calm, "away", "after.jpg")
    soon(lambda: (folder / name).read_bytes() == body, "what is new, once the service is back", ages=4)
    assert (folder / "005.jpg").read_bytes() == made["005.jpg"]


def test_nothing_known_and_no_service_is_4(calm: Running, mounts: Make) -> None:
    calm.fault("api", "refuse")
    try:
        mount = mounts(calm, "timeout=2s")
        begun = time.monotonic()
        ran = mount.mount()
        assert (ran.returncode, ran.stderr.count("\n")) == (4, 1), ran.stderr
        assert time.monotonic() - begun < 15
        assert not os.path.ismount(mount.mountpoint)
    finally:
        calm.clear_faults()


def test_a_refused_key_is_3_and_ends_what_is_served(calm: Running, mounts: Make) -> None:
    """ "A refused key ends what is served after auth_grace." """
    refused = mounts(calm, PICTOGRAPH_API_KEY="pk_live_wrong").mount()
    assert (refused.returncode, refused.stderr.count("\n")) == (3, 1), refused.stderr
    made = new_dataset(calm, "revoked", 2)
    mount = mounts(calm, f"ttl={TTL_S}s").mounted()
    path = mount.root / "revoked" / "images" / "000.jpg"
    root = mount.root
    assert path.read_bytes() == made["000.jpg"]
    calm.mutate("revoke_key")
    try:

        def is_refused() -> bool:
            try:
                os.listdir(root)
                path.read_bytes()
            except OSError as error:
                return error.errno == errno.EACCES
            return False

        soon(is_refused, "the end of what is served", ages=3)
    finally:
        calm.mutate("restore_key")


def test_a_spent_budget_is_eagain(emulators: Callable[..., Running], mounts: Make) -> None:
    """ "A spent budget is EAGAIN when the wait would be longer than timeout." """
    service = emulators(generate=12)
    mount = mounts(service, "timeout=2s", "prefetch=off").mounted()
    (dataset,) = mount.root.iterdir()
    assert sorted((dataset / "annotations").rglob("*.json"))
    service.switch(rate_limit=1)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno says it
        sources.files(dataset / "annotations")
    assert caught.value.errno == errno.EAGAIN


# Processes


def test_two_mounts_of_one_cache_fetch_each_object_once(calm: Running, mounts: Make) -> None:
    """ "Mounts that share a cache directory fetch each object once." """
    made = new_dataset(calm, "shared", 60)
    first = mounts(calm).mounted()
    second = mounts(calm, cache=first.cache).mounted()
    assert first.status()["pids"]["fetching"] == second.status()["pids"]["fetching"]
    calm.reset_counters()
    found: dict[int, dict[str, bytes]] = {}

    def read(number: int, mount: Mount) -> None:
        found[number] = sources.files(mount.root / "shared" / "images")

    readers = [threading.Thread(target=read, args=pair) for pair in enumerate((first, second))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == {0: made, 1: made}
    assert calm.counters()["storage"]["most_requests_of_one_path"] == 1
    # the one that started the fetching process goes; the other one carries on
    assert first.umount().returncode == 0
    name, body = add_image(calm, "shared", "later.jpg")
    run_refresh(second.root / "shared")
    soon(
        lambda: (second.root / "shared" / "images" / name).read_bytes() == body,
        "the other mount goes on",
        ages=10,
    )


@pytest.mark.parametrize("which", ["serving", "fetching"])
def test_a_process_that_is_killed_is_replaced(calm: Running, mounts: Make, which: str) -> None:
    """ "Either process may die, and readers notice a pause." """
    made = new_dataset(calm, f"killed {which}", 120)
    mount = mounts(calm).mounted()
    folder = mount.root / f"killed {which}" / "images"
    assert sorted(os.listdir(folder)) == sorted(made)
    for place, name in enumerate(sorted(made)):
        if place in (10, 50, 90):
            before = mount.status()["pids"]
            os.kill(before[which], signal.SIGKILL)
        assert (folder / name).read_bytes() == made[name]
    after = eventually(
        lambda: mount.status() if mount.status()["restarts"] >= 3 else None, 10, "three restarts"
    )
    assert after["pids"][which] != before[which]
    assert after["pids"]["supervisor"] == before["supervisor"]


def test_unmounting_leaves_nothing(calm: Running, mounts: Make) -> None:
    """ "Unmounting leaves no process, mount or socket behind." """
    by_root = ("umount",) if os.geteuid() == 0 else ()
    for end in (*by_root, "fusermount", "pictofs", "SIGTERM", "SIGINT", "lazy while busy"):
        mount = mounts(calm).mounted()
        pids = [pid for pid in mount.status()["pids"].values() if pid]
        assert len(pids) == 3
        held = open(next(mount.root.iterdir()) / "dataset.json") if end == "lazy while busy" else None  # noqa: SIM115
        match end:
            case "umount":
                run("umount", mount.mountpoint)
            case "fusermount":
                run("fusermount3", "-u", mount.mountpoint)
            case "pictofs":
                assert mount.umount().returncode == 0
            case "SIGTERM" | "SIGINT":
                os.kill(pids[0], getattr(signal, end))
            case "lazy while busy":
                busy = mount.umount()
                assert busy.returncode == 7
                assert f"({os.getpid()})" in busy.stderr
                assert busy.stderr.count("\n") == 1
                assert mount.umount("--lazy").returncode == 0
        eventually(
            lambda pids=pids: not any(os.path.exists(f"/proc/{pid}") for pid in pids),
            15,
            f"{end}: no process",
        )
        assert f" {mount.mountpoint} " not in Path("/proc/self/mountinfo").read_text()
        assert not (mount.cache / "fetch.sock").exists()
        assert os.listdir(mount.mountpoint) == []
        if held is not None:
            held.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a mount namespace of its own takes root")
def test_unmounting_ends_the_processes_though_another_namespace_has_a_copy(
    calm: Running, mounts: Make
) -> None:
    """Containers and sandboxed services copy every mount there is when they start."""
    mount = mounts(calm).mounted()
    pids = [pid for pid in mount.status()["pids"].values() if pid]
    copying = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo copied; exec sleep 60"]
    with subprocess.Popen(copying, stdout=subprocess.PIPE) as copy:
        try:
            assert copy.stdout is not None
            assert copy.stdout.readline() == b"copied\n"
            assert mount.umount().returncode == 0
            eventually(
                lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 10, "their end"
            )
        finally:
            copy.kill()


def test_a_mountpoint_is_mounted_once(calm: Running, lively: Mount) -> None:
    again = lively.mount()
    assert (again.returncode, again.stderr.count("\n")) == (6, 1), again.stderr
    assert "already" in again.stderr


def test_mountinfo_and_sources(calm: Running, mounts: Make, tmp_path: Path) -> None:
    def line(mount: Mount) -> str:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return next(line for line in lines if f" {mount.mountpoint} " in line)

    mount = mounts(calm)
    assert mount.mount().returncode == 0
    assert " - fuse.pictofs pictofs " in line(mount)
    slug = mount.root.name
    assert mount.umount().returncode == 0
    assert mount.mount(source=slug).returncode == 0
    assert f" - fuse.pictofs {slug} " in line(mount)
    assert mount.umount().returncode == 0
    wrong = mount.mount(source="somebody else")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1), wrong.stderr
    assert slug in wrong.stderr
    assert mount.mount("organization=mine").returncode == 0
    assert mount.root.name == "mine"


def test_several_profiles_are_several_organizations(
    emulators: Callable[..., Running], mounts: Make, tmp_path: Path
) -> None:
    config = tmp_path / "config" / "pictofs"
    config.mkdir(parents=True)
    text, services = "", []
    for name in ("one", "two"):
        service = emulators(generate=3, organization=f"Organization {name}", api_key=f"pk_live_{name}")
        services.append(service)
        key = tmp_path / name
        key.touch(0o600)
        key.write_text(service.api_key)
        text += f'[profile.{name}]\napi_key_file = "{key}"\nbase_url = "{service.base_url}"\n'
    (config / "config.toml").write_text(text)
    mount = mounts(
        services[0], XDG_CONFIG_HOME=str(tmp_path / "config"), PICTOGRAPH_BASE_URL="", PICTOGRAPH_API_KEY=""
    )
    assert mount.mount(source="one,two").returncode == 0
    assert sorted(path.name for path in mount.mountpoint.iterdir()) == [
        "organization-one",
        "organization-two",
    ]
    for root in mount.mountpoint.iterdir():
        (dataset,) = root.iterdir()
        assert len(sources.files(dataset / "images")) == 3
    for service in services:
        assert service.counters()["api"]["keys"] == [service.api_key]


@pytest.mark.skipif(shutil.which("rsync") is None, reason="NOT TESTED: rsync is not installed")
def test_rsync_never_sees_a_hole(calm: Running, mounts: Make, tmp_path: Path) -> None:
    made = new_dataset(calm, "synced", 30)
    mount = mounts(calm, f"ttl={TTL_S}s", "timeout=2s").mounted()
    source, copy = f"{mount.root / 'synced' / 'images'}/", tmp_path / "copy"
    run("rsync", "-a", "--delete", source, copy)
    add_image(calm, "synced", "one more.jpg")
    calm.fault("api", "status", "*/images*", status=500)
    try:
        time.sleep(TTL_S)
        subprocess.run(
            ["rsync", "-a", "--delete", source, str(copy)], capture_output=True, timeout=60, check=False
        )
        assert set(made) <= set(os.listdir(copy))
    finally:
        calm.clear_faults()
