"""The vendor's SDK sees what the commands did, and the commands see what the SDK did."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pictofs import cli
from pictofs.emulator.launch import Running

SCRIPTS = Path(__file__).parent / "sdk"
DATASET, SCENES = "Street Scenes", 4
pytestmark = [pytest.mark.sdk, pytest.mark.timeout(400)]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # not HOME: the releases are installed below it
    monkeypatch.setattr("pictofs.mount.places.run_dir", lambda environ, uid: tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Any:
        capsys.readouterr()
        code = cli.main([*words, "--json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return run


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("version", "dialect"), [("0.1.11", "b"), ("1.0.3", "b"), ("1.69.146", "c")], ids=["0.1", "1.0", "1.69"]
)
def test_each_sees_what_the_other_did(
    version: str,
    dialect: str,
    sdk_folder: Callable[[str], Path],
    launched: Callable[..., Running],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    folder = sdk_folder(version)
    emulator = launched(dialect=dialect, generate=SCENES, export_pending_ms=20.0)
    monkeypatch.setenv("PICTOGRAPH_API_KEY", emulator.api_key)
    monkeypatch.setenv("PICTOGRAPH_BASE_URL", emulator.base_url)
    made = command("datasets", "create", "By command", "--description", "made by a command")
    command("exports", "create", DATASET, "by command", "--include-images", "--wait")
    saved = command("exports", "download", DATASET, "by command")
    downloaded = command("download", DATASET, "ours")

    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder), str(SCRIPTS))),
        "EMULATOR_HOST": emulator.base_url.removesuffix("/api/v1/developer"),
        "EMULATOR_KEY": emulator.api_key,
        "EMULATOR_CONTROL": emulator.control_url,
        "EMULATOR_DATASET": DATASET,
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "interplay.py"), version],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert lines, done.stderr
    seen = json.loads(lines[-1].removeprefix("REPORT "))

    assert seen["datasets"] == ["By command", DATASET]
    assert seen["export"] == {"status": "completed", "include_images": True}
    assert seen["exports"] == ["baseline", "by command"]
    assert seen["archive"] == sha(Path(saved["path"]))
    ours = Path(downloaded["folder"]) / "images"
    assert seen["pictures"] == sorted(sha(path) for path in ours.rglob("*.jpg"))
    assert seen["counts"][0] == downloaded["images_downloaded"] == SCENES

    assert "by sdk" in {row["name"] for row in command("exports", "list", "--dataset", DATASET)}
    assert command("exports", "show", DATASET, "by sdk")["include_images"] is True
    if version.startswith("1."):
        assert command("datasets", "show", "By SDK")["description"] == "made by the SDK"
        assert command("datasets", "show", made["id"])["description"] == "changed by the SDK"
        command("datasets", "delete", "By SDK", "--yes")
        assert {row["name"] for row in command("datasets", "list")} == {"By command", DATASET}
    assert emulator.counters()["storage"]["keys"] == []
