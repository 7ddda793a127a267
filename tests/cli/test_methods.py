import json

import pytest
from click.testing import CliRunner

from xaiserve.cli import main
from xaiserve.explainers.registry import EXPLAINERS, explainer_class
from xaiserve.parameters import parameters_of


def test_every_method_is_listed_with_a_line() -> None:
    lines = CliRunner().invoke(main, ["methods"]).stdout.splitlines()
    for name, line in zip(EXPLAINERS, lines, strict=False):
        assert line.startswith(name)
        assert len(line.split(maxsplit=1)[1]) > 10


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_parameter_is_told_with_default_range_and_source(name: str) -> None:
    shown = CliRunner().invoke(main, ["methods", name]).stdout
    for parameter in parameters_of(explainer_class(name)):
        assert f"\n{parameter.name}\n" in shown
        assert f"range:   {parameter.allowed}" in shown
        assert parameter.source in shown


def test_defaults_are_written_as_the_command_line_takes_them() -> None:
    shown = CliRunner().invoke(main, ["methods", "multirex"]).stdout
    assert {"default: true", "default: false", "default: none", "default: 0.0"} <= {
        line.strip() for line in shown.splitlines()
    }
    assert not {"default: True", "default: False", "default: (0.0,)"} & {
        line.strip() for line in shown.splitlines()
    }


def test_json_holds_the_same() -> None:
    found = json.loads(CliRunner().invoke(main, ["methods", "multirex", "--json"]).stdout)
    assert found["parameters"][0] == {
        "name": "iterations",
        "default": 20,
        "allowed": "an integer from 1 to 1000",
        "about": "Independent random searches merged into the map.",
        "source": "ReX 0.4.1",
    }


def test_presets_are_told_with_what_they_stand_for() -> None:
    shown = CliRunner().invoke(main, ["methods", "multirex"]).stdout
    assert "preset=rex stands for walk=every, spotlights=10" in shown
    found = json.loads(CliRunner().invoke(main, ["methods", "multirex", "--json"]).stdout)
    assert found["presets"]["fast"]["max_explanations"] == 2


def test_an_unknown_method_is_misuse_that_lists_the_known() -> None:
    ended = CliRunner().invoke(main, ["methods", "magic"])
    assert ended.exit_code == 2
    assert "known are multirex" in ended.stderr
