"""What every explainer owes its users, as a test class to subclass.

::

    class TestOcclusion(ExplainerContract):
        explainer = Occlusion()
        max_inputs = 65
"""

import dataclasses
import pickle
from collections.abc import Callable, Generator
from typing import Any, ClassVar, cast

import pytest
import torch

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explainer, Explanation, QueryExplainer
from xaiserve.explainers.registry import explainer_class, make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.parameters import Parameter, parameters_of
from xaiserve.perturb.case import Case
from xaiserve.perturb.drive import run
from xaiserve.perturb.plan import Event, QueryPlan, Spent, T, gather
from xaiserve.perturb.rng import Keys
from xaiserve.storage.records import TaskRow, from_rows, to_table
from xaiserve.testing.toys import (
    Patch,
    ToyClassifier,
    graded_patch_classifier,
    inside,
    toy_case,
    toy_image,
)
from xaiserve.types import Image


class ExplainerContract:
    """Subclass with ``explainer`` and ``max_inputs``; override the rest where a method needs it.

    Attributes
    ----------
    explainer
        The instance under test, with options small enough for a toy.
    max_inputs
        The most model inputs that it says it costs on the toy.
    patch
        Where the toy's evidence lies.
    """

    explainer: ClassVar[Explainer]
    max_inputs: ClassVar[int]
    patch: ClassVar[Patch] = (4, 12, 8, 16)

    def image(self) -> Image:
        """Make the picture to explain."""
        return toy_image(24)

    def classifier(self, image: Image) -> ToyClassifier:
        """Make a classifier whose evidence is `patch`."""
        return graded_patch_classifier(image, self.patch)

    def explain(self, case: Case, classifier: Classifier, max_rows: int = 64) -> Explanation:
        return explain(self.explainer, case, classifier, max_rows=max_rows)

    def prepare(self) -> tuple[Case, ToyClassifier]:
        image = self.image()
        classifier = self.classifier(image)
        return toy_case(classifier, image), classifier

    def test_is_registered_under_its_name(self) -> None:
        assert explainer_class(self.explainer.name) is type(self.explainer)

    def test_is_frozen_data_that_pickles_and_compares(self) -> None:
        explainer = self.explainer
        assert pickle.loads(pickle.dumps(explainer)) == explainer
        assert changed(explainer) == explainer
        assert hash(changed(explainer)) == hash(explainer)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(explainer, parameters_of(type(explainer))[0].name, None)

    def test_every_option_says_what_it_does_and_where_its_default_comes_from(self) -> None:
        for parameter in parameters_of(type(self.explainer)):
            assert parameter.about and parameter.source
            parameter.check(parameter.default)

    def test_refuses_an_option_out_of_range_naming_it(self) -> None:
        for parameter in parameters_of(type(self.explainer)):
            for bound in beyond(parameter):
                with pytest.raises(ValueError, match=parameter.name):
                    changed(self.explainer, **{parameter.name: bound})

    def test_refuses_an_option_that_cannot_be_read_naming_it(self) -> None:
        for parameter in parameters_of(type(self.explainer)):
            if parameter.choices or parameter.kind in {"int", "float"}:
                with pytest.raises(InvalidInputError, match=parameter.name):
                    make_explainer(self.explainer.name, {parameter.name: "no such value"})

    @pytest.mark.parametrize("max_rows", [1, 7])
    def test_does_not_depend_on_the_batch_it_runs_in(self, max_rows: int) -> None:
        case, classifier = self.prepare()
        same(self.explain(case, classifier, max_rows), self.explain(case, classifier))

    def test_does_not_depend_on_company(self) -> None:
        case, classifier = self.prepare()
        keys = [Keys.root(seed, case.image_id) for seed in (0, 1)]
        if isinstance(self.explainer, QueryExplainer):
            plans = [self.explainer.plan(case, key) for key in keys]
            found = run(gather(plans), classifier)[0]
        else:
            model = classifier.gradients()
            own, other = (self.explainer.attribute(model, case, key) for key in keys)
            next(own)
            exhaust(other)
            found = ended(exhaust(own)[1], classifier)
        same(found, self.explain(case, classifier))

    def test_leaves_the_case_untouched(self) -> None:
        case, classifier = self.prepare()
        image, neutral = case.image.clone(), case.neutral.clone()
        self.explain(case, classifier)
        assert torch.equal(case.image, image) and torch.equal(case.neutral, neutral)

    def test_says_what_it_explains(self) -> None:
        case, classifier = self.prepare()
        found = self.explain(case, classifier)
        said = (found.image_id, found.target, found.explainer)
        assert said == (case.image_id, case.target, self.explainer.name)

    def test_saliency_has_the_size_of_the_image_and_peaks_inside_the_evidence(self) -> None:
        case, classifier = self.prepare()
        saliency = self.explain(case, classifier).saliency
        assert saliency.shape == case.image.shape[1:] and saliency.dtype == torch.float32
        assert bool(torch.isfinite(saliency).all())
        peak = saliency.max()
        assert inside(saliency, self.patch).max() == peak
        assert inside(saliency, self.patch).mean() > saliency.mean()

    def test_stays_inside_its_stated_cost(self) -> None:
        case, classifier = self.prepare()
        if isinstance(self.explainer, QueryExplainer):
            self.explain(case, classifier)
            assert 0 < classifier.rows <= self.max_inputs
            return
        keys = Keys.root(0, case.image_id)
        events, end = exhaust(self.explainer.attribute(classifier.gradients(), case, keys))
        spent = sum(event.rows for event in events if isinstance(event, Spent))
        assert spent > 0
        ended(end, classifier)
        assert spent + classifier.rows <= self.max_inputs

    def test_its_explanation_survives_a_record(self) -> None:
        case, classifier = self.prepare()
        found = self.explain(case, classifier)
        (again,) = from_rows(type(found), to_table([found], type(found)).to_pylist())
        same(found, again, equal_as_stored)

    def test_its_fields_leave_those_of_a_job_s_row_alone(self) -> None:
        case, classifier = self.prepare()
        own = {field.name for field in dataclasses.fields(self.explain(case, classifier))}
        common = {field.name for field in dataclasses.fields(TaskRow)}
        assert own & common <= {"target", "confidence"}

    def test_states_the_memory_that_it_holds(self) -> None:
        case, _ = self.prepare()
        assert self.explainer.bytes_in_flight(case) >= 4 * case.image.numel()


