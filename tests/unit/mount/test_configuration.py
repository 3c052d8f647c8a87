from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pictofs.config import KeySource, Settings
from pictofs.errors import UsageError
from pictofs.mount import configuration, options, plan

HOME = {"HOME": "/home/someone"}


def read(
    *given: str, source: str | None = None, environ: Mapping[str, str] = HOME, files: list[Path] | None = None
) -> Settings:
    return configuration.read(source, given, environ, files or []).settings


def written(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_said_the_settings_are_the_defaults(tmp_path: Path) -> None:
    settings = read(files=[tmp_path / "missing.toml"])
    assert settings == Settings(cache_dir=settings.cache_dir)


def test_the_command_line_wins_over_the_environment_and_that_over_the_files(tmp_path: Path) -> None:
    file = written(tmp_path, 'ttl = "1s"\ntimeout = 2\njobs = 3\n[profile.lab]\ntimeout = "4s"\n')
    environ = {**HOME, "PICTOFS_TTL": "5s", "PICTOFS_JOBS": "6"}
    settings = read("jobs=7", source="lab", environ=environ, files=[file])
    assert (settings.jobs, settings.ttl_s, settings.timeout_s) == (7, 5, 4)


def test_the_users_file_wins_over_the_machines(tmp_path: Path) -> None:
    mine = written(tmp_path, "ttl = 1", "mine.toml")
    machines = written(tmp_path, "ttl = 2\ntimeout = 3", "machines.toml")
    settings = read(files=[mine, machines])
    assert (settings.ttl_s, settings.timeout_s) == (1, 3)


def test_later_options_win_over_earlier_ones() -> None:
    assert read("ttl=1,ttl=2", "ttl=3s").ttl_s == 3


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("tttl", "ttl"), ("cachedir", "cache_dir"), ("offine", "offline"), ("api_key", "api_key_file")],
)
def test_an_unknown_name_is_an_error_that_offers_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"-o: there is no option '{wrong}'; did you mean {nearest}"):
        read(f"{wrong}=1")


def test_an_unknown_name_in_file_or_environment_says_where_it_stands(tmp_path: Path) -> None:
    file = written(tmp_path, "[profile.lab]\ntimout = 1")
    with pytest.raises(
        UsageError, match=r"config.toml \[profile.lab\]: there is no option 'timout'; did you mean timeout"
    ):
        read(files=[file])
    with pytest.raises(UsageError, match="PICTOFS_TIMOUT: there is no option"):
        read(environ={**HOME, "PICTOFS_TIMOUT": "1"})


def test_a_wrong_value_says_what_the_option_takes() -> None:
    with pytest.raises(UsageError, match="-o: ttl cannot be 'soon'; it takes a time such as 90s, 5m or 1h"):
        read("ttl=soon")
    with pytest.raises(UsageError, match="-o: io cannot be 'fast'; it takes cache or passthrough"):
        read("io=fast")


def test_an_option_without_its_value_is_an_error_and_a_switch_is_on() -> None:
    with pytest.raises(UsageError, match="-o ttl: it needs a value, ttl=TIME"):
        read("ttl")
    assert read("allow_other").allow_other is True
    assert read("allow_other=off").allow_other is False


def test_a_comma_in_a_value_is_escaped_as_in_fuse() -> None:
    assert configuration.split_options(r"api_key_command=pass show a\,b,ttl=5") == [
        "api_key_command=pass show a,b",
        "ttl=5",
    ]
    assert configuration.split_options(r"proxy=a\\,ro,") == ["proxy=a\\", "ro"]


def test_words_of_mount8_are_accepted_and_mean_nothing() -> None:
    settings = read(
        "rw,ro,noauto,user,_netdev,nofail,x-systemd.automount,comment=a b,X-mount.mkdir,defaults,ttl=1"
    )
    assert settings.ttl_s == 1
    assert settings.ignored[:2] == ("rw", "ro")


def test_sizes_may_be_shares_of_the_file_system_of_the_cache(tmp_path: Path) -> None:
    settings = read(f"cache_dir={tmp_path}/not/yet,cache_size=50%,min_free=1G")
    assert settings.cache_size_bytes is not None
    assert settings.cache_size_bytes > 0
    assert settings.min_free_bytes == 1 << 30


def test_paths_are_absolute_since_the_daemon_works_elsewhere() -> None:
    settings = read("cache_dir=here,log_file=~/log,api_key_file=key")
    assert settings.cache_dir == str(Path.cwd() / "here")
    assert settings.log_file == str(Path("~/log").expanduser())
    assert settings.profiles[0].key.file == str(Path.cwd() / "key")


