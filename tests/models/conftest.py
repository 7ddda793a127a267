import pytest
import torch

from xaiserve.errors import InvalidInputError
from xaiserve.models.torch_classifier import resolve_device


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """A CUDA device, which a machine may lack."""
    try:
        return resolve_device("cuda")
    except InvalidInputError as error:
        pytest.skip(f"needs a CUDA device: {error}")
