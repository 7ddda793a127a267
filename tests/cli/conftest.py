"""A model with a known answer and pictures for it, as files."""

from pathlib import Path

import pytest

from xaiserve.testing.jobs import write_images, write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three dark pictures with one bright cell each (a fourth name is for damage)."""
    folder = tmp_path / "photos"
    write_images(folder, 3)
    for other in (*folder.glob("*-mask.tif"), folder / "manifest.jsonl"):
        other.unlink()
    return folder
