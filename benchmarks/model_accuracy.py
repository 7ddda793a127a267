"""``model-accuracy``: every format of the two published classifiers gives their stated accuracy."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.common import DATA, Report, need_data, report
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.models.preparing import prepare
from xaiserve.models.sources import Format
from xaiserve.storage.pictures import decode
from xaiserve.types import Images, Scores

BARS: Final = {"mobilenet_v2_imagenet1k": [137], "squeezenet1_1_imagenet1k": [95]}
"""Correct top-1 answers of 150, as the data's README states them."""

BATCH_ROWS: Final = 16
PASSES: Final = 5


@dataclass(frozen=True, slots=True)
class _Way:
    network: str
    words: str
    file_format: Format | None = None
    factory: str = ""

    def load(self, cache: Path) -> LoadedClassifier:
        return load_classifier(
            self.factory or DATA / "classifiers" / self.network,
            file_format=self.file_format,
            trust_code=True,
            batch_rows=BATCH_ROWS,
            cache_folder=cache,
        )


_WAYS: Final = (
    _Way("mobilenet_v2_imagenet1k", "onnx", "onnx"),
    _Way("mobilenet_v2_imagenet1k", "safetensors", "safetensors"),
    _Way("squeezenet1_1_imagenet1k", "onnx", "onnx"),
    _Way("squeezenet1_1_imagenet1k", "pt2", "pt2"),
    _Way("squeezenet1_1_imagenet1k", "factory", factory="benchmarks.squeezenet:make"),
)


def run(quick: bool) -> Report:
    """Score the 150 images with every format.

    Parameters
    ----------
    quick
        Time one pass over the images instead of `PASSES`; the answers are the same.

    Returns
    -------
    Report
        ``value``: per network the distinct counts of correct answers over its formats (of 150);
        ``figures``: per format the count, images/s (best pass, batches of `BATCH_ROWS`), seconds
        to load and what loading chose; per network the largest difference of a probability
        between two formats.
    """
    need_data()
    annotations = json.loads((DATA / "imagenet_sample" / "annotations.json").read_text())
    truth = torch.tensor([row["label"] for row in annotations])
    files = [DATA / "imagenet_sample" / row["image"] for row in annotations]
    figures: dict[str, Any] = {"images": len(files), "threads": torch.get_num_threads()}
    scores: dict[str, dict[str, Scores]] = {network: {} for network in BARS}
    with tempfile.TemporaryDirectory() as cache:
        for way in _WAYS:
            found, about = _score(way, files, Path(cache), 1 if quick else PASSES)
            about["top1"] = int((found.argmax(dim=1) == truth).sum())
            scores[way.network][way.words] = found
            figures[f"{way.network} {way.words}"] = about
    for network, by_format in scores.items():
        figures[f"{network} largest difference"] = _largest_difference(by_format)
    value = {
        network: sorted({figures[f"{network} {words}"]["top1"] for words in by_format})
        for network, by_format in scores.items()
    }
    return report(value, BARS, holds=value == BARS, figures=figures)


def _score(
    way: _Way, files: list[Path], cache: Path, passes: int
) -> tuple[Scores, dict[str, Any]]:  # Any: JSON
    begun = time.perf_counter()
    classifier = way.load(cache)
    load_s = time.perf_counter() - begun
    images = _images(classifier, files)
    rates, found = [], torch.empty(0)
    for _ in range(passes):
        begun = time.perf_counter()
        found = classifier.scores(images)
        rates.append(len(images) / (time.perf_counter() - begun))
    notes = list(classifier.notes)
    return found, {"images_per_s": round(max(rates), 1), "load_s": round(load_s, 1), "notes": notes}


def _images(classifier: LoadedClassifier, files: list[Path]) -> Images:
    return torch.stack([prepare(decode(f.read_bytes()), classifier.spec)[0] for f in files])


def _largest_difference(by_format: Mapping[str, Scores]) -> float:
    together = torch.stack(list(by_format.values()))
    return float((together.amax(dim=0) - together.amin(dim=0)).max())
