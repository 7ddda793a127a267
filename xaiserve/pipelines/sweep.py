"""A sweep as data: what is drawn and how it is judged, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from xaiserve.errors import InvalidInputError
from xaiserve.pipelines.pointing_game import Config as Sample
from xaiserve.pipelines.space import Space
from xaiserve.pipelines.trial import OBJECTIVES
from xaiserve.pipelines.trying import Outcome

BEST: Final = "best.json"

SchedulerName = Literal["asha", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is drawn, and how it is judged.

    Parameters
    ----------
    sample
        Labelled images, the model, one method and what it is always set to; where results go.
    space
        What is drawn.
    objective
        One of `OBJECTIVES`; more is better.
    samples
        How many trials are drawn, beside the first.
    scheduler
        ``asha`` stops trials early that are behind, ``none`` lets every trial see every image.
    within
        The best is the cheapest trial, in model inputs, at most so far below the highest value.
    """

    sample: Sample
    space: Space
    objective: str
    samples: int = 20
    scheduler: SchedulerName = "asha"
    within: float = 0.0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise InvalidInputError(
                f"objective must be one of {', '.join(OBJECTIVES)}, got {self.objective!r}"
            )
        if len(self.sample.methods) != 1:
            raise InvalidInputError(
                f"a sweep is of one method, got {', '.join(self.sample.methods)}"
            )
        if self.samples < 1:
            raise InvalidInputError(f"samples must be at least 1, got {self.samples}")
        if not self.within >= 0:
            raise InvalidInputError(f"within must be at least 0, got {self.within:g}")
        both = self.space.keys() & self.fixed.keys()
        if both:
            raise InvalidInputError(
                f"{', '.join(sorted(both))} is both set and in the space; leave it out of one"
            )

    @property
    def method(self) -> str:
        """The method whose parameters are drawn."""
        return self.sample.methods[0]

    @property
    def fixed(self) -> Mapping[str, str]:
        """What the method is set to in every trial."""
        return self.sample.options.get(self.method, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A finished sweep; ``best`` is one of ``outcomes``, and is written to `BEST`."""

    out: str
    objective: str
    outcomes: tuple[Outcome, ...]
    best: Outcome

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the trials, the best one and where its preset is."""
        return {
            "out": self.out,
            "objective": self.objective,
            "best": self.best.to_json(),
            "preset": f"{self.out}/{BEST}",
            "trials": [each.to_json() for each in self.outcomes],
        }
