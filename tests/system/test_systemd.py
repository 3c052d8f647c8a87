"""pictofs under a real systemd: its units started, restarted, killed, and looked at from outside them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.launch import Running
from tests.conftest import no_fuse
from tests.installing import installed
from tests.mount.conftest import eventually
from tests.system import booted as boots
from tests.system.booted import UNITS, Booted

pytestmark = pytest.mark.mount
IMAGES = 24
LAB = "pictofs@lab.service"
FILED = "pictofs@filed.service"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def booted(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A machine with the units installed, a profile with its key as a credential, and one with a file."""
    why = no_fuse() or boots.cannot()
    if why:
        pytest.skip(f"NOT TESTED, no systemd can be booted here: {why}")
    with boots.booted(tmp_path_factory.mktemp("booted")) as made:
        made.write("/etc/credstore/pictofs-lab", service.api_key + "\n", 0o600)
        made.write("/etc/pictofs/key", service.api_key + "\n", 0o600)
        url = f'base_url = "{service.base_url}"\nttl = "1s"\n'
        made.write(
            "/etc/pictofs/config.toml",
            f'[profile.lab]\n{url}[profile.filed]\n{url}api_key_file = "/etc/pictofs/key"\n'
            f'[profile.wrong]\n{url}api_key_file = "/etc/hostname"\n',
        )
        ran = made.run(sys.executable, "-m", "pictofs", "install", environ=dict(os.environ))
        assert ran.returncode == 0, ran.stderr
        made.ok("/usr/bin/systemctl", "daemon-reload")
        yield made


@pytest.fixture
def lab(booted: Booted) -> Iterator[Path]:
    """The mount of pictofs@lab, as it is seen from outside of the unit; stopped afterwards."""
    booted.start(LAB)
    yield Path("/mnt/pictofs/lab")
    booted.systemctl("stop", LAB)
    assert booted.settled() == []
    assert booted.mounts() == []


def seen(machine: Booted, mountpoint: str | Path) -> Path:
    """A path of the machine, from here."""
    return Path(f"/proc/{machine.holder}/root{mountpoint}")


def images(machine: Booted, mountpoint: str | Path) -> list[Path]:
    return sorted(seen(machine, mountpoint).glob("*/*/images/**/*.jpg"))


def bytes_of(files: list[Path]) -> list[bytes]:
    return [file.read_bytes() for file in files]


