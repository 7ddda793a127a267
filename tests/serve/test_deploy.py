"""What is deployed without us looking: the file names what exists, and its values are valid."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import PydanticDeprecatedSince20

from xaiserve.serve.config import ServiceConfig, make_config

FILE = Path(__file__).resolve().parents[2] / "deploy" / "service.yaml"


@pytest.fixture
def schemas() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticDeprecatedSince20)
        return import_module("ray.serve.schema")


@pytest.fixture
def written() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_serve_accepts_the_file(schemas: Any, written: dict[str, Any]):
    read = schemas.ServeDeploySchema.model_validate(written)

    assert (read.applications[0].name, read.http_options.port) == ("xaiserve", 8000)


def test_every_field_is_one_that_serve_knows(schemas: Any, written: dict[str, Any]):
    """Serve itself drops a misspelt field without a word."""
    parts = [
        (schemas.ServeDeploySchema, written),
        (schemas.HTTPOptionsSchema, written["http_options"]),
        (schemas.LoggingConfig, written["logging_config"]),
        (schemas.ServeApplicationSchema, written["applications"][0]),
    ]
    for schema, part in parts:
        assert set(part) <= set(schema.model_fields)


def test_the_arguments_are_a_valid_configuration_and_state_our_defaults(written: dict[str, Any]):
    config = make_config(written["applications"][0]["args"])

    assert config == ServiceConfig(models=config.models)


def test_the_import_path_builds_an_application(written: dict[str, Any]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticDeprecatedSince20)
        module, _, name = written["applications"][0]["import_path"].partition(":")
        build = getattr(import_module(module), name)

    assert build(make_config(written["applications"][0]["args"]))
