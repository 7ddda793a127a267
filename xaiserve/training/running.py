"""From labelled files to a model folder: read, set aside, train, measure, write."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from xaiserve.errors import InvalidInputError
from xaiserve.models.writing import write_model_folder
from xaiserve.perturb.rng import Keys
from xaiserve.training.classifier import (
    CPU,
    FACTORIES,
    ClassifierTraining,
    OnStep,
    Quality,
    measure,
)
from xaiserve.training.pictures import Labelled, Pictures, Skipped, read_pictures

CARD: Final = "README.md"
RECORD: Final = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training has come to.

    Parameters
    ----------
    training
        Pictures of each class that were trained on.
    test
        On the pictures set aside.
    skipped
        Files that could not be read.
    """

    training: tuple[int, ...]
    test: Quality
    skipped: tuple[Skipped, ...]


def train_classifier(
    listed: Sequence[Labelled],
    options: ClassifierTraining,
    folder: Path,
    *,
    seed: int = 0,
    device: torch.device = CPU,
    on_picture: Callable[[], None] = lambda: None,
    on_step: OnStep = lambda _number, _loss: None,
) -> Trained:
    """Train on files and write the model to ``folder``; classes are sorted by name.

    Raises
    ------
    InvalidInputError
        Fewer than two classes, too few readable pictures of one, or none left to train or test on.
    TrainingFailedError
        The loss is not finite any more; nothing is written.
    """
    labels = tuple(sorted({one.label for one in listed}))
    if len(labels) < 2:  # noqa: PLR2004
        raise InvalidInputError(
            f"images must be of at least two classes, got {', '.join(labels) or 'no picture'}; a "
            "folder's name is its class unless NAME=DIR says another"
        )
    keys = Keys.root(seed, "classifier")
    spec = options.spec(labels)
    pictures, skipped = read_pictures(listed, spec, on_picture)
    training, test = pictures.split(options.test_share, keys.child("test"))
    _check_split(training, test)
    network = options.run(training, keys, on_step, device)
    found = Trained(training=training.counts, test=measure(network, spec, test), skipped=skipped)
    arguments = {"classes": len(labels), "channels": options.channels}
    write_model_folder(network, spec, folder, FACTORIES[options.network][0], arguments)
    record = _record(found, options, seed)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / CARD).write_text(_card(found, options, seed), encoding="utf-8")
    return found


def _check_split(training: Pictures, test: Pictures) -> None:
    if not len(test) or not all(training.counts):
        raise InvalidInputError(
            "images must be enough to train on every class and to test on some, got "
            f"{sum(training.counts) + len(test)} pictures, of which {len(test)} are set aside"
        )


def _record(found: Trained, options: ClassifierTraining, seed: int) -> dict[str, Any]:  # Any: JSON
    return {
        "seed": seed,
        "options": dataclasses.asdict(options),
        "training": dict(zip(found.test.labels, found.training, strict=True)),
        "test": found.test.to_json(),
        "skipped": [dataclasses.asdict(one) for one in found.skipped],
    }


def _card(found: Trained, options: ClassifierTraining, seed: int) -> str:
    test = found.test
    lines = [
        "# A classifier trained by xaiserve",
        "",
        f"Tells {', '.join(test.labels)} in pictures of {options.side} x {options.side} px.",
        f"{options.steps} steps of {options.batch} pictures, seed {seed}; see `{RECORD}`.",
        "",
        f"Accuracy on {sum(test.pictures)} pictures set aside: {test.accuracy:.4f}.",
        f"Mean over classes: {test.balanced_accuracy:.4f}.",
        "",
        "| class | trained on | set aside | of those right |",
        "| --- | --- | --- | --- |",
    ]
    rows = zip(test.labels, found.training, test.pictures, test.correct, strict=True)
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"
