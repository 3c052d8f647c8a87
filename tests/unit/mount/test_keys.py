from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pictofs.config import KeySource, Profile
from pictofs.errors import UsageError
from pictofs.mount import keys, record

KEY = "pk_live_0123456789abcdef"


def key_file(folder: Path, mode: int = 0o600, text: str = KEY + "\n") -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def profile(**source: str) -> Profile:
    return Profile(key=KeySource(**source))


def test_a_file_holds_the_key(tmp_path: Path) -> None:
    assert keys.read(profile(file=str(key_file(tmp_path))), {}) == KEY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o601])
def test_a_file_that_others_may_read_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, mode)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        keys.read(profile(file=str(path)), {})


def test_a_command_prints_the_key() -> None:
    assert keys.read(profile(command=f"echo {KEY}"), {}) == KEY
    with pytest.raises(UsageError, match="exit code 3"):
        keys.read(profile(command="exit 3"), {})


@pytest.mark.parametrize("terminal", [False, True])
def test_a_command_that_prints_without_end_or_not_at_all_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, terminal: bool
) -> None:
    monkeypatch.setattr(keys, "_at_terminal", lambda: terminal)
    with pytest.raises(UsageError, match="too long"):
        keys.read(profile(command="exec cat /dev/zero"), {})
    monkeypatch.setattr(keys, "_COMMAND_LIMIT_S", 0.2)
    with pytest.raises(UsageError, match="has not ended within"):
        keys.read(profile(command="exec sleep 60"), {})


def test_what_a_command_started_ends_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keys, "_at_terminal", lambda: False)
    monkeypatch.setattr(keys, "_COMMAND_LIMIT_S", 0.5)
    below = tmp_path / "pid"
    with pytest.raises(UsageError, match="has not ended within"):
        keys.read(profile(command=f"sleep 60 & echo $! > {below}; wait"), {})
    pid = int(below.read_text())
    deadline_s = time.monotonic() + 5
    while record.start_ticks(pid) >= 0:  # a zombie has ended
        assert time.monotonic() < deadline_s
        os.sched_yield()


def test_a_command_that_leaves_something_with_its_output_is_not_waited_for(tmp_path: Path) -> None:
    below = tmp_path / "pid"
    assert keys.read(profile(command=f"sleep 60 & echo $! > {below}; echo {KEY}"), {}) == KEY
    os.kill(int(below.read_text()), signal.SIGKILL)


def test_the_environment_is_next_and_then_the_systemd_credential(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "api-key").write_text("pk_live_credential")
    environ = {"CREDENTIALS_DIRECTORY": str(folder)}
    assert keys.read(Profile(), environ) == "pk_live_credential"
    assert keys.read(Profile(), {**environ, "PICTOGRAPH_API_KEY": KEY}) == KEY


def test_no_key_says_where_one_may_be() -> None:
    with pytest.raises(
        UsageError, match=r"no API key: set api_key_file .* api_key_command, or PICTOGRAPH_API_KEY"
    ):
        keys.read(Profile(), {})
    with pytest.raises(UsageError, match="no API key for profile lab"):
        keys.read(Profile(name="lab"), {})


@pytest.mark.parametrize("text", ["", "  \n", "two words", "line\nline", "kéy", "a" * 5000])
def test_what_cannot_be_a_key_is_refused_without_being_repeated(tmp_path: Path, text: str) -> None:
    path = key_file(tmp_path, text=text)
    with pytest.raises(UsageError) as caught:
        keys.read(profile(file=str(path)), {})
    assert text.strip() == "" or text.strip() not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        keys.read(profile(file=str(tmp_path / "none")), {})
