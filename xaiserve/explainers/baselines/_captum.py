"""What Grad-CAM and integrated gradients share: captum, when it is there, and a picture's input."""

import importlib
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.perturb.case import Case
from xaiserve.types import Image, Images

ACTIVATION_RATIO: Final = 150
"""Floats kept for the backward pass per float of input; 133 for MobileNetV2 (measured)."""


def captum_attr(method: str) -> Any:  # Any: captum's stubs do not cover its namespace
    """Import ``captum.attr``, which only the gradient methods need.

    Raises
    ------
    InvalidInputError
        It is not installed; the sentence says how to install it.
    """
    try:
        return importlib.import_module("captum.attr")
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"{method} needs captum, which is not installed: pip install 'xaiserve[gradients]'"
        ) from error


def model_input(model: DifferentiableClassifier, image: Image) -> Images:
    """Normalise one picture on the model's device, (c, h, w) -> (1, c, h, w)."""
    return model.spec.normalise(image.to(model.device).unsqueeze(0))


def backward_bytes(case: Case, rows: int) -> int:
    """Bound the memory of one pass of ``rows`` pictures and back."""
    return 4 * rows * case.image.numel() * ACTIVATION_RATIO
