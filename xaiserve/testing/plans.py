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


def echo_classifier(*, batch_rows: int = 64) -> toys.ToyClassifier:
    """Make scores say the brightness of the picture, so that a mix-up of rows shows."""

    def function(images: Images) -> Scores:
        own = images.mean(dim=(1, 2, 3))
        return torch.stack([1 - own, own], dim=1)

    return toys.ToyClassifier("echo", toys.toy_spec(IMAGE), function, batch_rows=batch_rows)


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
