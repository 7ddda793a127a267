"""An almost free classifier: a strided slice of the input and one linear layer, 1000 classes.

Scoring a row costs a few microseconds, so that a search over it shows what the search itself costs.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_json import spec_to_json
from xaiserve.perturb.case import Case

SIDE: Final = 224
STRIDE: Final = 32
CLASSES: Final = 1000
TARGET: Final = 0

SPEC: Final = ModelSpec(
    height=SIDE, width=SIDE, labels=tuple(f"class {index}" for index in range(CLASSES))
)

_CENTRES: Final = ((1.5, 1.5), (4.5, 5.0))
_GAIN: Final = 40.0
_THRESHOLD: Final = 0.25


def write_slice_model(folder: Path) -> Path:
    """Write ``model.onnx`` and its specification.

    The target's evidence lies in two hills; another class has a constant score that a quarter of
    the evidence exceeds. So searches go several levels deep, and discs are found in two places.
    """
    evidence = _hills()
    weights = np.random.default_rng(0).normal(0, 0.05, (CLASSES, evidence.size))
    weights[TARGET] = _GAIN * evidence / evidence.sum()
    bias = np.zeros(CLASSES)
    bias[TARGET + 1] = _THRESHOLD * _GAIN * 0.75
    constants = {
        "start": np.array([STRIDE // 2] * 2),
        "end": np.array([SIDE] * 2),
        "axes": np.array([2, 3]),
        "step": np.array([STRIDE] * 2),
        "weights": weights.astype(np.float32),
        "bias": bias.astype(np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["input", "start", "end", "axes", "step"], ["samples"]),
        helper.make_node("Flatten", ["samples"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "slice",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = folder / "model.onnx"
    onnx.save(model, file)
    (folder / "xaiserve.json").write_text(json.dumps(spec_to_json(SPEC)))
    return file


def _hills() -> NDArray[np.float64]:
    """Weigh the samples (3 * 7 * 7,), the channels alike."""
    side = SIDE // STRIDE
    row, column = np.mgrid[0:side, 0:side]
    distances = [(row - r) ** 2 + (column - c) ** 2 for r, c in _CENTRES]
    hills = sum(np.exp(-distance / 4) for distance in distances)
    return np.tile(np.asarray(hills).ravel(), 3)


def slice_cases(count: int) -> list[Case]:
    """Make ``count`` pictures of seeded noise in [0.5, 1]."""
    noise = torch.Generator().manual_seed(0)
    return [
        Case(
            image_id=f"{index:064x}",
            image=0.5 + torch.rand(3, SIDE, SIDE, generator=noise) / 2,
            target=TARGET,
            neutral=SPEC.neutral,
            unit=SPEC.unit,
            rule=SPEC.rule,
            name=f"noise {index}",
        )
        for index in range(count)
    ]