def explain(
    explainer: Explainer, case: Case, classifier: Classifier, *, max_rows: int = 64, seed: int = 0
) -> Explanation:
    """Run a method of either kind to its end, in this thread."""
    keys = Keys.root(seed, case.image_id)
    if isinstance(explainer, QueryExplainer):
        return run(explainer.plan(case, keys), classifier, max_rows=max_rows)
    _, end = exhaust(explainer.attribute(classifier.gradients(), case, keys))
    return ended(end, classifier, max_rows)


def ended(
    end: Explanation | QueryPlan[Explanation], classifier: Classifier, max_rows: int = 64
) -> Explanation:
    """Answer the plan that a gradient method may end in."""
    return end if isinstance(end, Explanation) else run(end, classifier, max_rows=max_rows)


def changed(explainer: Explainer, **options: object) -> Explainer:
    """Copy ``explainer`` with some options changed."""
    # The protocols do not say that an explainer is a dataclass; the rule is in their docstrings.
    copy: Explainer = dataclasses.replace(cast("Any", explainer), **options)
    return copy


def exhaust(steps: Generator[Event, None, T]) -> tuple[list[Event], T]:
    """Run the steps of a gradient method; return its events and what it ends in."""
    events: list[Event] = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return events, end.value


def same(
    one: object,
    other: object,
    equal: Callable[[torch.Tensor, torch.Tensor], bool] = torch.equal,
    where: str = "explanation",
) -> None:
    """Assert that two results agree in every field at any depth, arrays as ``equal`` has it."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert equal(one, other), where
    elif isinstance(one, tuple) and isinstance(other, tuple):
        assert len(one) == len(other), where
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            same(left, right, equal, f"{where}[{place}]")
    elif dataclasses.is_dataclass(one):
        for name in (field.name for field in dataclasses.fields(one)):
            same(getattr(one, name), getattr(other, name), equal, f"{where}.{name}")
    else:
        assert one == other, where


def equal_as_stored(found: torch.Tensor, again: torch.Tensor) -> bool:
    """Compare as records store: maps, which are float32 (h, w), as float16, all else exactly."""
    if found.dtype != torch.float32 or found.ndim != 2:
        return torch.equal(found, again)
    # Half a step of float16: in proportion to the value, but never finer than a fixed share of the
    # largest, because its steps stop shrinking near zero.
    bound = 2.0**-11 * found.abs() + 2.0**-20 * found.abs().max()
    return found.shape == again.shape and bool(((found - again).abs() <= bound).all())


def beyond(parameter: Parameter) -> list[object]:
    """List a value below and one above what the parameter takes, where it has bounds."""
    low = [] if parameter.low is None else [parameter.low - 1]
    found = low if parameter.high is None else [*low, parameter.high + 1]
    return [(number,) if parameter.kind == "numbers" else number for number in found]
