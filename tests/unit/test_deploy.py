"""docs/deploy.md: what is to be copied out of it holds together, and the program understands it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from pictofs.mount import configuration, helper

TEXT = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
ENVIRON = {"PICTOGRAPH_API_KEY": "pk_live_x", "HOME": "/nonexistent"}


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def understood(*given: str) -> None:
    """These settings are read as a mount would read them."""
    configured = configuration.read(None, list(given), ENVIRON, ())
    assert configured.settings.allow_other, "readers in other containers are other users"


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(fenced("yaml")[0])}


def test_every_yaml_is_valid() -> None:
    cluster, scrape, alerts = (list(yaml.safe_load_all(text)) for text in fenced("yaml"))
    assert [each["kind"] for each in cluster] == ["Secret", "DaemonSet", "Pod"]
    assert scrape[0]["scrape_configs"][0]["job_name"] == "pictofs"
    assert all({"alert", "expr"} <= set(rule) for rule in alerts[0]["groups"][0]["rules"])


def test_the_daemonset_mounts_where_its_readers_look(objects: dict[str, Any]) -> None:
    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["pictofs", "mount", "-f"]
    dash_o, given, mountpoint = container["args"]
    assert dash_o == "-o"
    understood(given)
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts) == set(volumes)
    assert mountpoint.startswith(mounts["shared"]["mountPath"] + "/"), (
        "the folder around it is what is shared"
    )
    for each in (container, *pod["initContainers"]):
        shared = next(mount for mount in each["volumeMounts"] if mount["name"] == "shared")
        assert shared["mountPropagation"] == "Bidirectional"
        assert each["securityContext"]["privileged"], "Kubernetes allows Bidirectional to these alone"
    assert f"api_key_file={mounts['key']['mountPath']}/" in given
    assert volumes["key"]["secret"]["defaultMode"] & 0o077 == 0, "a key that others may read is refused"
    assert str(container["ports"][0]["containerPort"]) in given
    assert container["readinessProbe"]["exec"]["command"][1].startswith(f"{mountpoint}/.pictofs/")
    reader = objects["Pod"]["spec"]
    (mount,) = reader["containers"][0]["volumeMounts"]
    assert (mount["mountPropagation"], mount["readOnly"]) == ("HostToContainer", True)
    assert reader["volumes"][0]["hostPath"]["path"] == volumes["shared"]["hostPath"]["path"]


def test_the_docker_line_is_one_that_pictofs_understands() -> None:
    mounting, reading = (shlex.split(text.replace("\\\n", " ")) for text in fenced("sh"))
    at = mounting.index("example/pictofs")
    command, foreground, dash_o, given, mountpoint = mounting[at + 1 :]
    assert (command, foreground, dash_o) == ("mount", "-f", "-o")
    understood(given)
    assert "/srv/pictograph:/srv/pictograph:rshared" in mounting
    assert mountpoint == "/srv/pictograph/mnt"
    assert "/srv/pictograph:/data:ro,rslave" in reading


def test_the_fstab_line_is_one_that_mount8_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = re.findall(r"^    (\w+ +/\S+ +pictofs +\S+ +0 +0)$", TEXT, re.MULTILINE)
    _, _, kind, given, *_ = line.split()
    assert kind == "pictofs"
    understood(given.replace("api_key_file=/etc/pictofs/key", "ttl=1"))
    (tmp_path / "mnt").mkdir()
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("pk_live_x")
    fake = (
        given.replace("/etc/pictofs/key", str(key)) + f",log_file={tmp_path}/log,cache_dir={tmp_path}/cache"
    )
    code = helper.run(["pictofs", str(tmp_path / "mnt"), "-f", "-o", fake], {"HOME": str(tmp_path)})
    assert (code, capsys.readouterr().err) == (0, "")
