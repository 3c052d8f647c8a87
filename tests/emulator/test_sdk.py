"""The vendor's own SDK releases, each in a process of its own, find the service they were written for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.launch import Running
from tests.emulator.client import Api

SCRIPTS = Path(__file__).parent / "sdk"
SCENES, OTHERS = 12, 5
DATASET = "Street Scenes"
ANNOTATED = 10  # every fifth scene has no annotations
pytestmark = [pytest.mark.sdk, pytest.mark.timeout(400)]


@pytest.fixture
def told(
    sdk_folder: Callable[[str], Path], launched: Callable[..., Running], tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], Running]]:
    """Runs a release's script against a fresh emulator and gives what it reports."""

    def run(version: str, script: str, dialect: str, **settings: Any) -> tuple[dict[str, Any], Running]:
        folder = sdk_folder(version)
        emulator = launched(dialect=dialect, generate=SCENES, export_pending_ms=50.0, **settings)
        for number in range(OTHERS):
            emulator.mutate("add_dataset", name=f"Other {number}")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder), str(SCRIPTS))),
            "EMULATOR_HOST": emulator.base_url.removesuffix("/api/v1/developer"),
            "EMULATOR_KEY": emulator.api_key,
            "EMULATOR_CONTROL": emulator.control_url,
            "EMULATOR_DATASET": DATASET,
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
        assert lines, done.stderr
        return json.loads(lines[-1].removeprefix("REPORT ")), emulator

    return run


def _no_key_on_storage(emulator: Running) -> None:
    storage = emulator.counters()["storage"]
    assert storage["keys"] == []
    assert storage["requests"] > SCENES


def test_sdk_0_1_reads_dialect_b(told: Callable[..., tuple[dict[str, Any], Running]], tmp_path: Path) -> None:
    found, emulator = told("0.1.11", "release_0_1.py", "b")
    assert found["names"] == [DATASET, *(f"Other {number}" for number in range(OTHERS))]
    assert (found["images"], found["page"]) == (SCENES, 5)
    assert found["success"] is True
    assert (found["images_downloaded"], found["annotations_downloaded"]) == (SCENES, ANNOTATED)
    assert found["annotations"] == found["metadata_annotations"] == found["annotation_count"] > 0
    assert (found["created"], found["completed"], found["broken"]) == ("pending", "completed", None)
    assert found["members"] == 1 + 2 * SCENES
    assert (tmp_path / "v0.zip").stat().st_size == found["file_size"]
    assert found["exports"] == ["v0", "baseline"]
    assert found["refused"] == {
        "401": "AuthenticationError",
        "404": "NotFoundError",
        "404 dataset": "NotFoundError",
        "409": "PictographError",  # 0.1 has no class of its own for 403 and 409
        "403": "PictographError",
        "429": "RateLimitError",
    }
    _no_key_on_storage(emulator)


def test_sdk_1_0_reads_dialect_b(told: Callable[..., tuple[dict[str, Any], Running]]) -> None:
    found, emulator = told("1.0.3", "release_1_0.py", "b")
    everything = [DATASET, *(f"Other {number}" for number in range(OTHERS))]
    assert found["names"] == found["paged"] == everything
    assert (found["images"], found["page"], found["by_id"]) == (SCENES, True, DATASET)
    assert (found["success"], found["failures"]) == (True, [])
    assert (found["images_downloaded"], found["annotations_downloaded"]) == (SCENES, ANNOTATED)
    assert found["progress"] == [SCENES + ANNOTATED] * 2
    assert found["annotations"] > ANNOTATED
    assert found["kinds"] == ["bbox", "keypoint", "polygon", "polyline"]
    assert found["metadata"][1:] == [640, 480]
    assert found["has_annotation_url"] == [True, False]
    assert found["size_agrees"]
    assert (found["created"], found["completed"], found["broken"]) == ("pending", "completed", None)
    assert found["members"] == 1 + 2 * SCENES
    assert found["exports"] == ["v1", "baseline"]
    assert found["row_url"]
    assert found["project"] == ["Écrans & cie", "new", "Screens", "Screens"]
    assert found["organization"] == "Pictofs Emulator"
    assert found["refused"] == {
        "401": "AuthError",
        "403": "ForbiddenError",
        "404": "NotFoundError",
        "409": "ConflictError",
        "429": "RateLimitError",
    }
    _no_key_on_storage(emulator)


@pytest.mark.parametrize("urls", ["absolute", "foreign", "relative"])
def test_sdk_1_69_reads_dialect_c(told: Callable[..., tuple[dict[str, Any], Running]], urls: str) -> None:
    found, emulator = told("1.69.146", "release_1_69.py", "c", annotation_urls=urls)
    everything = [DATASET, *(f"Other {number}" for number in range(OTHERS))]
    assert found["names"] == found["paged"] == everything
    assert (found["images"], found["by_id"], found["everything"]) == (SCENES, True, SCENES)
    assert found["newest"] == sorted(found["newest"], reverse=True)
    assert found["filters"] == [True, True]
    assert (found["success"], found["failures"], found["truncated"]) == (True, [], False)
    assert (found["images_downloaded"], found["annotations_downloaded"]) == (SCENES, SCENES)
    assert found["progress"] == [2 * SCENES] * 2
    assert len(set(found["annotations"])) == 1
    assert found["kinds"] == ["bbox", "keypoint", "polygon", "polyline"]
    assert found["size_agrees"]
    assert found["found"]
    assert found["directories"] == ["/day", "/day/rain", "/night", "/night/rain"]
    assert found["tree"] == ["/day", "/night"]
    assert (found["created"], found["completed"], found["broken"]) == ("pending", "completed", None)
    assert found["members"] == 1 + 2 * SCENES
    assert (found["same"], found["bulk"]) == ("v2/β", True)
    assert found["exports"] == ["v2/β", "baseline"]
    assert found["dataset"] == ["Écrans & cie", "Screens", "Screens"]
    assert found["hidden"] == [everything, ["Screens"]]
    assert found["organization"] == "Pictofs Emulator"
    assert found["refused"] == {
        "401": "AuthError",
        "403": "ForbiddenError",
        "404": "NotFoundError",
        "409": "ConflictError",
        "422": "ValidationError",
        "429": "RateLimitError",
    }
    _no_key_on_storage(emulator)


def test_sdk_1_0_stops_at_a_short_page_and_sdk_1_69_does_not(
    sdk_folder: Callable[[str], Path], launched: Callable[..., Running], tmp_path: Path
) -> None:
    """A page cap below the asked size is what loses datasets in the older release: the emulator shows it."""
    count = {}
    for version, dialect in (("1.0.3", "b"), ("1.69.146", "c")):
        emulator = launched(dialect=dialect, images=1, datasets=7, page_cap=3)
        assert Api(emulator, dialect)("/datasets/", limit=100).status == 200
        script = (
            "import sys; from pictograph import Client; "
            "print(len(Client(sys.argv[2], base_url=sys.argv[1]).datasets.iter().all()))"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                emulator.base_url.removesuffix("/api/v1/developer"),
                emulator.api_key,
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(sdk_folder(version))},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        count[version] = int(done.stdout)
    assert count == {"1.0.3": 3, "1.69.146": 7}
