"""What is deployed without us looking: the file names what exists, and its values are valid."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import PydanticDeprecatedSince20

from xaiserve.serve.config import ServiceConfig, make_config
from xaiserve.testing.manifests import misspellings, service_faults

FILE = Path(__file__).resolve().parents[2] / "deploy" / "service.yaml"


@pytest.fixture
def schemas() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticDeprecatedSince20)
        return import_module("ray.serve.schema")


@pytest.fixture
def written() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_nothing_is_wrong_with_the_file(written: dict[str, Any]):
    assert service_faults(written) == []


def test_every_misspelt_key_is_found(written: dict[str, Any]):
    """Serve itself drops a misspelt field without a word."""
    checked = {place: service_faults(wrong) for place, wrong in misspellings(written)}

    assert len(checked) > 20
    assert [place for place, faults in checked.items() if not faults] == []


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("xaiserve.serve.ap:build_app", "No module named 'xaiserve.serve.ap'"),
        ("xaiserve.serve.app:build_ap", "has no attribute 'build_ap'"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_found(written: dict[str, Any], path: str, told: str):
    written["applications"][0]["import_path"] = path

    (fault,) = service_faults(written)
    assert told in fault


def test_serve_accepts_the_file(schemas: Any, written: dict[str, Any]):
    read = schemas.ServeDeploySchema.model_validate(written)

    assert (read.applications[0].name, read.http_options.port) == ("xaiserve", 8000)


def test_the_arguments_are_a_valid_configuration_and_state_our_defaults(written: dict[str, Any]):
    config = make_config(written["applications"][0]["args"])

    assert config == ServiceConfig(models=config.models, logs=config.logs)
