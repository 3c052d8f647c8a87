"""Whose account a command takes, how wrong use ends, and that mounts are told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pictofs import cli
from pictofs.api import Dataset
from pictofs.catalog import Catalog
from pictofs.catalog.model import DatasetFacts, Kind, node_id
from pictofs.cli import account, told
from pictofs.errors import Forbidden, Unreachable, UsageError
from pictofs.mount import asked, record
from pictofs.mount.record import Record

KEY = "pk_live_0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("PICTOFS_", "PICTOGRAPH_API", "PICTOGRAPH_BASE", "XDG_", "CREDENTIALS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PICTOGRAPH_API_KEY", KEY)
    folder = tmp_path / ".config" / "pictofs"
    folder.mkdir(parents=True)
    return folder / "config.toml"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(list(words))
    return code, capsys.readouterr().err


def test_settings_come_from_where_a_mount_has_them(environment: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("pk_live_other")
    key.chmod(0o600)
    environment.write_text(
        f'timeout = "7s"\nbandwidth = "1M"\n[profile.other]\nbase_url = "http://other.test"\n'
        f'api_key_file = "{key}"\ndialect = "b"\n'
    )
    with account.opened(None, ()) as known:
        assert (known.client.origin, known.api_key) == ("https://api.pictograph.io:443", KEY)
        assert known.client.network.timeout_s == 7
    with account.opened("other", ("timeout=9",)) as known:
        assert (known.client.origin, known.api_key) == ("http://other.test:80", "pk_live_other")
        assert (known.client.dialect, known.client.network.timeout_s) == ("b", 9)
        assert "pk_live" not in repr(known)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["datasets", "list", "--profile", "none"], "there is no [profile.none]"),
        (["whoami", "-o", "bas_url=x"], "did you mean base_url?"),
        (["exports", "list", "--status", "done"], "Invalid value"),
        (["images", "list"], "Missing argument"),
        (["download", "x"], "Missing argument"),
        (["download", "x", "y", "--jobs", "0"], "Invalid value"),
        (["download", "x", "y", "--retry", "/nonexistent"], "No such file"),
        (["datasets", "show", "x", "--images"], "goes with --json"),
        (["datasets", "create", "x", "--class", ":bbox"], "a name comes first"),
        (["datasets", "frobnicate"], "No such command"),
    ],
)
def test_wrong_use_is_one_line_and_2(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    code, err = run(capsys, *words)
    assert code == 2
    assert err.count("\n") == 1
    assert says in err


def test_no_key_is_2_and_an_absent_service_is_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, err = run(capsys, "whoami", "-o", "base_url=http://127.0.0.1:9", "-o", "timeout=1s")
    assert (code, err.count("\n")) == (4, 1)
    monkeypatch.delenv("PICTOGRAPH_API_KEY")
    code, err = run(capsys, "whoami")
    assert code == 2
    assert "api_key_file" in err


def test_a_report_that_is_none_is_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "r").write_text("[]")
    code, err = run(capsys, "download", "x", str(tmp_path), "--retry", str(tmp_path / "r"))
    assert code == 2
    assert "no report" in err
    code, err = run(capsys, "download", "x", str(tmp_path), "--retry", str(tmp_path / "r"), "--mode", "full")
    assert code == 2
    assert "leave" in err


def test_several_profiles_at_once_are_refused(environment: Path) -> None:
    environment.write_text(
        '[profile.a]\napi_key_command = "true"\n[profile.b]\napi_key_command = "true"\n', encoding="utf-8"
    )
    with pytest.raises(UsageError, match="one at a time"), account.opened("a,b", ()):
        pass


def test_a_403_says_which_role_it_takes() -> None:
    needed = "deleting an export needs the role admin or owner"
    with pytest.raises(Forbidden, match=needed) as caught, account.needing_admin("deleting an export"):
        raise Forbidden("Insufficient role", status=403, request_id="r-1")
    assert (caught.value.status, caught.value.request_id) == (403, "r-1")


class Machine:
    """A machine with one mount of three organizations; what is asked of it is written down."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[list[int]] = []
        self.error: Exception | None = None
        folder.mkdir()
        self.catalog = Catalog.open(folder / "catalog.sqlite")
        self.pks = {}
        for name, key, origin in (
            ("ours", KEY, "http://api.test:80"),
            ("theirs", "pk_live_theirs", "http://api.test:80"),
            ("elsewhere", KEY, "http://elsewhere.test:80"),
        ):
            row = self.catalog.put_organization(origin, f"id-{name}", name, name, b"{}", key)
            self.pks[name] = row.pk
            facts = DatasetFacts(f"d-{name}", "Street", "", False, b"{}", "1", 1, 1, 0, 0)
            self.catalog.put_datasets(row.pk, [facts], 1)
        served = tuple((pk, "") for pk in self.pks.values())
        mounted = Record("/mnt/x", "pictofs", 1, 1, "0", str(folder), "", ready=True, organizations=served)
        self.live = [mounted, mounted]
        self.then: list[Record] | None = None  # what lives after one was told
        monkeypatch.setattr(record, "live", lambda run_dir: list(self.live))
        monkeypatch.setattr(asked, "tell", self._tell)

    def _tell(self, mount: Record, verb: str, nodes: list[int]) -> None:
        assert verb == "refresh"
        if self.then is not None:
            self.live = self.then
        if self.error is not None:
            raise self.error
        self.told.append(nodes)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Machine(tmp_path / "cache", monkeypatch)
    yield made
    made.catalog.close()


def opened(**settings: str) -> Any:
    given = [f"{name}={value}" for name, value in {"base_url": "http://api.test", **settings}.items()]
    return account.opened(None, tuple(given))


def test_the_keys_organization_is_looked_at_again_once_for_all_its_mounts(machine: Machine) -> None:
    with opened() as known:
        told.datasets_changed(known)
    assert machine.told == [[node_id(machine.pks["ours"], Kind.ORGANIZATION)]]


def test_of_an_exports_dataset_the_exports_alone_are_looked_at_again(machine: Machine) -> None:
    (row,) = machine.catalog.datasets(machine.pks["ours"])
    with opened() as known:
        told.exports_changed(known, Dataset(id="d-ours", name="Street"))
        told.exports_changed(known, Dataset(id="d-unknown", name="Other"))
    assert machine.told == [[node_id(row.pk, Kind.EXPORTS)]]


def test_a_key_that_no_mount_has_used_may_be_of_any_organization_there(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICTOGRAPH_API_KEY", "pk_live_new")
    with opened() as known:
        told.datasets_changed(known)
    (nodes,) = machine.told
    assert nodes == [node_id(machine.pks[name], Kind.ORGANIZATION) for name in ("ours", "theirs")]


def test_a_mount_that_cannot_be_told_costs_a_line_and_no_failure(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.error = Unreachable("nobody there")
    with opened() as known:
        told.datasets_changed(known)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "done, but /mnt/x could not be told" in err


def test_a_mount_that_begins_or_ends_meanwhile_shows_nothing_old_and_is_not_complained_about(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.error = Unreachable("nobody there")
    before = machine.live
    machine.live = [replace(mount, ready=False) for mount in before]
    with opened() as known:
        told.datasets_changed(known)
        machine.live, machine.then = before, []  # it has gone by the time that the failure is looked at
        told.datasets_changed(known)
    assert capsys.readouterr().err == ""
