"""Train a classifier on labelled pictures, from one seed, and say how good it is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from xaiserve.errors import TrainingFailedError
from xaiserve.models.spec import ModelSpec, Resize
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.rng import Keys
from xaiserve.training import densenet, network
from xaiserve.training.densenet import DenseNet
from xaiserve.training.network import ConceptNetwork
from xaiserve.training.pictures import Pictures, balanced_batch

NetworkName = Literal["concepts", "densenet121"]
Network = ConceptNetwork | DenseNet

FACTORIES: Final[Mapping[NetworkName, tuple[str, Callable[[int, int], Network]]]] = {
    "concepts": ("xaiserve.training.network:build", network.build),
    "densenet121": ("xaiserve.training.densenet:build", densenet.build),
}
"""Per network the name of its factory, as a model folder states it, and the factory."""

CPU: Final = torch.device("cpu")
_TEST_ROWS: Final = 64

OnStep = Callable[[int, float], None]
"""Told the number of steps done and the loss of the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierTraining:
    """How a classifier is made.

    Every batch has the classes equally often, so that a rare one is learned as well; afterwards the
    last layer's bias is moved from equal shares to those of the training pictures (Bayes' rule), so
    that probabilities are what the pictures say.
    """

    name: ClassVar[str] = "classifier"

    network: NetworkName = param(
        "concepts", "Small, decided by the strongest place of each of a few concepts, or DenseNet"
    )
    side: int = param(224, "Height and width of the input in pixels", low=32, high=1024)
    channels: int = param(1, "1 for grey, 3 for colour", low=1, high=3)
    steps: int = param(1500, "Optimiser steps", low=1, high=10_000_000)
    batch: int = param(64, "Pictures per step", low=2, high=4096)
    learning_rate: float = param(3e-3, "The highest, of one cosine cycle", low=1e-8, high=1)
    flips: Literal["none", "horizontal", "both"] = param(
        "horizontal", "Ways in which pictures are mirrored at random"
    )
    shares: Literal["pictures", "equal"] = param(
        "pictures", "How frequent each class is taken to be: as in the pictures, or equally"
    )
    test_share: float = param(0.1, "Pictures set aside to measure accuracy", low=0.01, high=0.5)

    def __post_init__(self) -> None:
        check_fields(self)

    def spec(self, labels: tuple[str, ...]) -> ModelSpec:
        """Describe the classifier: mid-grey becomes model input 0."""
        return ModelSpec(
            height=self.side,
            width=self.side,
            channels=self.channels,
            mean=(0.5,) * self.channels,
            std=(0.25,) * self.channels,
            resize=Resize(mode="shorter", side_px=self.side),
            labels=labels,
        )

    def run(
        self,
        pictures: Pictures,
        keys: Keys,
        on_step: OnStep,
        device: torch.device = CPU,
    ) -> Network:
        """Train on ``pictures`` from nothing; return the network on the CPU, in evaluation mode.

        Raises
        ------
        TrainingFailedError
            The loss is not finite any more.
        """
        spec = self.spec(pictures.labels)
        _, build = FACTORIES[self.network]
        network = build(len(pictures.labels), self.channels).train()
        _initialise(network, keys.child("weights"))
        network.to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=self.learning_rate)
        rate = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.learning_rate, total_steps=self.steps
        )
        for number in range(self.steps):
            draws = keys.child("step", number).generator()
            images, classes = balanced_batch(pictures, self.batch, self.flips, draws)
            logits = network(spec.normalise(images.to(device)))
            loss = nn.functional.cross_entropy(logits, classes.to(device))
            if not math.isfinite(value := loss.item()):
                raise TrainingFailedError(
                    f"the loss is {value} after {number} steps: a learning_rate below "
                    f"{self.learning_rate:g} may do"
                )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
            on_step(number + 1, value)
        network.eval().cpu()
        if self.shares == "pictures":
            _take_shares(network.last, pictures.counts)
        return network


PRESETS: Final = {
    "cpu": ClassifierTraining(),
    "paper": ClassifierTraining(
        network="densenet121", channels=3, steps=10_000, batch=32, learning_rate=1e-3
    ),
}
"""``cpu``: minutes of a core. ``paper``: the size of CLEAR Image's classifier, for a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a classifier is on pictures that it was not trained on.

    Parameters
    ----------
    pictures
        How many of each class.
    correct
        How many of those are told right.
    """

    labels: tuple[str, ...]
    pictures: tuple[int, ...]
    correct: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Share of all pictures that are told right."""
        return sum(self.correct) / sum(self.pictures)

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that there are pictures of."""
        shares = [right / n for right, n in zip(self.correct, self.pictures, strict=True) if n]
        return sum(shares) / len(shares)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "pictures": dict(zip(self.labels, self.pictures, strict=True)),
            "correct": dict(zip(self.labels, self.correct, strict=True)),
        }


def measure(network: nn.Module, spec: ModelSpec, pictures: Pictures) -> Quality:
    """Classify ``pictures`` and count."""
    correct = torch.zeros(len(pictures.labels), dtype=torch.int64)
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(pictures)), _TEST_ROWS):
            classes = pictures.classes[rows]
            decided = network(spec.normalise(pictures.images(rows))).argmax(dim=1)
            correct += torch.bincount(classes[decided == classes], minlength=len(correct))
    return Quality(
        labels=pictures.labels, pictures=pictures.counts, correct=tuple(correct.tolist())
    )


def _take_shares(last: nn.Linear, counts: tuple[int, ...]) -> None:
    """Move from classes that are equally frequent to the shares of ``counts``."""
    shares = torch.tensor(counts, dtype=torch.float32) / sum(counts)
    with torch.no_grad():
        last.bias.add_(shares.log() - math.log(1 / len(counts)))


def _initialise(network: nn.Module, keys: Keys) -> None:
    """Draw every weight from the key, not from torch's global state."""
    generator = torch.Generator().manual_seed(keys.below(2**62)[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight: Tensor = module.weight
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
