"""Explain prepared images with ReX 0.4.1 (package ``rex-xai``), in the tool's own environment.

``python rex_run.py MODEL.onnx THREADS`` reads requests, one JSON form of `Request` per line, and
answers each with one line. The steps are those of the tool's own ``_explanation`` with its
defaults: 20 iterations, mask value 0, 10 spotlights.
"""

import json
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rex_xai.explanation import explanation
from rex_xai.explanation.multi_explanation import MultiExplanation
from rex_xai.explanation.rex import calculate_responsibility, predict_target, validate_shape
from rex_xai.input.config import CausalArgs
from rex_xai.input.input_data import Data, Setup
from rex_xai.input.onnx import OnnxRunner
from rex_xai.utils._utils import Strategy
from scipy.ndimage import label
from tqdm import tqdm

OVERLAPS: Final = (0.0, 0.1)
"""Largest Dice coefficients at which a family is chosen, the tool's default first."""

Row = dict[str, Any]  # Any: JSON


@dataclass(frozen=True)
class Request:
    """One image to explain.

    Parameters
    ----------
    image
        ``.npy`` file of the model input, (c, h, w) float32.
    batch
        The tool's ``batch_size``.
    seed
        The tool's ``seed``; it seeds iteration i with seed + i.
    spotlights
        The tool's ``spotlights``, the global walk included.
    masks
        ``.npz`` file for the sets found; none keeps figures only.
    """

    image: str
    batch: int
    seed: int = 0
    spotlights: int = 10
    masks: str | None = None


class Meter:
    """A prediction function that counts inputs, calls and seconds per phase of a search."""

    def __init__(self, predict: Any) -> None:
        self.predict = predict
        self.phase = "target"
        self.inputs: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.model_s = 0.0

    def __call__(self, tensors: torch.Tensor, target: Any = None, raw: bool = False) -> Any:
        """Predict as the tool's runner does."""
        self.inputs[self.phase] += len(tensors)
        self.calls[self.phase] += 1
        begun = time.perf_counter()
        answer = self.predict(tensors, target=target, raw=raw)
        self.model_s += time.perf_counter() - begun
        return answer


class Metered(MultiExplanation):  # type: ignore[misc]  # the tool is not typed
    """The tool's search for several explanations; tells the meter where the spotlights begin."""

    def spotlight_search(self, origin: Any = None) -> Any:
        """Search as the tool does."""
        self.prediction_func.phase = "spotlights"
        return super().spotlight_search(origin)


def settings(request: Request) -> CausalArgs:
    """Make the tool's defaults for several explanations, with our batch and seed."""
    args = CausalArgs()
    args.strategy = Strategy.MultiSpotlight
    args.gpu = False
    args.progress_bar = False
    args.batch_size = request.batch
    args.seed = request.seed
    args.spotlights = request.spotlights
    return args


def runner(onnx: str, threads: int) -> tuple[Any, list[Any]]:
    """Make the tool's own prediction function, on ``threads`` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    return OnnxRunner(session, Setup.PYTORCH, "cpu").gen_prediction_function()  # type: ignore[no-any-return]


def prepared(image: NDArray[np.float32], args: CausalArgs) -> Data:
    """Wrap a model input (c, h, w) as the tool's preprocessing would leave it."""
    shape = [1, *image.shape]
    data = Data(None, shape, "cpu", mode="RGB")
    data.data = torch.from_numpy(image).unsqueeze(0)
    data.set_mask_value(args.mask_value)
    return validate_shape(data, shape)


def explain(image: NDArray[np.float32], args: CausalArgs, meter: Meter) -> tuple[Metered, Row]:
    """Search as ``rex_xai.explanation.rex._explanation`` does, timing its phases."""
    data = prepared(image, args)
    begun, cpu = time.perf_counter(), time.process_time()
    data.target = predict_target(data, args, meter)
    meter.phase = "responsibility"
    maps, stats = calculate_responsibility(data, args, meter)
    mapped, cpu_mapped = time.perf_counter(), time.process_time()
    meter.phase = "global"
    found = Metered(maps, meter, data, args, stats)
    found.extract()
    extracted = time.perf_counter()
    found.separate_by(args.permitted_overlap)
    ended, cpu_ended = time.perf_counter(), time.process_time()
    meter.phase = "after"
    return found, {
        "target": int(data.target.classification),
        "confidence": float(data.target.confidence),
        "pixels": image[0].size,
        "passing": stats["total_passing"],
        "failing": stats["total_failing"],
        "depth": stats["max_depth_reached"],
        "inputs": dict(meter.inputs),
        "calls": dict(meter.calls),
        "wall_s": round(ended - begun, 3),
        "cpu_s": round(cpu_ended - cpu, 3),
        "responsibility_s": round(mapped - begun, 3),
        "responsibility_cpu_s": round(cpu_mapped - cpu, 3),
        "separate_s": round(ended - extracted, 3),
        "model_s": round(meter.model_s, 3),
    }


def about_sets(found: Metered) -> Row:
    """Measure the sets that are not empty, and the families that the tool chooses among them."""
    indices = found_places(found)
    shown = planes(found)
    families = {}
    for overlap in OVERLAPS:
        clauses = found.separate_by(overlap)
        families[str(overlap)] = [indices.index(i) for i in clauses[0]] if clauses else []
    return {
        "area_px": [int(plane.sum()) for plane in shown],
        "set_confidence": [round(float(found.explanation_confidences[i]), 6) for i in indices],
        "components": [int(label(plane)[1]) for plane in shown],
        "keeps_label_alone": [keeps_label(found, i) for i in indices],
        "families": families,
        "dice": [round(dice(a, b), 6) for a, b in combinations(shown, 2)],
    }


def found_places(found: Metered) -> list[int]:
    """List the sets that were found; a spotlight that found none left an empty one."""
    return [i for i, mask in enumerate(found.explanations) if bool(mask.any())]


def planes(found: Metered) -> list[NDArray[np.bool_]]:
    """Take one channel (h, w) of each set found; the others are equal."""
    return [found.explanations[i][0].numpy() for i in found_places(found)]


def keeps_label(found: Metered, index: int) -> bool:
    """Score one set by itself, in a batch of one."""
    shown = torch.where(found.explanations[index], found.data.data, found.data.mask_value)
    answer = found.prediction_func(shown)[0]
    return bool(answer.classification == found.data.target.classification)


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Measure the overlap of two sets that are not both empty."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def answer(request: Request, predict: Any) -> Row:
    """Explain one image; a crash of the tool is a result and is told as one."""
    meter = Meter(predict)
    image = np.load(request.image)
    try:
        found, measured = explain(image, settings(request), meter)
    except Exception as error:  # noqa: BLE001 -- whatever the tool raises
        return {"error": f"{type(error).__name__}: {error}", "inputs": dict(meter.inputs)}
    if request.masks:
        np.savez_compressed(request.masks, sets=np.stack(planes(found)))
    return {**measured, **about_sets(found)}


def main() -> None:
    """Answer requests until there are no more; what the tool prints goes to the error stream."""
    threads = int(sys.argv[2])
    torch.set_num_threads(threads)
    predict, _ = runner(sys.argv[1], threads)
    with redirect_stdout(sys.stderr):
        for line in sys.stdin:
            told = json.dumps(answer(Request(**json.loads(line)), predict))
            print(told, file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    explanation.tqdm = partial(tqdm, disable=True)  # its progress bars have no other switch
    main()
