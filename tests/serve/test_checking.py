"""Models are tried before a service starts, in a process that ends."""

import os
from pathlib import Path

import pytest

from xaiserve.errors import ModelUnavailableError
from xaiserve.serve.model_settings import ModelSettings
from xaiserve.serve.replicas.checking import check_models
from xaiserve.testing.jobs import write_model

FACTORIES = """
import os

def raises():
    raise RuntimeError(f"in process {os.getpid()}")

def dies():
    os._exit(1)
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_factories.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_factories"


def test_the_model_that_cannot_be_loaded_is_named_and_was_tried_in_another_process(
    tmp_path: Path, factories: str
):
    good = ModelSettings(source=str(write_model(tmp_path / "good")))
    bad = ModelSettings(source=f"{factories}:raises", trust_code=True)

    with pytest.raises(ModelUnavailableError, match=r"^model bad: .*: in process \d+$") as told:
        check_models({"good": good, "bad": bad})

    assert not str(told.value).endswith(f" {os.getpid()}")


def test_a_model_whose_loading_kills_the_process_is_a_sentence(factories: str):
    model = ModelSettings(source=f"{factories}:dies", trust_code=True)

    with pytest.raises(ModelUnavailableError, match=r"^model own: the process that loaded it"):
        check_models({"own": model})


def test_a_model_for_a_device_of_its_own_is_left_to_its_replica(tmp_path: Path):
    check_models({"far": ModelSettings(source=str(tmp_path / "absent"), device="cuda")})
