"""A data set with a known answer, and the model that knows it."""

from pathlib import Path

import pytest

from xaiserve.testing.jobs import write_images, write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 6)
