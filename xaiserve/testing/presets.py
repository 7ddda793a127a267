"""A preset as a sweep would write it."""

from typing import Final

from xaiserve.explainers.preset_file import PresetFile

PRESET: Final = PresetFile(
    method="occlusion",
    version=1,
    parameters={"cells": 4, "fill": "grey", "grey": 0.25},
    objective="energy",
    value=1.0,
    low=None,
    high=None,
    images=6,
    model_inputs=100,
    sample="a",
    model="b",
    seed=0,
)
