"""Responsibility searches of MultiReX, driven to their end on a toy picture."""

from collections.abc import Sequence
from typing import Any, Final

from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.boxes import Splitter
from xaiserve.explainers.multirex.responsibility import ResponsibilitySearch
from xaiserve.perturb.drive import run
from xaiserve.perturb.plan import QueryPlan
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing.toys import ToyClassifier, toy_case, toy_image
from xaiserve.types import Image

IMAGE: Final[Image] = toy_image(24)
KEYS: Final = Keys.root(0, "searched")


def searched(
    classifier: ToyClassifier,
    *,
    splitter: Splitter | None = None,
    keys: Keys = KEYS,
    scenes: Sequence[Scene] | None = None,
    first: int = 0,
    **options: Any,  # of MultiReX
) -> ResponsibilitySearch:
    """Search `IMAGE`, 24 by 24, to the end."""
    case = toy_case(classifier, IMAGE)
    scenes = scenes or [Scene(IMAGE, case.neutral.expand_as(IMAGE).clone())]
    search = ResponsibilitySearch(
        MultiRex(**{"iterations": 8} | options),
        case,
        scenes,
        keys,
        confidence=float(classifier.scores(IMAGE[None])[0, case.target]),
        first=first,
        splitter=splitter,
    )

    def plan() -> QueryPlan[None]:
        yield from search.run()

    run(plan(), classifier)
    return search
