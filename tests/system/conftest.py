"""A machine, and a service for it to mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.conftest import no_fuse
from tests.system.machine import Machine, cannot, machine


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    running = start(EmulatorSettings(generate=24))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def administered(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with mount.pictofs installed and a profile `lab` for the service."""
    why = no_fuse() or cannot()
    if why:
        pytest.skip(f"NOT TESTED, no machine of its own here: {why}")
    folder = tmp_path_factory.mktemp("machine")
    with machine(folder) as made:
        made.write("/etc/pictofs/key", service.api_key + "\n", 0o600)
        made.write(
            "/etc/pictofs/config.toml",
            f'[profile.lab]\napi_key_file = "/etc/pictofs/key"\nbase_url = "{service.base_url}"\n',
        )
        assert made.pictofs("install").returncode == 0
        yield made


@pytest.fixture
def mountpoint(administered: Machine, tmp_path: Path) -> Iterator[Path]:
    """A folder to mount on; nothing is mounted there afterwards."""
    where = tmp_path / "mnt"
    where.mkdir()
    yield where
    for mounted in administered.mounts():
        administered.run("umount", "-l", mounted.mountpoint)
    assert not administered.settled()
