"""The same commands, and the same calls of the library, in all three dialects, against the emulator."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pictofs import cli, errors
from pictofs.api import Client
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

SCENES, DATASET = 12, "Street Scenes"
ROWS, BIG = 240, "Synthetic"
Run = Callable[..., tuple[int, str, str]]


class World:
    """An emulator, a client of it as the documents make one, and the commands under the same environment."""

    def __init__(self, emulator: Running, letter: str, run: Run) -> None:
        self.emulator, self.letter, self.run = emulator, letter, run
        self.client = Client()

    def told(self, *words: str | Path) -> Any:
        """What a command prints with `--json`."""
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    def asked(self, host: str) -> int:
        count: int = self.emulator.counters(detail=False)[host]["requests"]
        return count


@pytest.fixture(scope="module", params=["a", "b", "c"])
def emulator(request: pytest.FixtureRequest) -> Iterator[tuple[Running, str]]:
    settings = EmulatorSettings(
        dialect=request.param, generate=SCENES, images=ROWS, datasets=2, image_bytes=600, rate_limit=0,
        export_pending_ms=20.0,
    )  # fmt: skip
    with start(settings) as running:
        yield running, request.param


@pytest.fixture
def world(
    emulator: tuple[Running, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    running, letter = emulator
    for name in list(os.environ):
        if name.startswith(("PICTOFS_", "XDG_", "CREDENTIALS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("pictofs.mount.places.run_dir", lambda environ, uid: tmp_path / "run")
    monkeypatch.setenv("PICTOGRAPH_API_KEY", running.api_key)
    monkeypatch.setenv("PICTOGRAPH_BASE_URL", running.base_url.removesuffix("/api/v1/developer"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    made = World(running, letter, run)
    with made.client:
        yield made
    running.clear_faults()
    running.switch(batch_cap=10_000, rate_limit=0, export_pending_ms=20.0, sparse_items=False)
    running.mutate("set_role", role="owner")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_whoami_tells_organization_role_and_budget_where_the_service_does(world: World) -> None:
    world.emulator.switch(rate_limit=5000)
    found = world.told("whoami")
    named = {"a": "organization"}.get(world.letter, "Pictofs Emulator")
    assert (found["organization"]["name"], found["role"], found["dialect"]) == (named, None, world.letter)
    assert found["budget"]["limit"] == 5000
    assert 0 < found["budget"]["remaining"] < 5000
    _, out, _ = world.run("whoami")
    assert named in out
    assert "of 5000 requests" in out


def test_datasets_are_listed_and_shown_by_any_of_their_names(world: World) -> None:
    listed = world.told("datasets", "list")
    assert {row["name"] for row in listed} == {DATASET, BIG, f"{BIG} 2"}
    assert world.told("datasets", "list", "--limit", "1") == listed[:1]
    assert world.told("datasets", "list", "--archived") == []
    row = next(row for row in listed if row["name"] == DATASET)
    for name in filter(None, (row["name"], row["slug"], row["id"])):
        shown = world.told("datasets", "show", name)
        assert (shown["id"], shown["created_at"]) == (row["id"], row["created_at"])
        assert shown["image_count"] == SCENES
    assert len(world.told("datasets", "show", DATASET, "--images")["images"]) == SCENES
    assert (row["total_size"] is None) is (world.letter == "a")
    code, out, _ = world.run("datasets", "list")
    assert code == 0
    assert all(part in out for part in ("name", DATASET, row["id"], str(row["annotation_count"])))
    assert "classes" in world.run("datasets", "show", DATASET)[1]
    code, _, err = world.run("datasets", "show", DATASET.upper())
    assert (code, err) == (1, f"pictofs: there is no dataset {DATASET.upper()!r}\n")


def test_datasets_are_created_changed_and_deleted_where_the_dialect_can(world: World) -> None:
    words = ("datasets", "create", "Écrans & cie", "--description", "d", "--class", "car:bbox:#c82828")
    if world.letter == "a":
        code, out, err = world.run(*words)
        assert (code, out) == (2, "")
        assert "dialect a" in err
        return
    made = world.told(*words, "--annotation-type", "bbox")
    assert made["classes"] == [{"name": "car", "type": "bbox", "color": "#c82828"}]
    assert world.client.datasets.get("Écrans & cie").description == "d"
    code, _, err = world.run(*words)
    assert code == 1
    assert "409" in err
    changed = world.told("datasets", "update", "Écrans & cie", "--name", "Screens", "--description", "e")
    assert (changed["id"], changed["name"], changed["description"]) == (made["id"], "Screens", "e")
    assert world.run("datasets", "update", "Screens")[0] == 2
    world.emulator.mutate("set_role", role="member")
    code, _, err = world.run("datasets", "delete", "Screens", "--yes")
    assert code == 1
    assert "deleting a dataset needs the role admin or owner" in err
    world.emulator.mutate("set_role", role="admin")
    assert world.told("datasets", "delete", "Screens", "--yes") == {
        "deleted": {"id": made["id"], "name": "Screens"}
    }
    with pytest.raises(errors.NotFound):
        world.client.datasets.get("Screens")


def test_what_cannot_be_undone_is_asked_about_or_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = world.run("exports", "delete", DATASET, "baseline")
    assert code == 2
    assert "--yes" in err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked: list[str] = []

    def no(question: str, **_: Any) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("click.confirm", no)
    code, _, err = world.run("exports", "delete", DATASET, "baseline")
    assert (code, err) == (1, "pictofs: nothing was deleted\n")
    assert asked == [f"Delete export baseline of dataset {DATASET}, for good?"]
    world.client.exports.get(DATASET, "baseline")


def test_an_export_is_ordered_watched_saved_and_deleted(world: World, tmp_path: Path) -> None:
    words = ("exports", "create", DATASET, "v1 / ü", "--include-images", "--status-filter", "complete")
    code, out, err = world.run(*words, "--class-filter", "car", "--class-filter", "lane", "--wait", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert (made["status"], made["class_filter"], made["status_filter"]) == (
        "completed", ["car", "lane"], "complete",
    )  # fmt: skip
    states = [line.rpartition(": ")[2] for line in err.splitlines()]
    assert states[-1] == "completed"
    assert states[0] in ("pending", "processing", "completed")
    assert world.told("exports", "show", DATASET, "v1 / ü")["file_size"] == made["file_size"]
    assert world.run(*words)[0] == 1  # the name is taken
    listed = world.told("exports", "list", "--dataset", DATASET)
    assert [row["name"] for row in listed] == ["v1 / ü", "baseline"]
    assert world.told("exports", "list", "--dataset", BIG) == []
    assert world.told("exports", "list", "--status", "failed") == []
    saved = world.told("exports", "download", DATASET, "v1 / ü")
    assert saved == {"path": str(tmp_path / "v1 %2F ü.zip"), "size": made["file_size"]}
    with zipfile.ZipFile(saved["path"]) as archive:
        assert archive.testzip() is None
    assert (
        world.client.exports.download(DATASET, "v1 / ü", "again.zip").read_bytes()
        == Path(saved["path"]).read_bytes()
    )
    world.emulator.mutate("set_role", role="member")
    code, _, err = world.run("exports", "delete", DATASET, "v1 / ü", "--yes")
    assert code == 1
    assert "deleting an export needs the role admin or owner" in err
    world.emulator.mutate("set_role", role="owner")
    assert world.told("exports", "delete", DATASET, "v1 / ü", "--yes")["deleted"]["name"] == "v1 / ü"
    assert world.run("exports", "show", DATASET, "v1 / ü")[0] == 1


def test_an_export_that_fails_or_is_not_ready_says_why(world: World) -> None:
    world.emulator.switch(hold_exports=True)
    try:
        world.told("exports", "create", BIG, "held")
        code, _, err = world.run("exports", "download", BIG, "held")
        assert code == 1
        assert "'held' is pending" in err
        code, _, err = world.run("exports", "create", BIG, "slow", "--wait", "--timeout", "0")
        assert code == 1
        assert "still pending" in err
        world.emulator.mutate("fail_export", dataset=BIG, export="held", message="no room left")
        with pytest.raises(errors.ServerFault, match="no room left"):
            world.client.exports.wait(BIG, "held")
        assert "no room left" in world.run("exports", "show", BIG, "held")[1]
        code, _, err = world.run("exports", "download", BIG, "held")
        assert code == 1
        assert "no room left" in err
    finally:
        world.emulator.switch(hold_exports=False)
        for name in ("held", "slow"):
            world.emulator.mutate("delete_export", dataset=BIG, export=name)


def test_images_are_listed_through_the_filters_of_the_api(world: World) -> None:
    everything = world.told("images", "list", DATASET)
    assert len({row["id"] for row in everything}) == SCENES
    assert world.told("images", "list", DATASET, "--limit", "2", "--offset", "3") == everything[3:5]
    one = everything[4]
    assert one in world.told("images", "list", DATASET, "--filename", one["filename"])
    code, out, _ = world.run("images", "list", DATASET, "--filename", "no such file")
    assert (code, out) == (0, "no image matches\n")
    assert one["filename"] in world.run("images", "list", DATASET)[1]
    if world.letter == "a":
        code, _, err = world.run("images", "list", DATASET, "--split", "train")
        assert code == 2
        assert "split" in err
        return
    filters = (("--status", "status"), ("--split", "split"), ("--directory-path", "directory_path"))
    for option, field in filters:
        value = one[field] or "train"
        found = world.told("images", "list", DATASET, option, value)
        assert found == [row for row in everything if row[field] == value]


def test_a_download_holds_every_file_under_its_name(world: World, tmp_path: Path) -> None:
    report = world.told("download", DATASET, tmp_path / "out")
    assert (report["images_downloaded"], report["annotations_downloaded"], report["failures"]) == (
        SCENES, SCENES, [],
    )  # fmt: skip
    found = files(tmp_path / "out" / DATASET)
    dataset = world.client.datasets.get(DATASET)
    listed = [image for page in world.client.images.pages(dataset) for image in page]
    assert len(found) == 2 * SCENES
    for image in listed:
        inside = f"{image.directory_path.strip('/')}/".lstrip("/")
        assert found[f"images/{inside}{image.filename}"][:2] == b"\xff\xd8"
        if image.file_size is not None:
            assert len(found[f"images/{inside}{image.filename}"]) == image.file_size
        stem = image.filename.rpartition(".")[0]
        assert found[f"annotations/{inside}{stem}.json"] == world.client.annotations.get(dataset, image)
    assert report["bytes_downloaded"] == sum(map(len, found.values()))
    counters = world.emulator.counters(detail=False)
    assert counters["storage"]["keys"] == []
    assert counters["storage"]["authorization"] == 0


@pytest.mark.parametrize(("mode", "folder"), [("images_only", "images"), ("annotations_only", "annotations")])
def test_a_mode_downloads_its_half(world: World, tmp_path: Path, mode: str, folder: str) -> None:
    before = world.asked("storage")
    code, out, _ = world.run("datasets", "download", DATASET, tmp_path, "--mode", mode, "--jobs", "3")
    assert code == 0
    assert str(tmp_path / DATASET) in out
    assert {name.split("/")[0] for name in files(tmp_path / DATASET)} == {folder}
    assert (world.asked("storage") > before) is (mode == "images_only")


def test_a_status_filter_downloads_those_alone(world: World, tmp_path: Path) -> None:
    words = ("download", BIG, tmp_path, "--mode", "images_only", "--status-filter", "review")
    if world.letter == "a":
        code, _, err = world.run(*words)
        assert code == 2
        assert "status" in err
        assert not files(tmp_path)
        return
    report = world.told(*words)
    expected = len(world.told("images", "list", BIG, "--status", "review"))
    assert report["images_downloaded"] == expected == len(files(tmp_path)) > 0


def test_more_images_than_a_batch_signs_are_whole(world: World, tmp_path: Path) -> None:
    """By all, by status, and what then is left through the API, one request each (dialect A knows no cap)."""
    world.emulator.switch(batch_cap=50)
    report = world.client.datasets.download(BIG, tmp_path, mode="images_only", max_workers=8)
    assert (report.images_downloaded, report.success) == (ROWS, True)
    bodies = files(tmp_path)
    assert len(bodies) == len(set(bodies.values())) == ROWS


def test_rows_that_tell_neither_id_nor_directory_never_give_an_image_anothers_bytes(
    world: World, tmp_path: Path
) -> None:
    sound = world.client.datasets.download(BIG, tmp_path / "sound", mode="images_only")
    world.emulator.switch(sparse_items=True)
    report = world.client.datasets.download(BIG, tmp_path / "sparse", mode="images_only")
    assert (sound.success, report.success, report.images_downloaded) == (True, True, ROWS)
    assert files(tmp_path / "sparse") == files(tmp_path / "sound")


def test_what_failed_is_named_kept_and_tried_again(world: World, tmp_path: Path) -> None:
    gone = world.emulator.fault("storage", "status", "*scene_00003*", status=404)
    broken = world.emulator.fault("api", "status", "*/annotations/*", method="GET", count=1, status=403)
    code, out, err = world.run("download", DATASET, tmp_path, "--json")
    assert code == 1
    report = json.loads(out)
    assert (report["images_downloaded"], report["annotations_downloaded"]) == (SCENES - 1, SCENES - 1)
    kinds = {failure["kind"]: failure for failure in report["failures"]}
    assert kinds.keys() == {"image", "annotation"}
    assert "scene_00003.jpg" in kinds["image"]["filename"]
    assert "404" in kinds["image"]["reason"]
    assert "403" in kinds["annotation"]["reason"]
    kept = tmp_path / DATASET / "download-report.json"
    assert json.loads(kept.read_bytes()) == report
    folders = ("pictofs: images/", "pictofs: annotations/")
    assert len([line for line in err.splitlines() if line.startswith(folders)]) == 2
    assert f"--retry {kept}" in err
    assert not any(secret in out + err for secret in (world.emulator.api_key, "X-Goog", "http://"))
    world.emulator.remove_fault(gone)
    world.emulator.remove_fault(broken)
    before = world.asked("storage")
    again = world.told("download", DATASET, tmp_path, "--retry", kept)
    assert (again["images_downloaded"], again["annotations_downloaded"], again["failures"]) == (1, 1, [])
    assert world.asked("storage") - before == 1
    assert not kept.exists()
    assert len(files(tmp_path / DATASET)) == 2 * SCENES


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ZeroDivisionError])
def test_a_download_that_is_ended_leaves_whole_files_and_no_thread(
    world: World, tmp_path: Path, ending: type[BaseException]
) -> None:
    whole = world.client.datasets.download(DATASET, tmp_path / "whole")
    before = set(threading.enumerate())

    def end(done: int, total: int, name: str) -> None:
        if done == 5:
            raise ending

    with pytest.raises(ending):
        world.client.datasets.download(DATASET, tmp_path / "ended", max_workers=2, progress=end)
    found = files(tmp_path / "ended")
    assert 5 <= len(found) < whole.total_attempted
    assert found.items() <= files(tmp_path / "whole").items()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_a_report_of_another_dataset_is_refused(world: World, tmp_path: Path) -> None:
    report = world.client.datasets.download(DATASET, tmp_path, mode="images_only")
    (tmp_path / "report").write_bytes(report.document())
    code, _, err = world.run("download", BIG, tmp_path, "--retry", tmp_path / "report")
    assert code == 2
    assert repr(DATASET) in err
    (tmp_path / "report").write_text("{}")
    assert world.run("download", BIG, tmp_path, "--retry", tmp_path / "report")[0] == 2


def test_urls_that_expire_meanwhile_are_renewed(world: World, tmp_path: Path) -> None:
    for host_says in ("expire", "status"):
        extra = {"status": 403} if host_says == "status" else {}
        world.emulator.fault("storage", host_says, "*", count=4, **extra)
        report = world.client.datasets.download(DATASET, tmp_path / host_says, mode="images_only")
        assert (report.images_downloaded, report.failures) == (SCENES, [])


def test_a_storage_host_that_refuses_every_url_costs_no_request_for_each_image(
    world: World, tmp_path: Path
) -> None:
    world.emulator.fault("storage", "status", "*", status=403)
    before = world.asked("api")
    report = world.client.datasets.download(BIG, tmp_path, mode="images_only", max_workers=8)
    assert (report.images_downloaded, len(report.failures)) == (0, ROWS)
    assert world.asked("api") - before < 20


def test_a_service_that_refuses_the_key_in_the_middle_is_not_asked_for_every_file(
    world: World, tmp_path: Path
) -> None:
    world.emulator.fault("api", "status", "*/annotations/*", status=401)
    before = world.asked("api")
    report = world.client.datasets.download(f"{BIG} 2", tmp_path, mode="annotations_only")
    wanted = sum(1 for image in world.client.images.iter(f"{BIG} 2") if image.annotation_count)
    assert len(report.failures) == (ROWS if world.letter == "a" else wanted)
    assert world.asked("api") - before < 60
    assert any("not tried" in failure.reason for failure in report.failures)


def test_an_export_download_goes_on_where_an_earlier_call_stopped(world: World, tmp_path: Path) -> None:
    size = world.told("exports", "show", DATASET, "baseline")["file_size"]
    world.emulator.reset_counters()
    world.emulator.fault("storage", "truncate", "*.zip*", count=1, skip=1, after_bytes=200_000)
    world.emulator.fault("storage", "status", "*.zip*", skip=1, status=404)
    code, _, err = world.run("exports", "download", DATASET, "baseline")
    assert code == 1, err
    (part,) = tmp_path.glob("baseline.zip.*.part")
    assert part.stat().st_size == 200_000
    world.emulator.clear_faults()
    assert world.told("exports", "download", DATASET, "baseline")["size"] == size
    ranges = [header for _, header in world.emulator.counters()["storage"]["ranges"]]
    assert ranges[-1] == "bytes=200000-"
    assert [path.name for path in tmp_path.glob("baseline*")] == ["baseline.zip"]
    with zipfile.ZipFile(tmp_path / "baseline.zip") as archive:
        assert archive.testzip() is None


def test_a_part_that_went_bad_is_begun_anew(world: World, tmp_path: Path) -> None:
    world.emulator.fault("storage", "truncate", "*.zip*", count=1, skip=1, after_bytes=5000)
    world.emulator.fault("storage", "status", "*.zip*", skip=1, status=404)
    with pytest.raises(errors.ObjectGone):
        world.client.exports.download(DATASET, "baseline")
    world.emulator.clear_faults()
    (part,) = tmp_path.glob("baseline.zip.*.part")
    part.write_bytes(b"\0" * 5000)
    seen: list[tuple[int, int]] = []
    path = world.client.exports.download(DATASET, "baseline", progress=lambda *done: seen.append(done))
    assert zipfile.ZipFile(path).testzip() is None
    assert seen[-1] == (path.stat().st_size,) * 2


def test_a_wrong_byte_never_becomes_a_file(world: World, tmp_path: Path) -> None:
    world.emulator.fault("storage", "corrupt", "*")
    report = world.client.datasets.download(DATASET, tmp_path, mode="images_only")
    assert (report.images_downloaded, len(report.failures)) == (0, SCENES)
    assert files(tmp_path) == {}
    with pytest.raises(errors.Damaged):
        world.client.exports.download(DATASET, "baseline", tmp_path)
    assert files(tmp_path) == {}


def test_the_library_is_called_as_the_documents_call_it(world: World, tmp_path: Path) -> None:
    """The calls of the vendor's documents, word for word but for the names of things."""
    client = Client(api_key=world.emulator.api_key)
    for dataset in client.datasets.list(limit=100):
        as_items = f"{dataset['name']}: {dataset['image_count']} images"
        assert as_items == f"{dataset.name}: {dataset.image_count} images"
    assert len(client.datasets.iter(page_size=100, max_total=2).all()) == 2
    one = client.datasets.get(DATASET, include_images=True, images_limit=200)
    assert [c["name"] for c in one["classes"]]
    assert len(one.images or ()) == SCENES
    assert client.datasets.get_by_id(one.id).name == DATASET
    assert client.datasets.get_by_name(one.path_slug if world.letter == "a" else one.name).id == one.id
    seen: list[tuple[int, int, str]] = []
    report = client.datasets.download(
        DATASET,
        output_dir=str(tmp_path / "dump"),
        mode="full",
        status_filter=None if world.letter == "a" else "complete",
        max_workers=10,
        progress=lambda done, total, fn: seen.append((done, total, fn)),
    )
    assert seen[-1][0] == seen[-1][1] == len(seen) == report.total_attempted
    assert (report.images_downloaded, len(report.failures)) == (report.annotations_downloaded, 0)
    export = client.exports.create(dataset_name=DATASET, name="Training Export v1", wait=True)
    assert export["status"] == "completed"
    for exp in client.exports.list(dataset_name=DATASET, status="completed"):
        assert f"{exp['name']}: {exp['status']}".endswith(": completed")
    assert client.exports.get(DATASET, "Training Export v1")["image_count"] == SCENES
    assert client.exports.download(DATASET, "Training Export v1") == tmp_path / "Training Export v1.zip"
    client.exports.delete(DATASET, "Training Export v1")
    image = client.images.list(DATASET, limit=1)[0]
    drawn = client.annotations.list(DATASET, image)
    assert len(drawn) == image.annotation_count
    client.close()
    if world.letter != "a":
        proj = world.client.projects.create("new-dataset", description="…")
        world.client.projects.update("new-dataset", description="updated")
        assert world.client.datasets.get(proj.id)["description"] == "updated"
        world.client.projects.delete("new-dataset")
