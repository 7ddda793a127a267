"""What an explainer is, and what every explanation can say."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, QueryPlan
from xaiserve.perturb.rng import Keys
from xaiserve.types import Region, Saliency


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Explanation:
    """What every method can say; methods add fields in a subclass."""

    image_id: str
    explainer: str
    target: int
    saliency: Saliency


@runtime_checkable
class ShownSet(Protocol):
    """Pixels that are shown alone, over a fill."""

    @property
    def mask(self) -> Region: ...

    @property
    def confidence(self) -> float:
        """The target's score for these pixels alone."""
        ...

    @property
    def area_px(self) -> int: ...

    @property
    def area_fraction(self) -> float: ...

    @property
    def kind(self) -> str: ...


@runtime_checkable
class WithSets(Protocol):
    """An explanation that is several sets of pixels, beside its map."""

    @property
    def explanations(self) -> Sequence[ShownSet]: ...

    @property
    def selected(self) -> tuple[int, ...]:
        """Indices of the sets to show together."""
        ...

    @property
    def trivial(self) -> bool:
        """Whether the bare fill would do, so that there is nothing to show."""
        ...


@runtime_checkable
class WithNotes(Protocol):
    """An explanation that says what of the request had no effect, or was done otherwise."""

    @property
    def notes(self) -> tuple[str, ...]: ...


E_co = TypeVar("E_co", bound=Explanation, covariant=True)


@runtime_checkable
class QueryExplainer(Protocol[E_co]):
    """A method that asks: a frozen dataclass of its hyper-parameters, with a plan per case."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the same parameters and seed may give another result."""

    def plan(self, case: Case, keys: Keys) -> QueryPlan[E_co]: ...

    def bytes_in_flight(self, case: Case) -> int:
        """Bound the memory of one plan, for admission."""
        ...


@runtime_checkable
class GradientExplainer(Protocol[E_co]):
    """A method that needs gradients, in steps: it runs beside the weights and yields between."""

    name: ClassVar[str]
    version: ClassVar[int]

    def attribute(
        self, model: DifferentiableClassifier, case: Case, keys: Keys
    ) -> Generator[Event, None, E_co | QueryPlan[E_co]]:
        """Yield between steps; return the explanation, or the plan that finds it from here on.

        Returning a plan is for methods whose second part needs only scores: those come from the
        fast way to run the model, in batches shared with others.
        """
        ...

    def bytes_in_flight(self, case: Case) -> int: ...


Explainer = QueryExplainer[Explanation] | GradientExplainer[Explanation]

Need = Literal["contrast"]
"""What a case must hold besides its image."""


def needs_of(explainer: Explainer) -> frozenset[Need]:
    """Say what a method needs of its cases: its class variable ``needs``; nothing when absent."""
    found: frozenset[Need] = getattr(explainer, "needs", frozenset())
    return found
