"""Who answers a plan inside one process: `run` for one plan, at once."""

from collections.abc import Callable
from math import isfinite

import torch

from xaiserve.errors import ClassifierFaultError
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.compose import Composer
from xaiserve.perturb.plan import Done, Event, QueryPlan, T, step
from xaiserve.perturb.query import Leaf, Query, leaves
from xaiserve.types import Scores


def run(
    plan: QueryPlan[T],
    classifier: Classifier,
    *,
    max_rows: int = 64,
    on_event: Callable[[Event], None] = lambda _: None,
) -> T:
    """Answer ``plan`` with ``classifier`` until it is done, in batches of at most ``max_rows``."""
    composer = Composer(classifier, max_rows)
    rounds = 0
    try:
        turn = step(plan)
        while not isinstance(turn, Done):
            if isinstance(turn, Event):
                on_event(turn)
                turn = step(plan)
            else:
                rounds += 1
                turn = step(plan, answer(turn, classifier, composer))
    except Exception as error:
        error.add_note(f"in round {rounds} of the plan")
        raise
    else:
        return turn.value
    finally:
        plan.close()


def answer(query: Query, classifier: Classifier, composer: Composer) -> Scores:
    """Score a query, chunk by chunk, in order."""
    parts = [part for leaf in leaves(query) for part in _answer_leaf(leaf, classifier, composer)]
    return torch.cat(parts) if parts else torch.empty(0, classifier.spec.classes)


def _answer_leaf(leaf: Leaf, classifier: Classifier, composer: Composer) -> list[Scores]:
    width = 1 if leaf.alone else len(composer.inputs)
    found = []
    for start in range(0, len(leaf), width):
        chunk = leaf[start : start + width]
        composer.compose(chunk, 0)
        found.append(checked(classifier, composer.inputs[: len(chunk)], exact=leaf.alone))
    return found


def checked(classifier: Classifier, inputs: torch.Tensor, *, exact: bool) -> Scores:
    """Score model inputs and refuse an answer that is no answer; see `Classifier.score_inputs`.

    Raises
    ------
    ClassifierFaultError
        The classifier returned another shape than (n, k), or a value that is not finite.
    """
    scores = classifier.score_inputs(inputs, exact=exact)
    expected = (len(inputs), classifier.spec.classes)
    if tuple(scores.shape) != expected:
        raise ClassifierFaultError(
            f"model {classifier.name!r} answered {tuple(scores.shape)}, expected {expected}"
        )
    # The sum of finite scores is finite: one pass instead of five, and the rule if it is not.
    if not (isfinite(scores.sum()) or bool(torch.isfinite(scores).all())):
        raise ClassifierFaultError(f"model {classifier.name!r} answered NaN or infinity")
    return scores
