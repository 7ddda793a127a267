"""What a pipeline makes of an explanation, and of which kind a method's results are."""

from typing import Protocol, get_args, get_type_hints, runtime_checkable

from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.perturb.case import Case
from xaiserve.pipelines.filtering import has_sets
from xaiserve.pipelines.tasks import Task


@runtime_checkable
class Finisher(Protocol):
    """What a pipeline makes of an explanation: the result that is stored."""

    def result_type(self, explainer: Explainer) -> type[Explanation]:
        """Return the dataclass of the results of a method."""
        ...

    def finish(self, task: Task, case: Case, explanation: Explanation) -> Explanation:
        """Make a result of an explanation; an `InvalidInputError` becomes the row's error."""
        ...


def result_type(explainer: Explainer) -> type[Explanation]:
    """Find what a method returns, from its annotation."""
    method = getattr(explainer, "attribute", None) or getattr(explainer, "plan", None)
    found: type[Explanation] = get_args(get_type_hints(method)["return"])[2]
    return found


def finds_sets(explainer: Explainer) -> bool:
    """Say whether a method returns several explanations, and which of them it selects."""
    return has_sets(result_type(explainer))
