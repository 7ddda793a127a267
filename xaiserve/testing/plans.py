"""Plans and a classifier whose answers are known, for tests of whatever runs plans."""

import torch

from xaiserve.perturb.plan import QueryPlan, Stop, ask
from xaiserve.perturb.query import Pixels
from xaiserve.testing import toys
from xaiserve.types import Images, Scores

IMAGE = toys.toy_image(8)


def levels(values: list[float], *, alone: bool = False) -> Pixels:
    """Ask for pictures of one brightness each."""
    return Pixels(torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone(), alone=alone)


def brightness(scores: Scores) -> list[float]:
    """Return what `echo_classifier` says of each picture of `levels`."""
    return [round(float(score), 4) for score in scores[:, 1]]


def echo_classifier(*, batch_rows: int = 64, classes: int = 2) -> toys.ToyClassifier:
    """Make scores say the brightness of the picture, so that a mix-up of rows shows.

    Classes beyond two have a score of 0.
    """

    def function(images: Images) -> Scores:
        scores = torch.zeros(len(images), classes)
        scores[:, 1] = images.mean(dim=(1, 2, 3))
        scores[:, 0] = 1 - scores[:, 1]
        return scores

    spec = toys.toy_spec(IMAGE, labels=[f"class {index}" for index in range(classes)])
    return toys.ToyClassifier("echo", spec, function, batch_rows=batch_rows)


def counting_plan(start: int, rounds: int, rows: int = 5) -> QueryPlan[list[bool]]:
    """Ask ``rounds`` questions whose answers are known; return whether each came back."""
    got = []
    for turn in range(rounds):
        values = [(start + turn * rows + i) % 97 / 100 for i in range(rows)]
        scores = yield from ask(levels(values))
        got.append(torch.allclose(scores[:, 1], torch.tensor(values), atol=1e-6))
    return got


def stoppable_plan() -> QueryPlan[int]:
    """Return how many rounds were answered, also when stopped."""
    rounds = 0
    try:
        while True:
            yield from ask(levels([0.5] * 10))
            rounds += 1
    except Stop:
        return rounds