def test_every_option_reaches_its_field() -> None:
    text = """
        api_key_file=/k base_url=https://h organization=o dialect=b mode=images_only status_filter=complete
        archived=show driver=fusepy io=passthrough overlay=/o cache_dir=/c cache_size=1G min_free=2G
        eviction=lru
        ttl=1s timeout=2s offline=on auth_grace=3s prefetch=off bulk=off jobs=4 bandwidth=5M max_fetch=6G
        annotation_size=padded opened=listed allow_other=on uid=7 gid=8 umask=0 ca_file=/ca proxy=http://p
        metrics=h:9 log_level=debug log_format=json log_file=/l
    """
    said = dict(part.split("=", 1) for part in text.split())
    assert said.keys() | {"api_key_command"} == options.BY_NAME.keys()
    settings, default = read(*(f"{name}={text}" for name, text in said.items())), Settings(cache_dir="/c")
    profile = settings.profiles[0]
    for option in options.OPTIONS:
        if option.name in said and option.name != "cache_dir":
            where, without = {
                options.KEY: (profile.key, KeySource()),
                options.PROFILE: (profile, default.profiles[0]),
                options.MOUNT: (settings, default),
            }[option.scope]
            assert getattr(where, option.field) != getattr(without, option.field), option.name


def test_the_service_may_be_named_as_its_own_sdk_does() -> None:
    environ = {**HOME, "PICTOGRAPH_BASE_URL": "http://a"}
    assert read(environ=environ).profiles[0].base_url == "http://a"
    assert read(environ={**environ, "PICTOFS_BASE_URL": "http://b"}).profiles[0].base_url == "http://b"
    assert read("base_url=http://c", environ=environ).profiles[0].base_url == "http://c"


def test_a_source_is_a_profile_or_an_organization(tmp_path: Path) -> None:
    file = written(tmp_path, '[profile.lab]\napi_key_file = "/lab"\n[profile."a,b"]\nttl = 1\n')
    lab = configuration.read("lab", [], HOME, [file])
    assert lab.organization is None
    assert lab.settings.source == "lab"
    assert lab.settings.profiles[0].key.file == "/lab"
    assert configuration.read("acme", [], HOME, [file]).organization == "acme"
    assert configuration.read("a,b", [], HOME, [file]).settings.ttl_s == 1
    for nothing in (None, "pictofs", "none"):
        configured = configuration.read(nothing, [], HOME, [file])
        assert configured.organization is None
        assert configured.settings.profiles[0].name == "default"


TWO = """
ttl = "7s"
[profile.a]
api_key_file = "/a"
base_url = "http://a"
organization = "first"
[profile.b]
api_key_command = "print b"
timeout = "3s"
"""


def test_several_profiles_are_several_organizations_of_one_mount(tmp_path: Path) -> None:
    file = written(tmp_path, TWO.replace('timeout = "3s"\n', ""))
    settings = read(source="a,b", files=[file])
    assert settings.source == "a,b"
    assert settings.ttl_s == 7
    first, second = settings.profiles
    assert (first.name, first.key.file, first.base_url, first.organization) == (
        "a",
        "/a",
        "http://a",
        "first",
    )
    assert (second.name, second.key.command, second.key.credential) == ("b", "print b", "api-key-b")


def test_profiles_mounted_together_must_agree_on_what_is_one_for_all(tmp_path: Path) -> None:
    file = written(tmp_path, TWO)
    with pytest.raises(UsageError, match="timeout holds for a whole mount"):
        read(source="a,b", files=[file])
    assert read("timeout=9", source="a,b", files=[file]).timeout_s == 9
    with pytest.raises(UsageError, match="organization cannot hold for several profiles"):
        read("organization=x", source="a,b", files=[file])
    with pytest.raises(UsageError, match=r"there is no \[profile.c\]"):
        read(source="a,c", files=[file])
    with pytest.raises(UsageError, match="twice"):
        read(source="a,a", files=[file])


def test_a_stronger_place_for_the_key_silences_the_weaker(tmp_path: Path) -> None:
    file = written(tmp_path, 'api_key_file = "/weak"')
    key = read("api_key_command=strong", files=[file]).profiles[0].key
    assert (key.command, key.file) == ("strong", None)
    both = written(tmp_path, 'api_key_file = "/a"\napi_key_command = "b"', "both.toml")
    with pytest.raises(UsageError, match="both set; keep one"):
        read(files=[both])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ttl = ", "not valid TOML"),
        ("profile = 1", "a profile is a section"),
        ("ttl = [1]", "takes one value"),
        ("[ttl]\na=1", "takes one value"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, reason: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UsageError, match=f"config.toml: .*{reason}"):
        read(files=[file])


def test_a_key_that_was_typed_in_the_wrong_place_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        read("api_key_file= ")
    assert "pk_" not in str(caught.value)


def test_what_this_version_does_not_act_on_is_refused_and_not_ignored(tmp_path: Path) -> None:
    said = "annotation_size=padded"
    environ = {**HOME, "PICTOGRAPH_API_KEY": "pk_live_x"}
    configured = configuration.read(None, [said, f"cache_dir={tmp_path}/cache"], environ, [])
    with pytest.raises(UsageError, match=f"{said.partition('=')[0]}=.* is not available in pictofs"):
        plan.prepare(configured, str(tmp_path), environ, foreground=True)
