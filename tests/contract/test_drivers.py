"""What every driver promises, over a real mount; the test fills the catalog and answers the link."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pictofs.catalog.model import EXPORT_BLOCK_BYTES
from pictofs.link.messages import State
from tests.contract.conftest import Mounting
from tests.contract.fetching import Fetching
from tests.contract.world import World
from tests.mounting import Mounted, inode_listing, run, tree_of

pytestmark = pytest.mark.mount

DEEP = {f"a/b/{number}.jpg": os.urandom(5000 + number) for number in range(6)}
TRUTH = {**DEEP, "a/ü ö.png": b"umlaut", "top.jpg": b"top", "empty.jpg": b""}


def furnish(world: World) -> None:
    """A dataset with nested directories, a Unicode name, an empty file, splits and statuses."""
    world.dataset("Cars", slug="cars-slug")
    for number, (path, body) in enumerate(TRUTH.items()):
        split = ("train", "val", "")[number % 3]
        world.image("Cars", path, body, split=split, tags=("x", "y"), annotation={"number": number})


@pytest.fixture
def cars(world: World) -> World:
    """That dataset, for tests that change it or count what is asked of it."""
    furnish(world)
    return world


def errno_of(action: Callable[[], object]) -> int:
    try:
        action()
    except OSError as error:
        return error.errno or 0
    return 0


# listings and attributes


def test_a_copy_equals_the_source(cars: World, mounting: Mounting, tmp_path: Path) -> None:
    mount = mounting()
    run("cp", "-r", str(mount.root / "Cars"), str(tmp_path / "copy"))
    assert tree_of(tmp_path / "copy" / "images") == TRUTH
    annotations = tree_of(tmp_path / "copy" / "annotations")
    assert annotations == {
        path.rpartition(".")[0] + ".json": image.annotation
        for path, image in cars.datasets["Cars"].images.items()
    }


def test_a_listing_names_dot_and_dot_dot_with_their_inodes(shared_mount: Mounted) -> None:
    mount = shared_mount
    shown = run("ls", "-ai1", str(mount.root / "Cars" / "images" / "a")).stdout.split("\n")
    inodes = {line.split(None, 1)[1]: int(line.split()[0]) for line in shown if line}
    assert inodes["."] == os.stat(mount.root / "Cars" / "images" / "a").st_ino
    assert inodes[".."] == os.stat(mount.root / "Cars" / "images").st_ino
    assert set(inodes) == {".", "..", "b", "ü ö.png"}


def test_stat_is_exact(shared_mount: Mounted) -> None:
    mount = shared_mount
    for path, body in TRUTH.items():
        found = os.stat(mount.root / "Cars" / "images" / path)
        image = shared_mount.world.datasets["Cars"].images[path]
        assert stat.S_IMODE(found.st_mode) == 0o444
        assert (found.st_size, found.st_mtime_ns, found.st_nlink) == (len(body), image.created_ns, 1)
        assert found.st_blocks == -(-len(body) // 512)
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
        annotation = mount.root / "Cars" / "annotations" / (path.rpartition(".")[0] + ".json")
        assert os.stat(annotation).st_size == len(image.annotation)


def test_directories_count_their_subdirectories(shared_mount: Mounted) -> None:
    images = shared_mount.root / "Cars" / "images"
    assert sorted(os.listdir(images)) == ["a", "empty.jpg", "top.jpg"]
    assert [os.stat(images / path).st_nlink for path in ("", "a", "a/b")] == [3, 3, 2]
    assert stat.S_IMODE(os.stat(images).st_mode) == 0o555


def test_find_sees_every_file_whatever_the_link_counts(shared_mount: Mounted) -> None:
    mount = shared_mount
    found = run("find", str(mount.root / "Cars" / "images"), "-type", "f").stdout.splitlines()
    assert len(found) == len(TRUTH)


def test_a_large_directory_is_listed_once_each(world: World, mounting: Mounting) -> None:
    world.dataset("Many")
    for number in range(3500):
        world.image("Many", f"{number:05}.jpg", b"x")
    mount = mounting()
    names = sorted(os.listdir(mount.root / "Many" / "images"))
    assert names == [f"{number:05}.jpg" for number in range(3500)]


def test_inodes_are_the_same_after_a_remount(
    cars: World, fetching: Fetching, tmp_path: Path, driver: tuple[str, str]
) -> None:
    listings = []
    for _ in range(2):
        with Mounted(fetching, tmp_path / "mnt", driver[0], io=driver[1]) as mount:
            inode_listing(mount.root / "Cars")      # a first look makes everything known
            listings.append(inode_listing(mount.root / "Cars"))
    assert listings[0] == listings[1]


def test_what_does_not_exist_is_enoent(shared_mount: Mounted) -> None:
    mount = shared_mount
    missing = ("Cars/images/nothing.jpg", "Cars/images/a/b/nothing", "Cars/nothing", "Cars/images/no/way")
    for path in (*missing, "nothing"):
        assert errno_of(lambda path=path: os.stat(mount.root / path)) == errno.ENOENT
        assert errno_of(lambda path=path: (mount.root / path).read_bytes()) == errno.ENOENT
    not_utf8 = os.fsencode(mount.root / "Cars" / "images") + b"/\xff\xfe"
    assert errno_of(lambda: os.stat(not_utf8)) == errno.ENOENT
    assert errno_of(lambda: os.stat(mount.root / ("x" * 256))) == errno.ENAMETOOLONG


def test_hidden_names_of_a_dataset_lead_to_it(shared_mount: Mounted) -> None:
    mount = shared_mount
    assert os.listdir(mount.root) == ["Cars"]
    for alias in ("cars-slug", shared_mount.world.datasets["Cars"].remote_id):
        assert (mount.root / alias / "images" / "top.jpg").read_bytes() == b"top"
    assert (mount.root / "Cars" / "images" / "top.jpg").read_bytes() == b"top"


def test_probes_at_the_root_cost_no_request(cars: World, fetching: Fetching, mounting: Mounting) -> None:
    mount = mounting()
    for name in (".Trash", ".Trash-0", ".hidden", "autorun.inf", ".git", ".xdg-volume-info"):
        assert errno_of(lambda name=name: os.stat(mount.mountpoint / name)) == errno.ENOENT
    assert not cars.asked


def test_xattrs_say_what_is_known(cars: World, mounting: Mounting) -> None:
    path = mounting().root / "Cars" / "images" / "a" / "b" / "0.jpg"
    names = os.listxattr(path)
    values = {name: os.getxattr(path, name).decode() for name in names}
    assert values["user.pictofs.id"] == cars.datasets["Cars"].images["a/b/0.jpg"].remote_id
    assert values["user.pictofs.split"] == "train"
    assert values["user.pictofs.tags"] == "x,y"
    assert values["user.pictofs.cached"] == "0"
    path.read_bytes()
    assert os.getxattr(path, "user.pictofs.cached") == b"1"
    assert errno_of(lambda: os.getxattr(path, "user.pictofs.width")) == errno.ENODATA
    assert errno_of(lambda: os.getxattr(path, "user.other")) == errno.ENODATA


def test_links_of_the_views_lead_to_the_files(shared_mount: Mounted) -> None:
    mount = shared_mount
    train = mount.root / "Cars" / "splits" / "train"
    seen = {}
    for directory, _, names in os.walk(train):
        for name in names:
            path = Path(directory) / name
            assert not os.readlink(path).startswith("/")
            seen[str(path.relative_to(train))] = path.read_bytes()
            assert os.lstat(path).st_size == len(os.fsencode(os.readlink(path)))
            assert os.path.samefile(path, path.resolve())
    images = {path: body for path, body in seen.items() if path.startswith("images/")}
    assert images == {
        f"images/{path}": body for place, (path, body) in enumerate(TRUTH.items()) if place % 3 == 0
    }
    assert (mount.root / "Cars" / "status" / "complete" / "images" / "top.jpg").read_bytes() == b"top"


def test_df_shows_the_organization_and_nothing_free(shared_mount: Mounted) -> None:
    mount = shared_mount
    os.listdir(mount.root / "Cars" / "images")
    found = os.statvfs(mount.mountpoint)
    assert found.f_blocks * found.f_frsize >= sum(map(len, TRUTH.values()))
    assert (found.f_bfree, found.f_bavail, found.f_ffree, found.f_namemax) == (0, 0, 0, 255)
    assert found.f_files == len(TRUTH)


def test_the_mount_is_read_only_of_its_type_and_source(cars: World, mounting: Mounting) -> None:
    mount = mounting(source="acme, inc")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    line = next(line for line in mounts if f" {mount.mountpoint} " in line)
    assert " - fuse.pictofs acme,\\040inc " in line
    assert line.split()[5].split(",")[0] == "ro"


# writes


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda p: os.open(p, os.O_WRONLY), id="open for writing"),
        pytest.param(lambda p: os.open(p, os.O_RDWR), id="open for both"),
        pytest.param(lambda p: os.open(p, os.O_RDONLY | os.O_TRUNC), id="open and truncate"),
        pytest.param(lambda p: os.open(f"{p}.new", os.O_CREAT | os.O_WRONLY), id="create"),
        pytest.param(lambda p: os.truncate(p, 0), id="truncate"),
        pytest.param(os.unlink, id="unlink"),
        pytest.param(lambda p: os.rename(p, f"{p}.new"), id="rename"),
        pytest.param(lambda p: os.link(p, f"{p}.new"), id="link"),
        pytest.param(lambda p: os.symlink(p, f"{p}.new"), id="symlink"),
        pytest.param(lambda p: os.mkdir(f"{p}.new"), id="mkdir"),
        pytest.param(lambda p: os.rmdir(os.path.dirname(p)), id="rmdir"),
        pytest.param(lambda p: os.mknod(f"{p}.new"), id="mknod"),
        pytest.param(lambda p: os.chmod(p, 0o777), id="chmod"),
        pytest.param(lambda p: os.chown(p, 1, 1), id="chown"),
        pytest.param(os.utime, id="utimens"),
        pytest.param(lambda p: os.setxattr(p, "user.x", b"1"), id="setxattr"),
        pytest.param(lambda p: os.removexattr(p, "user.pictofs.id"), id="removexattr"),
        pytest.param(lambda p: os.open(p, os.O_WRONLY | os.O_APPEND), id="open for appending"),
        pytest.param(lambda p: os.open(os.path.dirname(p), os.O_TMPFILE | os.O_RDWR), id="nameless"),
        pytest.param(lambda p: os.mkfifo(f"{p}.new"), id="mkfifo"),
        pytest.param(lambda p: os.mknod(f"{p}.new", 0o600 | stat.S_IFCHR, os.makedev(1, 3)), id="device"),
        pytest.param(lambda p: _bound(f"{p}.new"), id="bind a socket"),
        pytest.param(lambda p: _exchanged(p, os.path.join(os.path.dirname(p), "1.jpg")), id="exchange"),
        pytest.param(lambda p: os.rename(p, os.path.join(os.path.dirname(p), "1.jpg")), id="rename over"),
        pytest.param(lambda p: os.chmod(os.path.dirname(p), 0o777), id="chmod of a directory"),
        pytest.param(lambda p: os.utime(os.path.dirname(p), (1, 1)), id="utimens of a directory"),
        pytest.param(lambda p: os.chown(p, 1, 1, follow_symlinks=False), id="lchown"),
        pytest.param(lambda p: _written_by_copy(p), id="open to copy into"),
    ],
)
def test_every_write_is_erofs(
    write: Callable[[str], object], shared_mount: Mounted
) -> None:
    """ "Every write is refused with EROFS." """
    path = str(shared_mount.root / "Cars" / "images" / "a" / "b" / "0.jpg")
    assert errno_of(lambda: write(path)) == errno.EROFS
    assert Path(path).read_bytes() == DEEP["a/b/0.jpg"]


def _bound(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(os.path.dirname(path))     # a socket's path has 107 bytes at most
        try:
            one.bind(os.path.basename(path))
        finally:
            os.chdir("/")


def _exchanged(one: str, other: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2
    if libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange):
        raise OSError(ctypes.get_errno(), "renameat2")


def _written_by_copy(path: str) -> None:
    shutil.copyfile("/proc/self/status", path)


# bytes


def test_reads_at_any_offset_equal_the_source(cars: World, mounting: Mounting) -> None:
    body = os.urandom(3 * EXPORT_BLOCK_BYTES + 12345)
    cars.export("Cars", "big", body)
    path = mounting().root / "Cars" / "exports" / "big.zip"
    chance = random.Random(7)
    fd = os.open(path, os.O_RDONLY)
    try:
        for _ in range(300):
            offset = chance.randrange(0, len(body) + 5000)
            size = chance.choice([1, 10, 4096, 5000, 70000, 300000])
            assert os.pread(fd, size, offset) == body[offset : offset + size], (offset, size)
    finally:
        os.close(fd)
    assert path.read_bytes() == body


def test_a_file_larger_than_a_request_is_whole(cars: World, mounting: Mounting) -> None:
    body = os.urandom(9 << 20)
    cars.image("Cars", "huge.bin", body)
    assert (mounting().root / "Cars" / "images" / "huge.bin").read_bytes() == body


def test_mmap_shows_the_bytes(shared_mount: Mounted) -> None:
    path = shared_mount.root / "Cars" / "images" / "a" / "b" / "3.jpg"
    assert _mapped(path) == DEEP["a/b/3.jpg"]


def test_many_readers_at_once_read_right_and_fetch_once(cars: World, mounting: Mounting) -> None:
    images = mounting().root / "Cars" / "images"
    bodies = [(path, body) for path, body in TRUTH.items() for _ in range(8)]
    random.Random(3).shuffle(bodies)
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda one: (images / one[0]).read_bytes(), bodies))
    assert read == [body for _, body in bodies]
    assert cars.asked["want IMAGE"] == len([body for body in TRUTH.values() if body])


def test_other_processes_read_the_same(shared_mount: Mounted) -> None:
    mount = shared_mount
    code = "import sys,hashlib,os;print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())"
    path = mount.root / "Cars" / "images" / "a" / "b" / "4.jpg"
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) for _ in range(3)
    ]
    answers = {reader.communicate(timeout=30)[0] for reader in readers}
    assert answers == {hashlib.sha256(DEEP["a/b/4.jpg"]).hexdigest().encode() + b"\n"}


READERS: dict[str, Callable[[Path, Path], bytes]] = {
    "os.read without stat": lambda path, _: _read_by_descriptor(path),
    "open().read()": lambda path, _: path.read_bytes(),
    "cat": lambda path, _: subprocess.run(["cat", path], capture_output=True, timeout=30, check=True).stdout,
    "cp": lambda path, scratch: _copied(path, scratch),
    "tar": lambda path, scratch: _archived(path, scratch),
    "mmap": lambda path, _: _mapped(path),
    "pread": lambda path, _: _read_by_offset(path),
    "dd": lambda path, _: subprocess.run(
        ["dd", f"if={path}", "bs=37"], capture_output=True, timeout=30, check=True
    ).stdout,
}


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
def test_a_file_of_unknown_size_is_read_whole(
    how: str, listed: bool, unsized_mount: Mounted, tmp_path: Path
) -> None:
    number = list(READERS).index(how) * 2 + listed
    images = unsized_mount.root / "Unsized" / "images"
    if listed:
        os.listdir(images)
    image = unsized_mount.world.datasets["Unsized"].images[f"{number}.jpg"]
    assert READERS[how](images / f"{number}.jpg", tmp_path) == image.body
    annotation = unsized_mount.root / "Unsized" / "annotations" / f"{number}.json"
    assert READERS[how](annotation, tmp_path) == image.annotation
    assert os.stat(images / f"{number}.jpg").st_size == len(image.body)


def _read_by_descriptor(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, 1000):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _read_by_offset(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def _copied(path: Path, scratch: Path) -> bytes:
    run("cp", "--no-preserve=mode", str(path), str(scratch / "copy"))
    return (scratch / "copy").read_bytes()


def _archived(path: Path, scratch: Path) -> bytes:
    run("tar", "-cf", str(scratch / "a.tar"), "-C", str(path.parent), path.name)
    with tarfile.open(scratch / "a.tar") as archive:
        member = archive.extractfile(path.name)
        assert member is not None
        return member.read()


def _mapped(path: Path) -> bytes:
    # in another process: a page fault keeps the interpreter's lock, and the bytes come from a thread of ours
    code = (
        "import mmap, sys\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    sys.stdout.buffer.write(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)[:])\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.run(command, capture_output=True, timeout=30, check=True).stdout


# failures and waits


def test_a_failed_listing_is_an_errno_and_no_empty_directory(cars: World, mounting: Mounting) -> None:
    mount = mounting()
    images = mount.root / "Cars" / "images"
    for number in (errno.EIO, errno.EAGAIN, errno.EACCES):
        cars.fail_once["look IMAGES"] = number
        assert errno_of(lambda: os.listdir(images)) == number
    assert len(os.listdir(images)) == 3


def test_a_failed_read_is_an_errno_and_the_next_one_right(cars: World, mounting: Mounting) -> None:
    path = mounting().root / "Cars" / "images" / "top.jpg"
    cars.fail_always["want IMAGE"] = errno.EIO
    assert errno_of(path.read_bytes) == errno.EIO
    cars.fail_always.clear()
    assert path.read_bytes() == b"top"


def test_a_failed_size_is_an_errno(cars: World, mounting: Mounting) -> None:
    path = mounting().root / "Cars" / "annotations" / "top.json"
    cars.fail_once["look ANNOTATION"] = errno.EAGAIN
    assert errno_of(lambda: os.stat(path)) == errno.EAGAIN
    assert os.stat(path).st_size == len(cars.datasets["Cars"].images["top.jpg"].annotation)


def test_a_wait_without_progress_ends_in_eio(cars: World, fetching: Fetching, mounting: Mounting) -> None:
    mount = mounting(timeout_s=1.0)
    path = mount.root / "Cars" / "images" / "top.jpg"
    os.stat(path)
    fetching.hold("want IMAGE")
    begun_s = time.monotonic()
    assert errno_of(path.read_bytes) == errno.EIO
    assert 0.9 < time.monotonic() - begun_s < 10
    fetching.let_go()


@pytest.mark.parametrize(
    ("name", "held", "wait"),
    [
        ("top.jpg", "want IMAGE", "os.read(os.open(sys.argv[1], os.O_RDONLY), 10)"),
        ("", "look IMAGES", "os.listdir(sys.argv[1])"),
    ],
    ids=["read", "listing"],
)
def test_a_reader_with_a_handler_leaves_a_slow_read_or_listing_within_half_a_second(
    name: str, held: str, wait: str, cars: World, fetching: Fetching, mounting: Mounting
) -> None:
    mount = mounting(timeout_s=30.0)
    path = mount.root / "Cars" / "images" / name
    os.stat(path)
    fetching.hold(held)
    code = (
        "import os,signal,sys\n"
        "def caught(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGINT, caught)\n"
        "print('reading', flush=True)\n"
        f"try: {wait}\n"
        "except KeyboardInterrupt: print('left', flush=True)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        fetching.await_held()
        begun_s = time.monotonic()
        reader.send_signal(signal.SIGINT)
        assert reader.communicate(timeout=20)[0] == b"left\n"
        assert time.monotonic() - begun_s < 0.5 + 0.5, "half a second, and half for the process to end"
    finally:
        reader.kill()
        reader.wait()
        fetching.let_go()


def test_other_files_are_served_while_one_is_fetched(
    cars: World, fetching: Fetching, mounting: Mounting
) -> None:
    images = mounting(timeout_s=30.0).root / "Cars" / "images"
    (images / "top.jpg").read_bytes()
    os.stat(images / "a" / "b" / "0.jpg")
    fetching.hold("want IMAGE")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit((images / "a" / "b" / "0.jpg").read_bytes)
        fetching.await_held()
        assert (images / "top.jpg").read_bytes() == b"top"
        assert len(os.listdir(images)) == 3
        assert not slow.done()
        fetching.let_go()
        assert slow.result(20) == DEEP["a/b/0.jpg"]


def test_a_fetching_process_that_dies_is_a_pause(cars: World, fetching: Fetching, mounting: Mounting) -> None:
    images = mounting(timeout_s=30.0).root / "Cars" / "images"
    (images / "top.jpg").read_bytes()
    os.stat(images / "a" / "b" / "0.jpg")
    fetching.hold("want IMAGE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit((images / "a" / "b" / "0.jpg").read_bytes)
        fetching.await_held()
        fetching.stop()
        assert (images / "top.jpg").read_bytes() == b"top", "what is here is served meanwhile"
        fetching.let_go()
        fetching.start()
        assert waiting.result(20) == DEEP["a/b/0.jpg"]


def test_a_refused_key_ends_what_is_served(cars: World, fetching: Fetching, mounting: Mounting) -> None:
    mount = mounting()
    path = mount.root / "Cars" / "images" / "top.jpg"
    assert path.read_bytes() == b"top"
    fetching.tell(State(cars.organization, True, True, "401"))
    await_(lambda: errno_of(lambda: os.stat(path)) == errno.EACCES)
    assert errno_of(lambda: os.listdir(mount.root)) == errno.EACCES
    assert json.loads((mount.mountpoint / ".pictofs" / "status.json").read_bytes())["schema"] == 1
    fetching.tell(State(cars.organization, True, False, ""))
    await_(lambda: errno_of(lambda: os.stat(path)) == 0)
    assert path.read_bytes() == b"top"


def await_(condition: Callable[[], bool], limit_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not become true"
        time.sleep(0.05)


# changes


def test_an_old_reader_gets_the_old_bytes_or_estale_and_never_a_mixture(
    world: World, mounting: Mounting
) -> None:
    world.dataset("Cars")
    old, new = b"o" * 3_000_000, b"n" * 2_500_000
    world.image("Cars", "x.jpg", old)
    path = mounting(ttl_s=0.5).root / "Cars" / "images" / "x.jpg"
    fd = os.open(path, os.O_RDONLY)
    try:
        seen = os.read(fd, 300_000)
        world.replace("Cars", "x.jpg", new)
        await_(lambda: os.stat(path).st_size == len(new))
        assert path.read_bytes() == new
        with contextlib.suppress(OSError):
            while part := os.read(fd, 300_000):
                seen += part
        assert set(seen) == {ord("o")}
    finally:
        os.close(fd)
    assert path.read_bytes() == new


def test_a_change_of_equal_length_is_seen_and_never_mixed(world: World, mounting: Mounting) -> None:
    world.dataset("Cars")
    bodies = [bytes([65 + version]) * 400_000 for version in range(4)]
    world.image("Cars", "x.jpg", bodies[0])
    path = mounting(ttl_s=0.5).root / "Cars" / "images" / "x.jpg"
    stop = threading.Event()
    mixed: list[set[int]] = []

    def read_on() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                body = path.read_bytes()
                if len(set(body)) != 1 or len(body) != 400_000:
                    mixed.append(set(body))

    readers = [threading.Thread(target=read_on) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for body in bodies[1:]:
            world.replace("Cars", "x.jpg", body)
            await_(lambda body=body: _quietly(path.read_bytes) == body)
    finally:
        stop.set()
        for reader in readers:
            reader.join(20)
    assert not mixed


def _quietly(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError:
        return b""


def test_what_is_deleted_and_what_is_new_shows_within_ttl(world: World, mounting: Mounting) -> None:
    world.dataset("Cars")
    world.image("Cars", "x.jpg", b"x")
    images = mounting(ttl_s=0.5).root / "Cars" / "images"
    assert os.listdir(images) == ["x.jpg"]
    assert errno_of(lambda: os.stat(images / "y.jpg")) == errno.ENOENT
    world.image("Cars", "y.jpg", b"y")
    world.delete("Cars", "x.jpg")
    await_(lambda: os.listdir(images) == ["y.jpg"])
    await_(lambda: errno_of(lambda: os.stat(images / "x.jpg")) == errno.ENOENT)
    await_(lambda: _quietly((images / "y.jpg").read_bytes) == b"y")


def test_a_changed_annotation_shows_and_has_another_mtime(world: World, mounting: Mounting) -> None:
    world.dataset("Cars")
    image = world.image("Cars", "x.jpg", b"x", annotation={"n": 1})
    path = mounting(ttl_s=0.5).root / "Cars" / "annotations" / "x.json"
    before = os.stat(path)
    assert json.loads(path.read_bytes()) == {"n": 1}
    image.annotation = b'{"n": 2, "longer": true}\n'
    world.datasets["Cars"].revision += 1

    def is_seen() -> bool:
        with contextlib.suppress(OSError):  # ESTALE of a name that the kernel still knows the old version by
            return json.loads(path.read_bytes()) == {"n": 2, "longer": True}
        return False

    await_(is_seen)
    after = os.stat(path)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert (after.st_ino, after.st_size) == (before.st_ino, len(image.annotation))


def test_a_dataset_s_document_follows_the_dataset(world: World, mounting: Mounting) -> None:
    world.dataset("Cars")
    path = mounting(ttl_s=0.5).root / "Cars" / "dataset.json"
    assert json.loads(path.read_bytes())["image_count"] == 0
    world.image("Cars", "x.jpg", b"x")
    await_(lambda: json.loads(path.read_bytes())["image_count"] == 1)


def test_a_dataset_that_is_gone_is_enoent_within_ttl(world: World, mounting: Mounting) -> None:
    world.dataset("Cars")
    world.dataset("Other")
    mount = mounting(ttl_s=0.5)
    assert sorted(os.listdir(mount.root)) == ["Cars", "Other"]
    del world.datasets["Cars"]
    await_(lambda: os.listdir(mount.root) == ["Other"])
    await_(lambda: errno_of(lambda: os.stat(mount.root / "Cars")) == errno.ENOENT)


# exports and control files


def test_exports_show_by_their_state(cars: World, mounting: Mounting) -> None:
    cars.export("Cars", "coco", b"PK" * 50)
    export = cars.export("Cars", "later", b"PK" * 70, status="processing")
    exports = mounting(ttl_s=0.5).root / "Cars" / "exports"
    assert sorted(os.listdir(exports)) == ["coco.status.json", "coco.zip", "later.status.json"]
    assert (exports / "coco.zip").read_bytes() == b"PK" * 50
    assert json.loads((exports / "later.status.json").read_bytes())["status"] == "processing"
    export.status = "completed"
    await_(lambda: "later.zip" in os.listdir(exports))
    assert (exports / "later.zip").read_bytes() == b"PK" * 70
    await_(lambda: json.loads((exports / "later.status.json").read_bytes())["status"] == "completed")


def test_control_files_are_whole_at_every_look(cars: World, mounting: Mounting) -> None:
    mount = mounting()
    control = mount.mountpoint / ".pictofs"
    assert os.listdir(mount.mountpoint) == ["org"]
    assert os.listdir(control) == ["status.json", "metrics", "access.log"]
    for number in (1, 10**6, 10**12, 5):
        cars.status["bytes_fetched"] = number
        assert json.loads((control / "status.json").read_bytes())["bytes_fetched"] == number
        assert json.loads(run("cat", str(control / "status.json")).stdout)["bytes_fetched"] == number
    status = json.loads((control / "status.json").read_bytes())
    assert (status["driver"], status["mountpoint"]) == (mount.driver, str(mount.mountpoint))
    assert "pictofs_operations_total" in (control / "metrics").read_text()
    (control / "access.log").read_text()
    os.listdir(mount.root / "Cars")
    await_(lambda: " readdir " in (control / "access.log").read_text())


def test_control_files_are_whole_while_many_look(cars: World, mounting: Mounting) -> None:
    mount = mounting()
    path = mount.mountpoint / ".pictofs" / "status.json"
    # libfuse 2 asks by path also for what is open: fstat tells the length of yet another text there
    sized = mount.driver == "kernel"

    def look(number: int) -> int:
        cars.status["bytes_fetched"] = 10 ** (number % 15)
        fd = os.open(path, os.O_RDONLY)
        try:
            size_bytes, text = os.fstat(fd).st_size, b""
            while part := os.read(fd, 97):
                text += part
        finally:
            os.close(fd)
        try:
            return int(json.loads(text)["schema"]) if len(text) == size_bytes or not sized else -2
        except ValueError:
            return -1

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(look, range(60)))
    assert outcomes.count(1) == 60


# the mount itself


def test_a_killed_server_leaves_nothing_that_hangs(cars: World, mounting: Mounting) -> None:
    mount = mounting()
    os.listdir(mount.root)
    os.kill(mount.pid, signal.SIGKILL)
    gone = (errno.ENOTCONN, errno.ECONNABORTED)
    await_(lambda: errno_of(lambda: os.stat(mount.root / f"{time.monotonic_ns()}")) in gone)


def test_a_tree_can_be_walked_by_rsync_like_copies_twice_without_a_request(
    cars: World, mounting: Mounting, tmp_path: Path
) -> None:
    mount = mounting()
    shutil.copytree(mount.root / "Cars" / "images", tmp_path / "first")
    asked = sum(cars.asked.values())
    shutil.copytree(mount.root / "Cars" / "images", tmp_path / "second")
    assert sum(cars.asked.values()) == asked
    assert tree_of(tmp_path / "second") == TRUTH
    assert cars.asked["look IMAGES"] == 1
