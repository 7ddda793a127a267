"""MultiReX on classifiers whose explanations are known, and against slow twins."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xaiserve.errors import InvalidInputError, NoExplanationError
from xaiserve.explainers.multirex import MultiRex, MultiRexExplanation, dice_matrix
from xaiserve.explainers.registry import make_explainer
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Found, Progress, innermost, stop
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.ticket import Limits
from xaiserve.testing import toys
from xaiserve.testing.contracts import ExplainerContract

SIDE = 24
IMAGE = toys.toy_image(SIDE)
FAR = [(2, 7, 2, 7), (2, 7, 17, 22), (17, 22, 2, 7), (17, 22, 17, 22)]
BRIEF = {"climb_rounds": 30, "restarts": 1, "exclude_rounds": 2, "exclude_iterations": 2}
"""Where there is one set, the search for more is what costs."""

SMALL = MultiRex(
    iterations=8, chunk=4, spotlights=8, spotlight_radius=5, scale_radii=False, **BRIEF
)


def explained(classifier, explainer=SMALL, *, max_rows=64, seed=0, on_event=lambda _: None):
    case = toys.toy_case(classifier, IMAGE)
    plan = explainer.plan(case, Keys.root(seed, case.image_id))
    return run(plan, classifier, max_rows=max_rows, on_event=on_event)


def box_mask(r0, r1, c0, c1):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[r0:r1, c0:c1] = True
    return mask


def suffices(classifier, mask):
    case = toys.toy_case(classifier, IMAGE)
    shown = torch.where(mask, IMAGE, case.neutral.expand_as(IMAGE))
    return int(classifier.scores(shown.unsqueeze(0))[0].argmax()) == case.target


def same(left: MultiRexExplanation, right: MultiRexExplanation) -> bool:
    return (
        torch.equal(left.saliency, right.saliency)
        and left.selected == right.selected
        and len(left.explanations) == len(right.explanations)
        and all(
            torch.equal(a.mask, b.mask) and a.confidence == b.confidence
            for a, b in zip(left.explanations, right.explanations, strict=True)
        )
    )


def test_the_map_peaks_inside_a_single_patch():
    found = explained(toys.patch_classifier(IMAGE, FAR[1]))
    peak = np.unravel_index(int(found.saliency.argmax()), (SIDE, SIDE))
    assert box_mask(*FAR[1])[peak]


def test_the_global_set_covers_the_patch_and_little_else():
    found = explained(toys.patch_classifier(IMAGE, FAR[1])).explanations[0]
    patch = box_mask(*FAR[1])
    assert found.kind == "global"
    assert int((found.mask & patch).sum()) >= 0.99 * int(patch.sum())
    assert found.area_px < 5 * int(patch.sum())


@pytest.mark.parametrize("k", [2, 3, 4])
def test_an_or_of_k_patches_has_a_family_of_k_disjoint_members(k):
    explainer = MultiRex(
        iterations=8, chunk=4, spotlights=5 * k, spotlight_radius=5, scale_radii=False
    )
    found = explained(toys.any_classifier(IMAGE, FAR[:k]), explainer)
    family = [found.explanations[i].mask for i in found.selected]
    assert len(family) == k
    hit = [[bool((mask & box_mask(*patch)).any()) for mask in family] for patch in FAR[:k]]
    assert all(any(row) for row in hit)


def test_an_and_of_two_patches_has_one_explanation_that_covers_both():
    classifier = toys.all_classifier(IMAGE, [FAR[0], FAR[3]])
    found = explained(classifier)
    assert len(found.selected) == 1
    both = box_mask(*FAR[0]) | box_mask(*FAR[3])
    mask = found.explanations[found.selected[0]].mask
    assert int((mask & both).sum()) >= 0.99 * int(both.sum())


def test_every_set_is_sufficient_when_scored_alone():
    classifier = toys.any_classifier(IMAGE, FAR)
    sets = explained(classifier).explanations
    assert len(sets) > 4
    assert all(suffices(classifier, one.mask) for one in sets)


def test_the_selected_family_keeps_the_overlap_bound():
    explainer = MultiRex(
        iterations=4, chunk=4, spotlights=10, spotlight_radius=5, scale_radii=False, overlap=0.2
    )
    found = explained(toys.any_classifier(IMAGE, FAR), explainer)
    dice = dice_matrix([found.explanations[i].mask for i in found.selected])
    assert len(found.selected) > 1
    assert float(dice.fill_diagonal_(0).max()) <= 0.2


def test_a_classifier_that_ignores_the_image_is_trivial():
    classifier = toys.constant_classifier(IMAGE)
    found = explained(classifier)
    assert found.trivial
    assert found.explanations[0].area_px == 0
    assert classifier.rows == 2


def test_a_fill_with_the_label_but_too_little_confidence_is_not_released():
    spec = toys.toy_spec(IMAGE)

    def function(images):
        own = 0.6 + 0.3 * toys.shown(IMAGE, images, FAR[0]).float()
        return torch.stack([1 - own, own], dim=1)

    found = explained(
        toys.ToyClassifier("always decided", spec, function),
        MultiRex(iterations=2, chunk=8, spotlights=2, budget=2, tau=0.9, **BRIEF),
    )
    assert not found.trivial
    assert all(one.confidence >= 0.9 * found.confidence for one in found.explanations)


def test_a_classifier_that_needs_every_pixel_has_a_flat_map_and_no_explanation():
    explainer = MultiRex(iterations=3, spotlights=3, budget=2, **BRIEF)
    with pytest.raises(NoExplanationError, match=r"keeps target 1 \(the map is flat\)"):
        explained(toys.whole_classifier(IMAGE), explainer)


def test_a_target_that_is_not_decided_has_no_explanation():
    classifier = toys.patch_classifier(IMAGE, FAR[0])
    case = toys.toy_case(classifier, IMAGE, target=0)
    with pytest.raises(NoExplanationError, match=r"target 0 is not .*; name that one, or set"):
        run(SMALL.plan(case, Keys.root(0, case.image_id)), classifier)


@pytest.mark.parametrize("max_rows", [1, 7])
def test_the_result_does_not_depend_on_the_batch_size(max_rows):
    classifier = toys.any_classifier(IMAGE, FAR[:2])
    assert same(explained(classifier), explained(classifier, max_rows=max_rows))


def test_the_result_does_not_depend_on_company():
    classifier = toys.any_classifier(IMAGE, FAR[:2])
    alone = explained(classifier)
    case = toys.toy_case(classifier, IMAGE)
    with Engine(classifier, batch_rows=16) as engine:
        tickets = [
            engine.submit(SMALL.plan(case, Keys.root(seed, case.image_id))) for seed in (0, 1, 2)
        ]
        together = [ticket.result(60) for ticket in tickets]
    assert same(alone, together[0])
    assert not torch.equal(together[0].saliency, together[1].saliency)


def test_a_higher_tau_asks_for_more_confidence():
    image = toys.toy_image(SIDE, light=(8, 16, 8, 16))
    classifier = toys.light_classifier(image)
    case = toys.toy_case(classifier, image)
    explainer = MultiRex(iterations=4, chunk=4, spotlights=1, tau=0.9, **BRIEF)
    found = run(explainer.plan(case, Keys.root(0, case.image_id)), classifier)
    assert found.explanations[0].confidence >= 0.9 * found.confidence


def test_events_tell_each_set_as_it_is_found():
    events = []
    found = explained(toys.any_classifier(IMAGE, FAR[:2]), on_event=events.append)
    inner = list(map(innermost, events))
    told = [event.part for event in inner if isinstance(event, Found)]
    assert {id(one) for one in told} == {id(one) for one in found.explanations}
    assert any(isinstance(event, Progress) for event in events)


def test_a_spent_budget_returns_what_was_verified():
    classifier = toys.any_classifier(IMAGE, FAR)
    case = toys.toy_case(classifier, IMAGE)
    counts = []
    with Engine(classifier) as engine:
        for budget in (300, 700, 800):
            before = classifier.rows
            plan = replace(SMALL, walk="every").plan(case, Keys.root(0, case.image_id))
            ticket = engine.submit(plan, limits=Limits(max_inputs=budget))
            sets = ticket.result(60).explanations
            assert ticket.cost.model_inputs == classifier.rows - before <= budget
            assert ticket.cost.stopped == "inputs"
            assert all(suffices(classifier, one.mask) for one in sets)
            counts.append(len(sets))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_stopping_before_any_answer_returns_nothing_found():
    classifier = toys.any_classifier(IMAGE, FAR)
    case = toys.toy_case(classifier, IMAGE)
    plan = SMALL.plan(case, Keys.root(0, case.image_id))
    next(plan)
    plan.send(torch.tensor([[0.1, 0.9], [0.9, 0.1]]))
    assert stop(plan, "seconds").value.explanations == ()


def test_a_threshold_rule_decides_what_keeps_the_label():
    spec = toys.toy_spec(IMAGE, rule=toys.Rule(thresholds=(0.95, 0.3)))
    classifier = toys.patch_classifier(IMAGE, FAR[0], spec=spec)
    found = explained(classifier)
    assert bool((found.explanations[0].mask & box_mask(*FAR[0])).any())


# -- the parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("iterations", 0, "from 1 to 1000"),
        ("tau", 2.5, "from 0 to 2"),
        ("overlap", -0.1, "from 0 to 1"),
        ("merge", "mean", "one of multiplicative, additive"),
        ("chunk", "1.5", "an integer"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(field, value, allowed):
    with pytest.raises(InvalidInputError, match=f"{field} must be .*{allowed}"):
        make_explainer("multirex", {field: value})


def test_the_stages_ask_what_the_engine_counts():
    classifier = toys.any_classifier(IMAGE, FAR)
    case = toys.toy_case(classifier, IMAGE)
    with Engine(classifier) as engine:
        ticket = engine.submit(SMALL.plan(case, Keys.root(0, case.image_id)))
        found = ticket.result(60)
    asked = sum(cost.questions for cost in found.costs)
    assert asked == ticket.cost.model_inputs + ticket.cost.repeated_questions
    stages = [cost.stage for cost in found.costs]
    assert stages == ["target", "responsibility", "walks", "family", "examination"]
    assert found.statistics.passing + found.statistics.failing == found.costs[1].questions


def test_class_maps_are_returned_when_asked_for():
    classifier = toys.patch_classifier(IMAGE, FAR[0])
    assert explained(classifier).class_maps == ()
    (other,) = explained(classifier, replace(SMALL, class_maps=True)).class_maps
    assert other.target == 0
    assert float(other.saliency.max()) == 1


def test_a_target_that_is_not_decided_is_searched_for_when_that_is_allowed():
    classifier = toys.patch_classifier(IMAGE, FAR[0])
    case = toys.toy_case(classifier, IMAGE, target=0)
    explainer = replace(SMALL, allow_non_top1=True)
    found = run(explainer.plan(case, Keys.root(0, case.image_id)), classifier)
    assert found.confidence < 0.5
    assert found.trivial


def test_a_preset_sets_what_is_not_given():
    made = make_explainer("multirex", {"preset": "rex", "spotlights": "3"})
    assert (made.walk, made.pool, made.spotlights) == ("every", False, 3)
    assert make_explainer("multirex", {"preset": "default"}) == MultiRex()


@pytest.mark.parametrize("preset", MultiRex.presets)
def test_every_preset_is_made_of_parameters(preset):
    assert make_explainer("multirex", {"preset": preset}) != MultiRex()


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match="one of default, rex, fast, thorough, got 'best'"):
        make_explainer("multirex", {"preset": "best"})


class TestMultiRexContract(ExplainerContract):
    explainer = MultiRex(
        iterations=4,
        chunk=8,
        spotlights=3,
        spotlight_radius=5,
        budget=2,
        climb_rounds=3,
        restarts=1,
        exclude_rounds=0,
    )
    # The map, the walks, a pair's climb, two members made small.
    max_inputs = 2 + 4 * 14 * 31 + 72 + 2 * (3 * 4 + 72) + 3 + (2 + 3 * 32) + 2 * (3 + 72 + 9 * 10)

    def classifier(self, image):
        return toys.patch_classifier(image, self.patch)
