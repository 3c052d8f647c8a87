"""`pictofs doctor` on this machine, against a service, and what it packs for a bug report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount.conftest import Make, Mount, eventually, pictofs

pytestmark = pytest.mark.mount
SERVICE_CHECKS = {"proxy", "DNS", "service", "clock", "key", "role", "dialect", "storage", "budget"}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Running]:
    running = start(EmulatorSettings(generate=6))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def mount(emulator: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(emulator, "prefetch=off", "timeout=3s").mounted()


def examined(mount: Mount, *words: str | Path, **environ: str) -> dict[str, dict[str, str]]:
    """Findings by check; of several of one name the worst, with what all of them say.

    Mounts that others have on this machine meanwhile are none of ours.
    """
    service = {"PICTOGRAPH_API_KEY": mount.emulator.api_key, "PICTOGRAPH_BASE_URL": mount.emulator.base_url}
    where = ("-o", f"cache_dir={mount.cache}")
    ran = pictofs("doctor", "--json", *where, *words, environ={**service, **environ})
    assert ran.returncode in (0, 1), ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    findings = document["findings"]
    assert (ran.returncode == 0) == document["ok"] == all(each["level"] != "fail" for each in findings)
    findings = [e for e in findings if e["check"] != "mount" or str(mount.mountpoint) in e["what"]]
    order = ["pass", "warn", "fail"]
    found: dict[str, dict[str, str]] = {}
    for each in sorted(findings, key=lambda each: order.index(each["level"])):
        so_far = found.get(each["check"], {}).get("what", "")
        found[each["check"]] = {**each, "what": f"{so_far}{each['what']}\n"}
    return found


def test_where_all_is_well_nothing_fails_and_every_part_was_looked_at(mount: Mount) -> None:
    found = examined(mount)
    assert not [each for each in found.values() if each["level"] == "fail"]
    assert found.keys() >= SERVICE_CHECKS | {
        "settings", "/dev/fuse", "fusermount3", "mounting", "kernel", "passthrough", "request timeout",
        "allow_other", "cache directory", "cache file system", "cache space", "mount", "updatedb",
        "indexers", "installed files", "units", "versions",
    }  # fmt: skip
    assert "the key's role: " in found["role"]["what"]
    assert "gives bytes" in found["storage"]["what"]
    assert str(mount.mountpoint) in found["mount"]["what"]
    assert not any("pictofs-doctor" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


def test_a_wrong_key_no_key_and_no_service_are_failures_with_their_mends(mount: Mount) -> None:
    found = examined(mount, PICTOGRAPH_API_KEY="pk_live_wrongwrongwrong")
    assert (found["service"]["level"], found["role"]["level"]) == ("pass", "fail")
    found = examined(
        mount, "-o", "tlt=5", PICTOGRAPH_API_KEY="", PICTOGRAPH_BASE_URL="http://127.0.0.1:9"
    )
    assert "api_key_file" in found["key"]["mend"]
    assert (found["settings"]["level"], "role" in found) == ("fail", False)
    assert "ttl" in found["settings"]["what"]
    assert found["mounting"]["level"] == "pass", "the rest is looked at all the same"


def test_people_get_a_line_each_and_no_colour_where_no_terminal_is(mount: Mount) -> None:
    away = {"PICTOGRAPH_API_KEY": "pk_live_12345678", "PICTOGRAPH_BASE_URL": "http://127.0.0.1:9"}
    ran = pictofs("doctor", environ=away)
    assert ran.returncode == 1
    assert "\x1b" not in ran.stdout
    assert "fail  service" in ran.stdout
    assert ran.stdout.splitlines()[-1].endswith("failed")


def test_a_bundle_holds_logs_and_state_and_neither_the_key_nor_a_signed_url(
    mount: Mount, emulator: Running, tmp_path: Path
) -> None:
    fault = json.dumps({"host": "storage", "kind": "status", "status": 500, "probability": 1, "count": 40})
    request = urllib.request.Request(f"{emulator.control_url}/faults", fault.encode(), method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    image = next(path for path in mount.root.rglob("images/*") if path.is_file())
    with pytest.raises(OSError, match="error"):
        image.read_bytes()
    request = urllib.request.Request(f"{emulator.control_url}/faults", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()
    eventually(lambda: mount.status()["errors"], 10, "there is something to tell")
    path = tmp_path / "bundle.tar.gz"
    examined(mount, "--bundle", path)
    with tarfile.open(path) as archive:
        bodies = {
            member.name: file.read().decode()
            for member in archive.getmembers()
            if (file := archive.extractfile(member)) is not None
        }
    whole = "\n".join(bodies.values())
    assert emulator.api_key not in whole
    assert "ignature=" not in whole
    logs = [text for name, text in bodies.items() if "/logs/" in name]
    assert any("fetching for" in text for text in logs)
    assert any(str(mount.mountpoint) in text for name, text in bodies.items() if "/status/" in name)
    assert str(mount.mountpoint) in bodies["pictofs-doctor/mountinfo.txt"]


def test_without_the_device_it_says_what_to_do_and_goes_on(mount: Mount) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: hiding /dev/fuse takes root")
    hidden = (
        "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && "
        'exec "$0" -m pictofs doctor --json'
    )
    ran = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", hidden, sys.executable],
        env={**os.environ, "PICTOGRAPH_BASE_URL": "http://127.0.0.1:9"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    found = {each["check"]: each for each in json.loads(ran.stdout)["findings"]}
    assert found["/dev/fuse"]["level"] == found["mounting"]["level"] == "fail"
    assert "--device /dev/fuse" in found["/dev/fuse"]["mend"]
    assert found["versions"]["level"] == "pass"