def test_the_units_are_what_systemd_wants(booted: Booted) -> None:
    system, user = (f"/usr/local/lib/systemd/{kind}/pictofs@.service" for kind in ("system", "user"))
    for unit in (system, *sorted(ROOT.glob("systemd/examples/*"))):
        ran = booted.run("/usr/bin/systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
        assert (ran.returncode, ran.stdout + ran.stderr) == (0, ""), unit
    ran = booted.run(
        "/usr/bin/systemd-analyze", "--user", "verify", "--man=no", "--recursive-errors=no", user,
        environ={"XDG_RUNTIME_DIR": "/run"},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, ""), user


def test_the_exposure_is_what_the_page_says(booted: Booted) -> None:
    said = booted.run("/usr/bin/systemd-analyze", "security", "--offline=yes", "--no-pager",
                      "/usr/local/lib/systemd/system/pictofs@.service")  # fmt: skip
    found = re.search(r"exposure level.*?: ([\d.]+)", said.stdout)
    assert found, said.stdout + said.stderr
    noted = re.search(r"exposure level of ([\d.]+)", (ROOT / "docs/operating.md").read_text())
    assert noted
    assert float(found[1]) == pytest.approx(float(noted[1]), abs=0.5)  # later versions weigh otherwise


def test_a_started_unit_is_a_mount_that_everybody_sees(booted: Booted, lab: Path, service: Running) -> None:
    assert booted.property(LAB, "ActiveState") == "active"
    assert [(m.mountpoint, m.source) for m in booted.mounts()] == [(str(lab), "lab")]
    main = booted.property(LAB, "MainPID")
    inside = booted.outside(main)
    for name in ("mnt", "net"):
        assert os.readlink(f"/proc/{inside}/ns/{name}") == os.readlink(f"/proc/{booted.holder}/ns/{name}")
    assert len(bytes_of(images(booted, lab))) == IMAGES
    assert booted.property(LAB, "StatusText") == f"serving {lab}"
    shown = booted.ok("/usr/bin/systemctl", "show", LAB)
    assert service.api_key not in shown + booted.journal()
    listed = booted.journal("-u", LAB, "-p", "info")
    assert f"supervisor: {lab} is mounted" in listed
    assert "mounted" not in booted.journal("-u", LAB, "-p", "warning"), "lines say how severe they are"
    assert "<6>" not in booted.journal("-u", LAB)


def test_a_killed_unit_is_restarted_over_what_it_left(booted: Booted, lab: Path) -> None:
    before = bytes_of(images(booted, lab))
    main = booted.property(LAB, "MainPID")
    booted.ok("/usr/bin/systemctl", "kill", "-s", "KILL", "--kill-who=all", LAB)
    eventually(lambda: booted.property(LAB, "MainPID") not in ("0", main), 30, "another main process")
    eventually(lambda: booted.property(LAB, "ActiveState") == "active", 30, "a started unit")
    assert bytes_of(images(booted, lab)) == before
    assert len(booted.mounts()) == 1
    assert booted.property(LAB, "NRestarts") == "1"


def test_a_supervisor_that_hangs_is_replaced_by_the_watchdog(booted: Booted) -> None:
    booted.write(f"{UNITS}/{LAB}.d/quick.conf", "[Service]\nWatchdogSec=3\nTimeoutAbortSec=3\n")
    booted.ok("/usr/bin/systemctl", "daemon-reload")
    try:
        booted.start(LAB)
        main = booted.property(LAB, "MainPID")
        began = time.monotonic()
        while time.monotonic() < began + 5:  # without a ping it would have been replaced by now
            assert bytes_of(images(booted, "/mnt/pictofs/lab"))
        assert booted.property(LAB, "MainPID") == main
        os.kill(booted.outside(main), signal.SIGSTOP)
        eventually(lambda: booted.property(LAB, "MainPID") not in ("0", main), 30, "another main process")
        eventually(lambda: booted.property(LAB, "ActiveState") == "active", 30, "a started unit")
        assert len(bytes_of(images(booted, "/mnt/pictofs/lab"))) == IMAGES
        assert booted.property(LAB, "NRestarts") == "1"
    finally:
        booted.systemctl("stop", LAB)
        booted.ok("/usr/bin/rm", "-r", f"{UNITS}/{LAB}.d")
        booted.ok("/usr/bin/systemctl", "daemon-reload")
    assert booted.settled() == []


def test_a_reload_takes_another_key_and_the_mount_stays(booted: Booted, service: Running) -> None:
    booted.start(FILED)
    try:
        main = booted.property(FILED, "MainPID")
        files = images(booted, "/mnt/pictofs/filed")
        booted.write("/etc/pictofs/key", "pk_live_of_the_next_year\n", 0o600)
        service.mutate("set_key", api_key="pk_live_of_the_next_year")
        booted.ok("/usr/bin/systemctl", "reload", FILED)
        eventually(lambda: "followed: another key" in booted.journal("-u", FILED), 30, "the reload")
        assert len(bytes_of(files)) == IMAGES
        eventually(lambda: booted.property(FILED, "ActiveState") == "active", 10, "reloaded")
        assert booted.property(FILED, "MainPID") == main
    finally:
        service.mutate("set_key", api_key=service.api_key)
        booted.write("/etc/pictofs/key", service.api_key + "\n", 0o600)
        booted.systemctl("stop", FILED)
    assert booted.settled() == []


def fetching(machine: Booted) -> list[int]:
    """The fetching processes, by their numbers inside."""
    found = []
    for pid in machine.processes():
        try:
            name = seen(machine, f"/proc/{pid}/comm").read_text().strip()  # the carter is a fork of it
            words = seen(machine, f"/proc/{pid}/cmdline").read_bytes()
            if b"pictofs.mirror" in words and name != "pictofs-carter":
                found.append(pid)
        except OSError:
            continue  # it has just ended
    return found


def test_of_two_units_on_one_cache_one_is_stopped_while_the_other_is_read(booted: Booted, lab: Path) -> None:
    booted.start(FILED)
    try:
        (held,) = fetching(booted)
        assert "pictofs@lab.service" in seen(booted, f"/proc/{held}/cgroup").read_text(), "the first one's"
        failed: list[str] = []
        ended = threading.Event()
        files = images(booted, "/mnt/pictofs/filed")

        def read() -> None:
            while not ended.is_set():
                for file in files:
                    try:
                        assert file.read_bytes()
                    except (OSError, AssertionError) as error:
                        failed.append(f"{file}: {error!r}")

        reader = threading.Thread(target=read)
        reader.start()
        try:
            booted.ok("/usr/bin/systemctl", "stop", LAB)
            eventually(
                lambda: fetching(booted) not in ([], [held]), 30, "another fetching process"
            )
        finally:
            ended.set()
            reader.join()
        assert failed == []
        assert [m.mountpoint for m in booted.mounts()] == ["/mnt/pictofs/filed"]
        assert len(bytes_of(sorted(seen(booted, "/mnt/pictofs/filed").glob("*/*/annotations/**/*.json")))) > 0
    finally:
        booted.systemctl("stop", FILED)


def test_what_only_a_person_mends_is_not_tried_again(booted: Booted) -> None:
    ran = booted.systemctl("start", "pictofs@wrong.service")
    assert ran.returncode != 0
    assert booted.property("pictofs@wrong.service", "ActiveState") == "failed"
    assert booted.property("pictofs@wrong.service", "NRestarts") == "0"
    assert "chmod 600" in booted.journal("-u", "pictofs@wrong.service")
    booted.systemctl("reset-failed", "pictofs@wrong.service")
    assert booted.settled() == []


@pytest.mark.parametrize("by", ["example", "fstab"])
def test_mount_units_mount_when_somebody_looks(booted: Booted, by: str) -> None:
    if "autofs" not in Path("/proc/filesystems").read_text():
        pytest.skip("NOT TESTED, this kernel has no autofs")
    where = "/srv/pictograph"
    if by == "example":
        for unit in ROOT.glob("systemd/examples/*"):
            booted.write(f"{UNITS}/{unit.name}", unit.read_text().replace("What=lab", "What=filed"))
    else:
        words = "noauto,_netdev,allow_other,x-systemd.automount"
        booted.write("/etc/fstab", f"filed {where} pictofs {words} 0 0\n")
    try:
        booted.ok("/usr/bin/systemctl", "daemon-reload")
        booted.start("srv-pictograph.automount")
        assert booted.mounts() == []
        listed = booted.ok("/usr/bin/find", where, "-path", "*/images/*", "-type", "f").splitlines()
        assert len(listed) == IMAGES
        assert booted.property("srv-pictograph.mount", "ActiveState") == "active"
        assert [m.source for m in booted.mounts()] == ["filed"]
        booted.ok("/usr/bin/systemctl", "stop", "srv-pictograph.automount", "srv-pictograph.mount")
        assert booted.mounts() == []
        assert booted.settled() == []
    finally:
        for name in ("srv-pictograph.mount", "srv-pictograph.automount"):
            booted.run("/usr/bin/rm", "-f", f"{UNITS}/{name}")
        booted.write("/etc/fstab", "")
        booted.ok("/usr/bin/systemctl", "daemon-reload")


USER = "65534"
HOME = "/run/home"
MANAGER = f"""[Service]
User={USER}
Type=notify
Delegate=yes
KillMode=mixed
KillSignal=SIGRTMIN+24
Environment=HOME={HOME} XDG_RUNTIME_DIR=/run/user/{USER}
Environment=SYSTEMD_UNIT_PATH={HOME}/units:{HOME}/.local/share/systemd/user
ExecStart={boots.program()} --user --unit=basic.target
"""


@pytest.fixture
def user(booted: Booted, service: Running) -> Iterator[dict[str, str]]:
    """The environment of an ordinary user whose own systemd runs, and who has a key and a profile."""
    if not shutil.which("fusermount3"):
        pytest.skip("NOT TESTED, fusermount3 is not installed")
    booted.write(f"{UNITS}/manager.service", MANAGER)
    booted.write(f"{HOME}/units/basic.target", "[Unit]\nDescription=basic\n")
    booted.write(f"{HOME}/key", service.api_key, 0o600)
    said = f'[profile.mine]\nbase_url = "{service.base_url}"\napi_key_file = "{HOME}/key"\n'
    booted.write(f"{HOME}/.config/pictofs/config.toml", said)
    booted.ok("/usr/bin/install", "-d", "-m", "700", f"/run/user/{USER}")
    booted.ok("/usr/bin/chown", "-R", USER, HOME, f"/run/user/{USER}")
    # where /dev/fuse is root's alone, and the Python that runs this is in root's home
    booted.ok("/bin/sh", "-c", "mknod -m 666 /run/fuse c 10 229 && mount --bind /run/fuse /dev/fuse")
    program = (Path(sys.executable), Path(sys.executable).resolve(), ROOT / "pictofs")
    closed = {folder for path in program for folder in path.parents if not folder.stat().st_mode & 1}
    opened = sorted(map(str, closed))
    for folder in opened:
        booted.open(folder)
    booted.start("manager.service")
    yield {"HOME": HOME, "XDG_RUNTIME_DIR": f"/run/user/{USER}", "PATH": os.environ["PATH"]}
    booted.systemctl("stop", "manager.service")
    booted.ok("/usr/bin/umount", "/dev/fuse", *opened)


def test_a_user_has_a_mount_of_his_own_by_a_unit_of_his_own(booted: Booted, user: dict[str, str]) -> None:
    def by_user(*words: str) -> subprocess.CompletedProcess[str]:
        who = ["/usr/bin/setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        return booted.run(*who, *words, environ=user)

    ran = by_user(sys.executable, "-m", "pictofs", "install")
    assert f"{HOME}/.local/share/systemd/user/pictofs@.service written" in ran.stdout
    started = by_user("/usr/bin/systemctl", "--user", "start", "pictofs@mine")
    assert started.returncode == 0, (started.stderr, booted.journal())
    listed = by_user("/usr/bin/find", f"{HOME}/pictofs/mine", "-path", "*/images/*", "-type", "f")
    assert len(listed.stdout.splitlines()) == IMAGES
    assert by_user("/usr/bin/systemctl", "--user", "is-active", "pictofs@mine").stdout == "active\n"
    assert by_user("/usr/bin/systemctl", "--user", "stop", "pictofs@mine").returncode == 0
    assert booted.mounts() == []
    assert booted.settled() == []


TORCH = "2.13.0+cpu"  # what PyPI itself has is gigabytes of another kind


@pytest.fixture(scope="module")
def torch_folder() -> Path:
    """Installed once per machine, in half a minute. Whoever imports it compiles what is imported, once."""
    return installed("torch", TORCH, "--no-compile")


@pytest.mark.timeout(400)  # pip
def test_a_data_loader_sees_errors_only_while_the_unit_is_restarted(
    torch_folder: Path, booted: Booted, lab: Path
) -> None:
    """Two workers by fork and two by spawn, which read while systemd restarts the daemon."""
    here = seen(booted, "/")
    hashes = {
        f"/{file.relative_to(here)}": hashlib.sha1(file.read_bytes()).hexdigest()
        for file in images(booted, lab)
    }
    environ = {**os.environ, "PYTHONPATH": str(torch_folder), "OMP_NUM_THREADS": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with ExitStack() as running:
        loaders = [
            running.enter_context(
                booted.spawned(sys.executable, ROOT / "tests/system/loading.py", method, environ=environ)
            )
            for method in ("fork", "spawn")
        ]
        for loader in loaders:
            assert loader.stdin is not None
            loader.stdin.write(json.dumps(hashes) + "\n")
            loader.stdin.flush()
        before = [epoch(loader) for loader in loaders]
        began = time.time()
        booted.ok("/usr/bin/systemctl", "restart", LAB)
        ended = time.time()
        during = [[epoch(loader)] for loader in loaders]
        for loader, epochs in zip(loaders, during, strict=True):
            while epochs[-1]["began"] < ended:
                epochs.append(epoch(loader))
        for loader in loaders:
            assert loader.stdin is not None
            loader.stdin.close()
            assert loader.wait(60) == 0
    for first, epochs in zip(before, during, strict=True):
        assert (first["read"], first["failed"], len(first["workers"])) == (IMAGES, [], 2)
        failed = [each for one in epochs for each in one["failed"]]
        assert all(began <= when <= ended and number != 0 for when, number in failed), (began, ended, failed)
        assert epochs[-1]["failed"] == []
        assert epochs[-1]["workers"] == first["workers"], "they are the same processes still"


def epoch(loader: subprocess.Popen[str]) -> dict[str, Any]:
    """The next one that it tells of."""
    assert loader.stdout is not None
    line = loader.stdout.readline()
    assert line, "the loader has ended"
    found: dict[str, Any] = json.loads(line)
    return found
