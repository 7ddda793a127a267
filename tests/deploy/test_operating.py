"""The settings that the deployment notes show are settings that there are."""

import re
from pathlib import Path

import yaml

from xaiserve.serve.config import make_config
from xaiserve.serve.observing.tracing import EXPORTERS

NOTES = (Path(__file__).resolve().parents[2] / "deploy" / "README.md").read_text()


def test_the_settings_shown_are_valid_and_switch_each_thing_on():
    (shown,) = re.findall(r"```yaml\n(access:.*?)```", NOTES, re.DOTALL)
    config = make_config(yaml.safe_load(shown))

    assert config.access.keys
    assert config.sources.allowed
    assert config.tracing
    assert config.metrics_port
    assert config.models["mobilenet"].may_sleep
    assert config.names == ["mobilenet", "resnet", "densenet"]


def test_the_exporter_named_for_serve_is_ours():
    assert EXPORTERS in re.sub(r"\s+", " ", NOTES)
