"""CLEAR Image's synthetic set for the benchmarks: a classifier trained here, and test images."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from xaiserve.api import load_case
from xaiserve.data.dataset import png
from xaiserve.data.making import SyntheticClear, make_dataset
from xaiserve.data.sample import Sample
from xaiserve.models.export_cache import default_cache_folder
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case, Contrast
from xaiserve.storage.opening import list_pictures
from xaiserve.training.classifier import ClassifierTraining
from xaiserve.training.pictures import Labelled
from xaiserve.training.running import train_classifier

CLASSIFIER: Final = default_cache_folder() / "synthetic-clear" / "classifier"
"""Where the trained classifier is kept."""

TRAINING: Final = SyntheticClear(seed=0)
TEST: Final = SyntheticClear(seed=1)
"""Another seed: no test picture is in the training set."""

TRAINING_SAMPLES: Final = 6000


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """A diseased test image and what was drawn into it."""

    case: Case
    sample: Sample

    @property
    def has_rectangle(self) -> bool:
        """Whether it shows the feature that speaks against the disease."""
        return any(feature.name == "rectangle" for feature in self.sample.features)


def trained_classifier(folder: Path, *, train: bool) -> LoadedClassifier:
    """Load the classifier; make the data and train it first where there is none.

    Raises
    ------
    SystemExit
        There is none, and it must not be trained now.
    """
    if not (folder / "xaiserve.json").exists():
        if not train:
            raise SystemExit(
                f"this benchmark needs the classifier in {folder}, which is not there: run it once "
                "without --quick, which trains it in about ten minutes of one core"
            )
        _train(folder)
    return load_classifier(folder, threads=1)


def _train(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as made:
        make_dataset(TRAINING, TRAINING_SAMPLES, made)
        listed = [
            Labelled(uri, "diseased" if name == "diseased" else "healthy")
            for name in ("healthy", "ideal", "diseased")
            for uri in list_pictures(f"{made}/{name}")
        ]
        train_classifier(listed, ClassifierTraining(flips="both"), folder)


def diseased_tests(model: LoadedClassifier, count: int) -> Iterator[Test]:
    """Load the first diseased pictures of the test set, each with its ideal twin as contrast."""
    index = 0
    while count:
        sample = TEST.sample(index)
        index += 1
        if sample.label == "diseased":
            count -= 1
            yield Test(_case(model, sample), sample)


def _case(model: LoadedClassifier, sample: Sample) -> Case:
    case = load_case(png(sample.image), model, target="diseased", name=sample.name)
    twin = load_case(png(sample.ideal), model, target="diseased").image
    return replace(case, contrast=Contrast(image=twin, provider="ideal"))
