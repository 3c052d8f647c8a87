from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pictofs import __version__, cli
from pictofs.cli import app
from pictofs.errors import Unreachable, UsageError
from pictofs.mount import helper, report

ENVIRON = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("PICTOFS_", "PICTOGRAPH_API", "PICTOGRAPH_BASE", "XDG_", "CREDENTIALS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.startswith("pictofs: ")
    return text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"pictofs, version {__version__}\n")


def test_help_lists_every_option_of_a_mount(capsys: pytest.CaptureFixture[str]) -> None:
    from pictofs.mount import options

    code, out, _ = run(capsys, "mount", "--help")
    assert code == 0
    for option in options.OPTIONS:
        assert f"  {option.name}=" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mount"], "a mountpoint is needed"),
        (["mount", "a", "b", "c"], "a mountpoint is needed"),
        (["mount", "--nothing", "x"], "No such option"),
        (["mount", "-o", "tttl=3", "/mnt"], "there is no option 'tttl'; did you mean ttl?"),
        (["mount", "-o", "ttl=soon", "/mnt"], "it takes a time such as 90s, 5m or 1h"),
        (["mountt", "x"], "No such command"),
        (["umount"], "Missing argument"),
        (["demo", "--images", "0"], "Invalid value"),
        (["demo", "--from", "/nonexistent"], "does not exist"),
        (["demo", "--from", "/tmp", "--images", "3"], "say one of them"),
        (["emulator", "--dialect", "d"], "Invalid value"),
        (["emulator", "--annotated", "200"], "at most 100"),
    ],
)
def test_wrong_use_is_one_line_and_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in one_line(err)


def test_no_key_is_2_with_the_mend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    code, _, err = run(capsys, "mount", str(tmp_path / "mnt"), "-o", f"cache_dir={tmp_path}/cache")
    assert code == 2
    assert "api_key_file" in one_line(err)


def test_a_key_that_others_may_read_is_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    key = tmp_path / "key"
    key.write_text("pk_live_secret")
    key.chmod(0o644)
    code, _, err = run(capsys, "mount", str(tmp_path / "mnt"), "-o", f"api_key_file={key}")
    assert code == 2
    assert "chmod 600" in one_line(err)
    assert "secret" not in err


def test_a_mountpoint_that_cannot_be_one_is_6(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for name, says in (("missing", "mkdir"), ("file", "is no folder"), ("full", "is not empty")):
        code, _, err = run(capsys, "mount", str(tmp_path / name))
        assert code == 6
        assert says in one_line(err)


def test_the_format_of_the_log_may_be_said_by_its_own_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def configure(source: str | None, given: list[str], environ: Any) -> Any:
        said.extend(given)
        raise UsageError("that will do")

    monkeypatch.setattr("pictofs.mount.plan.configure", configure)
    assert run(capsys, "mount", "-o", "ttl=5", "--log-format", "json", "/mnt")[0] == 2
    assert said == ["ttl=5", "log_format=json"]


def test_what_is_not_mounted_is_7(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in (["umount", str(tmp_path)], ["status", str(tmp_path)], ["refresh", str(tmp_path)]):
        code, _, err = run(capsys, *command)
        assert code == 7
        assert "pictofs status" in one_line(err)


def test_status_of_nothing_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "all_mounts", lambda environ: [])
    assert run(capsys, "status") == (0, "nothing of pictofs is mounted\n", "")
    assert run(capsys, "status", "--json") == (0, "", "")


def test_status_is_a_table_or_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {
        "mountpoint": "/mnt/a [b]",
        "source": "acme",
        "online": True,
        "driver": "kernel",
        "io": "cache",
        "cache": {"dir": "/c", "bytes": 3 << 20, "limit": None, "files": 2},
        "pids": {"supervisor": 7},
        "budget": {"limit": 5000, "remaining": 4990, "reset": 9},
        "queue": {"demand": 0},
        "datasets": [{"name": "[bold]cats", "images": 12, "cached": 5}],
        "errors": [{"time": "", "what": "oh"}],
    }
    monkeypatch.setattr(report, "all_mounts", lambda environ: [document])
    _, out, _ = run(capsys, "status")
    for part in ("/mnt/a [b]", "acme", "online", "3.0M of ?", "4990 of 5000 left", "[bold]cats", "oh"):
        assert part in out
    assert json.loads(run(capsys, "status", "--json")[1]) == document


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (
            Unreachable("the service does not answer; look at base_url"),
            4,
            "does not answer; look at base_url",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("1/0"), 1, "unexpected ZeroDivisionError; the traceback is in "),
    ],
)
def test_every_end_is_a_code_and_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    says: str,
    tmp_path: Path,
) -> None:
    def fail(environ: Mapping[str, str]) -> None:
        raise raised

    monkeypatch.setattr(report, "all_mounts", fail)
    monkeypatch.setattr("pictofs.mount.places.log_dir", lambda environ, uid: tmp_path / "log")
    got, _, err = run(capsys, "status")
    assert got == code
    assert says in one_line(err)
    if code == 1:
        assert "ZeroDivisionError: 1/0" in (tmp_path / "log" / "pictofs.log").read_text()
    monkeypatch.setenv("PICTOFS_DEBUG", "1")
    assert ("Traceback" in run(capsys, "status")[2]) == (code != 130)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m pictofs mount --help | head -1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_same_command_by_its_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pictofs", "--version"], capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.strip() == f"pictofs, version {__version__}"


def test_no_command_is_a_page_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert code in (0, 2)
    assert "umount" in out + err


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = helper.run(list(arguments), {**ENVIRON, "PICTOGRAPH_API_KEY": "pk_live_x"})
    return code, capsys.readouterr().err


def test_mount_pictofs_has_the_exit_codes_of_mount8(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert helped(capsys)[0] == helper.USAGE
    assert helped(capsys, "pictofs", str(tmp_path / "none"))[0] == helper.FAILED
    code, err = helped(capsys, "pictofs", str(tmp_path), "-o", "ttll=3")
    assert code == helper.USAGE
    assert err == "mount.pictofs: -o: there is no option 'ttll'; did you mean ttl?\n"


def test_mount_pictofs_f_is_fake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    options = f"rw,_netdev,log_file={tmp_path}/log,cache_dir={tmp_path}/cache"
    code, err = helped(capsys, "pictofs", str(tmp_path / "mnt"), "-sfnv", "-o", options)
    assert code == 0
    assert err == "mount.pictofs: a mount is always read-only; rw is ignored (ro spares this line)\n"
    assert not os.path.ismount(tmp_path / "mnt")


def test_commands_are_those_of_the_documents() -> None:
    assert {"mount", "umount", "status", "demo", "emulator", "refresh"} <= set(app.COMMANDS)
