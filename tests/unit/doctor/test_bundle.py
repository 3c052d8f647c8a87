"""What a bundle holds, and above all what it does not."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from pictofs import secrets
from pictofs.doctor import bundle
from pictofs.doctor.examine import subject
from pictofs.doctor.finding import good
from pictofs.doctor.mounts import Live
from pictofs.errors import UsageError
from pictofs.mount.record import Record

KEY = "pk_live_abcdefghijklmnop"
ODD_KEY = "a-key-that-looks-like-none"
SIGNED = "https://storage.example/b/o.jpg?X-Goog-Signature=0123456789abcdef&Expires=9&weird=topsecretvalue"
SECRETS = (KEY, ODD_KEY, "0123456789abcdef", "topsecretvalue", "hunter22", "opensesame", "prints-it")


def texts(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            member.name.partition("/")[2]: file.read().decode()
            for member in archive.getmembers()
            if (file := archive.extractfile(member)) is not None
        }


@pytest.fixture
def written(tmp_path: Path) -> dict[str, str]:
    """A bundle of a machine whose files are full of secrets."""
    secrets.remember(ODD_KEY)
    config = tmp_path / "config" / "pictofs"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(
        f'ttl = "5m"\napi_key = "{ODD_KEY}"\nproxy = "http://me:hunter22@proxy:3128"\n'
        f'[profile.lab]\napi_key_command = "echo prints-it"\napi_key_file = "/home/me/key"\n'
        f"password = 'opensesame'\nbroken = \"\"\"\nopensesame\n\"\"\"\norganization = \"lab\"\n"
    )
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "fetch.log").write_text(f"GET {SIGNED} failed\nX-API-Key: {KEY}\nkey {ODD_KEY}\n")
    log = tmp_path / "mount.log"
    log.write_text("x" * bundle.TAIL_BYTES + f" {KEY}\nthe last line, {SIGNED!r}\n")
    environ = {
        "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "PICTOGRAPH_API_KEY": KEY,
        "PICTOFS_API_KEY_COMMAND": "prints-it", "PICTOFS_CACHE_DIR": str(cache), "PICTOFS_TTL": "7s",
        "https_proxy": "http://me:hunter22@proxy:3128", "SECRET": "topsecretvalue",
    }  # fmt: skip
    record = Record("/mnt/p", "lab", 1, 1, "0.1.0", str(cache), str(log))
    status = {"online": True, "errors": [{"time": "", "what": f"{SIGNED} is over"}]}
    path = tmp_path / "b.tar.gz"
    examined = subject(None, [f"cache_dir={cache}"], environ)
    bundle.write(path, [good("x", f"under {KEY}")], examined, [Live(record, status)])
    assert path.stat().st_mode & 0o777 == 0o600
    return texts(path)


def test_no_key_no_signature_and_no_password_is_in_a_bundle(written: dict[str, str]) -> None:
    whole = "\n".join(written.values())
    for secret in SECRETS:
        assert secret not in whole, secret


def test_a_bundle_holds_report_settings_logs_state_and_mounts(written: dict[str, str]) -> None:
    assert {"report.json", "settings.txt", "mountinfo.txt", "config/0.toml"} <= written.keys()
    logs = {name.rpartition("-")[2]: text for name, text in written.items() if name.startswith("logs/")}
    assert logs.keys() == {"fetch.log", "mount.log"}
    assert "GET https://storage.example/b/o.jpg?… failed" in logs["fetch.log"]
    assert logs["mount.log"].splitlines()[1:] == ["the last line, 'https://storage.example/b/o.jpg?…'"]
    config = written["config/0.toml"]
    for kept in ('ttl = "5m"', "[profile.lab]", 'api_key_file = "/home/me/key"', 'organization = "lab"'):
        assert kept in config
    assert "PICTOFS_TTL=7s" in written["settings.txt"]
    assert "PICTOGRAPH_API_KEY=…" in written["settings.txt"]
    (state,) = (text for name, text in written.items() if name.startswith("status/"))
    assert "https://storage.example/b/o.jpg?… is over" in state


def test_nothing_is_overwritten_by_a_bundle(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(UsageError, match="name another file"):
        bundle.write(there, [], subject(None, [], {"HOME": str(tmp_path)}), [])
    assert there.read_text() == "mine"
    with pytest.raises(UsageError, match="cannot be written"):
        bundle.write(tmp_path / "no" / "b", [], subject(None, [], {"HOME": str(tmp_path)}), [])
