"""`pictofs doctor`: from facts to findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pictofs import __version__
from pictofs.api import Budget
from pictofs.config import KeySource, Profile, Settings
from pictofs.doctor import Finding, Level, cachedir, kernel, mounts, network, system
from pictofs.doctor.cachedir import Folder
from pictofs.doctor.kernel import Fuse
from pictofs.doctor.mounts import Live
from pictofs.doctor.network import Standing, Storage, Way
from pictofs.doctor.system import Pieces, Unit
from pictofs.drivers.kernel.handshake import Negotiated
from pictofs.drivers.kernel.wire import Init
from pictofs.errors import KeyRefused, Unreachable
from pictofs.mount.installation import Piece
from pictofs.mount.record import Record

GIB = 1 << 30
EVERYTHING = int(Init.NO_OPEN_SUPPORT | Init.NO_OPENDIR_SUPPORT | Init.HAS_RESEND)
AGREED = Negotiated(45, EVERYTHING, "passthrough", 1 << 20)
NOT_PASSED = replace(AGREED, io="cache", note="it takes CAP_SYS_ADMIN; io=cache instead")
FUSE = Fuse("6.18", True, "", "/usr/bin/fusermount3", True, False, 0, AGREED)
FOLDER = Folder(
    "/c", True, True, 0, 0, 0o700, True, "ext4", 100 * GIB, 200 * GIB, 10**6, GIB, 50 * GIB, 5 * GIB
)
WAY = Way("https://h", addresses=("1.2.3.4",), tls="TLSv1.3", skew_s=0.2, round_trip_s=0.01)
LIVE = Live(
    Record("/m", "pictofs", 1, 1, __version__, "/c", "/log"),
    {"online": True, "refused": False, "io": "cache", "errors": []},
)


def levels(found: Iterable[Finding]) -> dict[str, str]:
    return {each.check: each.level.value for each in found}


def test_a_machine_where_all_is_well_passes_everywhere() -> None:
    found = [
        *kernel.checks(FUSE, Settings()), *cachedir.checks(FOLDER, "cache"), *network.way_checks(WAY, 0.0),
        *network.standing_checks(Standing(None, "Org", ("Org",), "admin", "c", Budget(10, 10, 0.0)), "Org"),
        *mounts.checks([LIVE], {}),
    ]  # fmt: skip
    assert {each.level for each in found} == {Level.PASS}, found
    assert all(each.what and not each.mend for each in found)


@pytest.mark.parametrize(
    ("given", "settings", "check", "level", "mend"),
    [
        ({"device_error": "gone", "negotiated": None}, {}, "/dev/fuse", "fail", "modprobe"),
        ({"device_error": "denied", "root": False}, {}, "/dev/fuse", "pass", ""),
        ({"negotiated": None, "refused": "it may not"}, {}, "mounting", "fail", "download"),
        ({"root": False, "helper": ""}, {}, "fusermount3", "fail", "fuse3"),
        ({"root": False, "helper_setuid": False}, {}, "fusermount3", "warn", "fuse3"),
        ({"root": False}, {"allow_other": True}, "allow_other", "fail", "user_allow_other"),
        ({"root": False}, {}, "allow_other", "pass", ""),
        ({"request_timeout_s": 15}, {}, "request timeout", "fail", "timeout=5s"),
        ({"request_timeout_s": 120}, {}, "request timeout", "pass", ""),
        ({"negotiated": replace(AGREED, flags=0)}, {}, "kernel", "warn", "6.9"),
        ({"negotiated": NOT_PASSED}, {"io": "passthrough"}, "passthrough", "warn", "root"),
        ({"negotiated": NOT_PASSED}, {}, "passthrough", "pass", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_fuse_is_said_with_its_mend(
    given: dict[str, Any], settings: dict[str, Any], check: str, level: str, mend: str
) -> None:
    found = {each.check: each for each in kernel.checks(replace(FUSE, **given), Settings(**settings))}
    assert found[check].level.value == level
    assert mend in found[check].mend


def test_the_kernels_bound_on_a_request_is_its_default_within_its_maximum() -> None:
    assert kernel.request_timeout_s(0, 0) == 0
    assert kernel.request_timeout_s(30, 0) == 30
    assert kernel.request_timeout_s(0, 60) == 60
    assert kernel.request_timeout_s(90, 60) == 60


def test_only_a_line_of_its_own_lets_users_say_allow_other() -> None:
    assert kernel.allows_other("mount_max = 100\nuser_allow_other\n")
    assert not kernel.allows_other("#user_allow_other\n")


@pytest.mark.parametrize(
    ("given", "check", "level"),
    [
        ({"there": False}, "cache directory", "pass"),
        ({"there": False, "writable": False}, "cache directory", "fail"),
        ({"folder": False}, "cache directory", "fail"),
        ({"owner": 7}, "cache directory", "fail"),
        ({"writable": False}, "cache directory", "fail"),
        ({"mode": 0o755}, "cache directory", "warn"),
        ({"kind": "nfs4"}, "cache file system", "fail"),
        ({"kind": "fuse.sshfs"}, "cache file system", "fail"),
        ({"kind": "tmpfs"}, "cache file system", "warn"),
        ({"kind": "overlay"}, "cache file system", "pass"),
        ({"free_bytes": 4 * GIB}, "cache space", "fail"),
        ({"free_bytes": 20 * GIB}, "cache space", "warn"),
        ({"free_files": 10}, "cache space", "fail"),
        ({"catalog_error": "it is of another version"}, "catalog", "fail"),
    ],
)
def test_what_is_wrong_with_the_cache_directory_is_said(
    given: dict[str, Any], check: str, level: str
) -> None:
    found = levels(cachedir.checks(replace(FOLDER, **given), "cache"))
    assert found[check] == level


def test_an_overlay_matters_to_passthrough_alone() -> None:
    assert cachedir.file_system(replace(FOLDER, kind="overlay"), "passthrough").level is Level.WARN


@pytest.mark.parametrize(
    ("given", "last", "level"),
    [
        ({"proxy_error": "it cannot be used"}, "proxy", "fail"),
        ({"dns_error": "unknown"}, "DNS", "fail"),
        ({"tls": "", "tls_error": "self-signed"}, "TLS", "fail"),
        ({"answer_error": "refused", "skew_s": None}, "service", "fail"),
        ({"skew_s": 20.0}, "clock", "warn"),
        ({"skew_s": -3600.0}, "clock", "fail"),
        ({"skew_s": None}, "clock", "pass"),
    ],
)
def test_the_way_to_the_service_ends_where_it_is_blocked(
    given: dict[str, Any], last: str, level: str
) -> None:
    found = list(network.way_checks(replace(WAY, **given), 0.0))
    assert (found[-1].check, found[-1].level.value) == (last, level)
    assert all(each.mend for each in found if each.level is not Level.PASS)


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    assert network.tls(replace(WAY, certificate_ends_s=10 * 86_400.0), 0.0).level is Level.WARN
    assert network.tls(replace(WAY, certificate_ends_s=90 * 86_400.0), 0.0).level is Level.PASS


def test_a_refused_key_another_organization_and_a_spent_budget_fail() -> None:
    (refused,) = network.standing_checks(Standing(KeyRefused("the key is refused: take another")), None)
    assert (refused.check, refused.level, refused.mend) == ("role", Level.FAIL, "take another")
    (away,) = network.standing_checks(Standing(Unreachable("no answer")), None)
    assert (away.level, away.mend) == (Level.FAIL, "see the lines above")
    other = levels(network.standing_checks(Standing(None, "Org", ("Org", "org"), "viewer", "b"), "lab"))
    assert other == {"role": "fail", "dialect": "pass", "budget": "pass"}
    assert network.budget(Budget(5000, 0, 1.0)).level is Level.FAIL
    assert network.budget(Budget(5000, 100, 1.0)).level is Level.WARN


def test_a_storage_host_that_is_out_of_reach_fails_although_the_api_answers() -> None:
    assert network.storage(Storage("s.example", "timed out")).level is Level.FAIL
    assert network.storage(Storage("s.example", "", 0.03)).what.endswith("after 30 ms")
    assert network.storage(Storage()).level is Level.PASS


def test_a_key_that_is_not_to_be_had_says_what_to_set(tmp_path: Path) -> None:
    open_to_all = tmp_path / "key"
    open_to_all.write_text("pk_live_0123456789")
    open_to_all.chmod(0o644)
    key, found = network.key_of(Profile(key=KeySource(file=str(open_to_all))), {})
    assert (key, found.level) == ("", Level.FAIL)
    assert found.mend.startswith("chmod 600")
    key, found = network.key_of(Profile(), {"PICTOGRAPH_API_KEY": "pk_live_0123456789"})
    assert (found.level, "pk_live" in found.what) == (Level.PASS, False)


def test_updatedb_is_asked_to_leave_mounts_alone() -> None:
    assert system.updatedb(None, False, []).level is Level.PASS
    walks = system.updatedb('PRUNEFS="nfs proc"\n', True, [])
    assert (walks.level, "PRUNEFS" in walks.mend) == (Level.WARN, True)
    assert system.updatedb('PRUNEFS="nfs fuse.pictofs"\n', True, []).level is Level.PASS
    assert system.updatedb('PRUNEPATHS="/tmp /data"\n', True, ["/data/p"]).level is Level.PASS
    assert system.updatedb('PRUNEPATHS="/tmp /dat"\n', True, ["/data/p"]).level is Level.WARN


def test_indexers_that_run_are_named() -> None:
    assert system.indexers(["bash", "python3"]).level is Level.PASS
    found = system.indexers(["bash", "tracker-miner-f", "tracker-miner-f", "baloo_file"])
    assert (found.level, found.what.startswith("baloo_file, tracker-miner-f ")) == (Level.WARN, True)


def test_fstab_without_its_helper_fails_and_a_machine_without_either_does_not(tmp_path: Path) -> None:
    ours = tmp_path / "mount.pictofs"
    piece = Piece(ours, "#!/bin/sh\n# Written by `pictofs install`; `pictofs uninstall` removes it.\n", 0o755)
    fstab = "# pictofs /x pictofs\nlab /data/lab pictofs _netdev 0 0\n/dev/sda / ext4 defaults 0 1\n"
    assert system.helper(system.standing([piece], "")).level is Level.PASS
    absent = system.helper(system.standing([piece], fstab))
    assert (absent.level, "/data/lab" in absent.what) == (Level.FAIL, True)
    ours.write_text(piece.text)
    assert system.helper(system.standing([piece], fstab)).level is Level.PASS
    ours.write_text(piece.text + "exit 1\n")
    assert system.helper(Pieces({str(ours): "another version"}, ())).level is Level.WARN
    assert system.helper(Pieces({str(ours): "as written", "/p": "absent"}, ())).level is Level.WARN
    assert system.helper(Pieces({str(ours): "as written", "/p": "as written"}, ())).level is Level.PASS
    assert system.standing([piece], fstab).standing == {str(ours): "another version"}


def test_a_failed_unit_fails_and_says_where_to_read() -> None:
    assert system.units(None).level is Level.PASS
    assert system.units([Unit("pictofs@lab.service", "active", "running")]).level is Level.PASS
    failed = system.units([Unit("pictofs@lab.service", "failed", "failed")])
    assert (failed.level, failed.mend) == (Level.FAIL, "`journalctl -u pictofs@lab.service` says why")


def test_a_dependency_that_is_missing_or_too_old_fails_and_one_for_elsewhere_does_not() -> None:
    required = ["click>=8.1", "fusepy==3.0.1", "tomli>=2.0; python_version < '3.11'", "pillow; extra == 'x'"]
    there = {"click": "8.1.7", "fusepy": "3.0.1", "tomli": None, "pillow": None}
    assert system.versions("3.11", required, there).level is Level.PASS
    old = system.versions("3.11", required, {**there, "click": "8.0.9", "fusepy": None})
    assert old.level is Level.FAIL
    assert "click 8.0.9 is not >=8.1" in old.what
    assert "fusepy is missing" in old.what


@pytest.mark.parametrize(
    ("status", "record", "level"),
    [
        (None, {}, "fail"),
        ({"refused": True, "online": True}, {}, "fail"),
        ({"online": False}, {}, "warn"),
        ({"online": True}, {"version": "0.0.1"}, "warn"),
        ({"online": True}, {"restarts": 5}, "warn"),
    ],
)
def test_a_mount_that_does_not_do_well_is_said(status: Any, record: dict[str, Any], level: str) -> None:
    found = mounts.mount(Live(replace(LIVE.record, **record), status))
    assert (found.level.value, bool(found.mend)) == (level, True)


def test_a_mount_whose_daemon_has_gone_fails_and_another_users_does_not() -> None:
    found = list(mounts.checks([], {"/dead": True, "/other": False}))
    assert [each.level.value for each in found] == ["fail", "pass"]
    assert "fusermount3 -uz /dead" in found[0].mend
