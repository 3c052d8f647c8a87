"""What a command changes at the service is on the mounts of this machine at once, not after their ttl."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from pictofs.emulator.launch import Running
from tests.mount.conftest import Make, Mount, eventually, pictofs

pytestmark = pytest.mark.mount
TTL_S = 600  # nothing in this file may take so long
AT_ONCE_S = 10.0  # the kernel is told after the command; the machine may be busy
DATASET = "Street Scenes"


def command(mount: Mount, *words: str) -> Any:
    service = {"PICTOGRAPH_API_KEY": mount.emulator.api_key, "PICTOGRAPH_BASE_URL": mount.emulator.base_url}
    ran = pictofs(*words, "--json", environ=service)
    # The command tells every mount of this user, those of tests beside this one too.
    silent = f"{mount.mountpoint.parent}/[^ ]* could not be told"
    assert ran.returncode == 0, (ran.stderr, mount.logged())
    assert not re.search(silent, ran.stderr), (ran.stderr, mount.logged())
    return json.loads(ran.stdout)


def test_a_dataset_comes_is_renamed_and_goes_on_the_mount_with_the_command(
    emulators: Callable[..., Running], mounts: Make
) -> None:
    mount = mounts(emulators(generate=3), f"ttl={TTL_S}").mounted()
    assert os.listdir(mount.root) == [DATASET]
    assert not (mount.root / "Fresh").exists()
    command(mount, "datasets", "create", "Fresh", "--description", "new")
    eventually((mount.root / "Fresh" / "dataset.json").exists, AT_ONCE_S, "the dataset that was created")
    assert sorted(os.listdir(mount.root)) == ["Fresh", DATASET]
    command(mount, "datasets", "update", "Fresh", "--name", "Renamed")
    eventually(lambda: sorted(os.listdir(mount.root)) == ["Renamed", DATASET], AT_ONCE_S, "the other name")
    command(mount, "datasets", "delete", "Renamed", "--yes")
    eventually(lambda: os.listdir(mount.root) == [DATASET], AT_ONCE_S, "the dataset is gone")


def test_an_export_comes_and_goes_on_every_mount_with_the_command(
    emulators: Callable[..., Running], mounts: Make
) -> None:
    emulator = emulators(generate=3)
    first = mounts(emulator, f"ttl={TTL_S}").mounted()
    others = [first, mounts(emulator, f"ttl={TTL_S}").mounted()]  # each with a cache directory of its own
    folders = [mount.root / DATASET / "exports" for mount in others]
    for folder in folders:
        assert not (folder / "v1.zip").exists()
    made = command(first, "exports", "create", DATASET, "v1", "--include-images", "--wait")
    for folder in folders:
        size = eventually(lambda at=folder: (at / "v1.zip").stat().st_size, AT_ONCE_S, "the export")
        assert size == made["file_size"]
        assert json.loads((folder / "v1.status.json").read_bytes())["status"] == "completed"
    command(first, "exports", "delete", DATASET, "v1", "--yes")
    for folder in folders:
        eventually(lambda at=folder: "v1.zip" not in os.listdir(at), AT_ONCE_S, "the export is gone")
        assert not (folder / "v1.zip").exists()
