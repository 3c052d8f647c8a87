"""Programs of others for the tests, each in a folder of its own: what the suite itself runs on stays."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

_PIP_S = 300


def installed(project: str, version: str, *options: str) -> Path:
    """The folder of a release, installed once per machine and Python version. Skips where pip cannot."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    home = Path(platformdirs.user_cache_dir("pictofs")) / "sdk"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{project}-{version}-{python}"
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs install one after the other
        if not folder.exists():
            staging = home / f"{folder.name}.{os.getpid()}"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(staging), *options]
            done = subprocess.run(
                [*pip, f"{project}=={version}"], capture_output=True, text=True, timeout=_PIP_S, check=False
            )
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
                pytest.skip(f"NOT TESTED against {project} {version}: pip could not install it: {said}")
            staging.rename(folder)
    return folder
