from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.__main__ import parser
from pictofs.emulator.settings import EmulatorSettings, from_mapping, options, to_arguments, weights
from pictofs.errors import UsageError


def test_settings_survive_the_command_line(tmp_path: Path) -> None:
    settings = EmulatorSettings(
        data=tmp_path,
        dialect="a",
        url_ttl=7,
        latency_ms=1.5,
        freeze_updated_at=True,
        organization="Ü & co",
        api_key="-x",
    )
    assert from_mapping(vars(parser().parse_args(to_arguments(settings)))) == settings


def test_defaults_need_no_arguments() -> None:
    assert to_arguments(EmulatorSettings()) == []
    assert from_mapping(vars(parser().parse_args([]))) == EmulatorSettings()


def test_every_option_has_a_sentence_and_a_type_that_a_parser_can_use() -> None:
    for option in options():
        assert option.help.endswith(".")
        assert option.type in (str, int, float, bool, Path)
    assert isinstance(parser(), argparse.ArgumentParser)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dialect": "d"}, "--dialect d"),
        ({"page_cap": 0}, "--page-cap 0"),
        ({"port": 70000}, "--port 70000"),
        ({"port": 5, "storage_port": 5}, "must differ"),
        ({"data": Path("/nowhere/at/all")}, "no such folder"),
        ({"statuses": "done:1"}, "--statuses done:1"),
        ({"splits": "train:0"}, "all zero"),
        ({"annotated": 101}, "percentage"),
        ({"image_bytes": 1 << 30}, "--image-bytes"),
        ({"api_key": ""}, "--api-key"),
    ],
)
def test_an_option_that_cannot_be_is_named_in_one_line(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_default_to_one() -> None:
    assert weights("a,b:3", ("a", "b"), "--x") == {"a": 1, "b": 3}


def test_scenes_are_drawn_when_there_is_nothing_else_to_serve(tmp_path: Path) -> None:
    assert EmulatorSettings().scenes > 0
    assert EmulatorSettings(images=5).scenes == EmulatorSettings(data=tmp_path).scenes == 0
    assert EmulatorSettings(images=5, generate=3).scenes == 3
