from dataclasses import replace

import pytest
import torch

from xaiserve.api import outcomes, start
from xaiserve.errors import InvalidInputError, NoExplanationError, QueryBudgetError
from xaiserve.explainers.clear_image import ClearImage
from xaiserve.explainers.clear_image.grid import Flipped
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Found
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.ticket import Limits
from xaiserve.testing.contracts import ExplainerContract, explain, same
from xaiserve.testing.toys import (
    ToyClassifier,
    inside,
    k_of_n_classifier,
    patch_classifier,
    toy_case,
    toy_image,
    toy_spec,
)

SIDE = 40
PATCHES = ((2, 12, 2, 12), (2, 12, 26, 36), (26, 36, 2, 12), (26, 36, 26, 36))
"""Ten pixels a side, apart from each other: after dilation, segments 1 to 4 in this order."""

IMAGE = 0.4 * toy_image(SIDE, light=None) + 0.05
QUICK = ClearImage(segmenter="gan_diff", samples=200)


def with_contrast(case, patches=PATCHES, brighter=0.5):
    contrast = case.image.clone()
    for r0, r1, c0, c1 in patches:
        contrast[:, r0:r1, c0:c1] += brighter
    return replace(case, contrast=Contrast(image=contrast, provider="ideal"))


def k_of_n(k, patches=PATCHES, drawn=PATCHES, **options):
    """Explain a classifier that needs ``k`` of some patches; return both."""
    classifier = k_of_n_classifier(IMAGE, patches, k)
    case = with_contrast(toy_case(classifier, IMAGE), drawn)
    chosen = replace(QUICK, **{"tau": 0.85, **options})
    return explain(chosen, case, classifier), classifier


class TestClearImage(ExplainerContract):
    explainer = QUICK
    max_inputs = 5 + 64
    patch = (4, 14, 8, 18)

    def image(self):
        return IMAGE

    def prepare(self) -> tuple[Case, ToyClassifier]:
        case, classifier = super().prepare()
        return with_contrast(case, (self.patch, *PATCHES[2:])), classifier


def test_each_needed_segment_is_a_counterfactual_by_itself():
    found, _ = k_of_n(2, PATCHES[:2])
    assert [each.segments for each in found.counterfactuals] == [(1,), (2,)]
    assert [each.segments for each in found.sufficient_verified] == [(1, 2)]
    assert not found.overdetermined


def test_segments_that_each_suffice_overdetermine_the_image():
    found, _ = k_of_n(1, PATCHES[:2])
    assert [each.segments for each in found.counterfactuals] == [(1, 2)]
    assert [each.segments for each in found.sufficient_verified] == [(1,), (2,)]
    assert found.overdetermined


def test_triples_are_searched_while_no_pair_flips():
    found, _ = k_of_n(2)
    assert [each.segments for each in found.counterfactuals] == [
        (1, 2, 3), (1, 2, 4), (1, 3, 4), (2, 3, 4)
    ]  # fmt: skip
    assert found.counterfactual_depth == 3


def test_sets_of_four_are_searched_while_no_triple_flips():
    found, _ = k_of_n(1)
    assert [each.segments for each in found.counterfactuals] == [(1, 2, 3, 4)]


def test_nothing_found_within_the_depth_is_said():
    found, _ = k_of_n(1, depth=2)
    assert found.counterfactuals == ()
    assert found.fidelity_mean is None
    assert "no_counterfactual" in found.flags
    assert len(found.flags) == len(found.warnings)


def test_the_lattice_is_exact_where_the_search_is_cut_short():
    found, _ = k_of_n(1, depth=2)
    assert found.lattice.counterfactuals == ((1, 2, 3, 4),)
    assert found.lattice.sufficient == ((1,), (2,), (3,), (4,))
    torch.testing.assert_close(found.lattice.shapley[1:], torch.full((4,), 0.2).double())


def test_no_lattice_where_there_are_too_many_masks():
    found, classifier = k_of_n(2, PATCHES[:2], exact_up_to=31)
    assert found.lattice is None
    assert classifier.rows <= 5 + 31 + 4


def test_a_label_may_be_kept_by_being_low():
    """The other way round: replacing raises the probability over the boundary."""
    toy = k_of_n_classifier(IMAGE, PATCHES[:2], 2)
    case = with_contrast(toy_case(toy, IMAGE, target=0))
    found = explain(QUICK, case, toy)
    assert [each.segments for each in found.counterfactuals] == [(1,), (2,)]
    assert "low_probability" in found.flags
    parity = explain(replace(QUICK, mode="parity"), case, toy)
    assert [each.segments for each in parity.counterfactuals] == [(1,), (2,)]


def test_parity_goes_deeper_only_while_all_probabilities_are_half_or_more():
    toy = k_of_n_classifier(IMAGE, PATCHES, 2)
    case = with_contrast(toy_case(toy, IMAGE, target=0))
    strict = explain(QUICK, case, toy)
    parity = explain(replace(QUICK, mode="parity"), case, toy)
    assert strict.counterfactual_depth == 3
    assert parity.counterfactual_depth == 2


def test_saliency_is_a_segment_s_weight_over_its_area():
    found, _ = k_of_n(2, PATCHES[:2])
    weights = {term.segments: term.weight for term in found.regression.terms}
    for segment in found.segments[1:3]:
        inside_it = found.saliency[found.labels == segment.id]
        expected = torch.full_like(inside_it, weights[(segment.id,)] / segment.area_px)
        torch.testing.assert_close(inside_it, expected)
    assert bool((found.saliency[found.labels == 0] == 0).all())


def test_the_report_says_what_each_segment_does_without_and_alone():
    found, _ = k_of_n(1, PATCHES[:1])
    one, two = found.segments[1:3]
    assert one.p_without == pytest.approx(0.1)
    assert one.p_alone == pytest.approx(0.9)
    assert two.p_without == pytest.approx(0.9)
    assert two.p_alone == pytest.approx(0.1)
    assert one.box == (1, 1, 13, 13)


def test_a_contrast_that_does_not_flip_is_flagged():
    found, _ = k_of_n(1, ((16, 20, 16, 20),))
    assert "contrast_not_flipped" in found.flags
    assert found.p0 == found.p1 == pytest.approx(0.9)


def test_change_outside_all_segments_is_flagged_and_weighs_on_the_background():
    classifier = patch_classifier(IMAGE, (16, 20, 16, 20))
    case = with_contrast(toy_case(classifier, IMAGE), (PATCHES[0],))
    contrast = case.contrast.image.clone()
    contrast[:, 14:39, 14:39] += 0.2
    found = explain(
        QUICK, replace(case, contrast=Contrast(image=contrast, provider="file")), classifier
    )
    assert {"leakage", "background_too_large", "no_counterfactual"} <= set(found.flags)
    assert found.leakage > 0.5


def test_a_constant_classifier_is_explained_by_nothing():
    found, _ = k_of_n(0)
    assert not found.saliency.any() or float(found.saliency.abs().max()) < 1e-3
    assert found.counterfactuals == ()


def saturated(image):
    """Probabilities of exactly 0 and 1."""

    def function(images):
        own = (inside(images - image, PATCHES[0]).abs().amax(dim=(1, 2, 3)) < 1e-4).float()
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier("saturated", toy_spec(image), function)


def test_perfect_separation_is_flagged_and_parity_has_no_answer():
    classifier = saturated(IMAGE)
    case = with_contrast(toy_case(classifier, IMAGE))
    found = explain(QUICK, case, classifier)
    assert {"perfect_separation", "poor_data"} <= set(found.flags)
    assert [each.segments for each in found.counterfactuals] == [(1,)]
    with pytest.raises(NoExplanationError, match="perfect_separation"):
        explain(replace(QUICK, mode="parity"), case, classifier)


def test_counterfactuals_are_told_as_they_are_found():
    classifier = k_of_n_classifier(IMAGE, PATCHES[:2], 2)
    case = with_contrast(toy_case(classifier, IMAGE))
    events = []
    run(QUICK.plan(case, Keys.root(0, "")), classifier, on_event=events.append)
    told = [event.part for event in events if isinstance(event, Found)]
    assert [(part.segments, pytest.approx(part.p)) for part in told] == [((1,), 0.1), ((2,), 0.1)]
    assert all(isinstance(part, Flipped) for part in told)


def spent(max_inputs, explainer=QUICK):
    classifier = k_of_n_classifier(IMAGE, PATCHES[:2], 2)
    case = with_contrast(toy_case(classifier, IMAGE))
    with Engine(classifier) as engine:
        ticket = start(engine, explainer, case, limits=Limits(max_inputs=max_inputs))
        return ticket.result()


def test_a_budget_that_covers_the_pairs_is_answered_with_what_was_found():
    found = spent(24)
    assert found.ending == "stopped"
    assert [each.segments for each in found.counterfactuals] == [(1,), (2,)]
    assert found.lattice is None


def test_a_budget_below_the_pairs_has_nothing_to_give():
    with pytest.raises(QueryBudgetError):
        spent(8)


def test_a_budget_that_suffices_changes_nothing():
    full = spent(None)
    assert full.ending == "complete"
    same(spent(100), full)


def test_results_do_not_depend_on_workers_or_company():
    classifier = k_of_n_classifier(IMAGE, PATCHES[:2], 2)
    cases = [
        replace(with_contrast(toy_case(classifier, IMAGE)), image_id=str(number))
        for number in range(4)
    ]
    with Engine(classifier) as engine:
        together = [each.explanation for each in outcomes(QUICK, engine, cases)]
    for case, found in zip(cases, together, strict=True):
        with Engine(classifier) as engine:
            ticket = start(engine, QUICK, case)
            same(ticket.result(), found)


def test_a_supplied_label_map_is_taken():
    labels = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    labels[:20, :20] = 1
    labels[20:, 20:] = 2
    classifier = patch_classifier(IMAGE, PATCHES[0])
    case = replace(with_contrast(toy_case(classifier, IMAGE)), labels=labels)
    found = explain(replace(QUICK, segmenter="supplied"), case, classifier)
    assert [each.segments for each in found.counterfactuals] == [(1,)]
    assert {each.kind for each in found.segments} == {"background", "supplied"}


@pytest.mark.parametrize(
    "options",
    [
        {"regression": "multiple"},
        {"regression": "multiple", "score": "adjusted-r2", "mode": "parity"},
        {"interactions": True},
        {"counterfactual_interactions": True},
        {"score": "pseudo-r2"},
        {"mode": "parity"},
        {"all_segments": True},
        {"boundary": 0.3},
    ],
)
def test_every_option_finds_the_same_counterfactuals(options):
    found, _ = k_of_n(1, PATCHES[:2], **options)
    assert [each.segments for each in found.counterfactuals] == [(1, 2)]
    if not {"regression", "counterfactual_interactions"} & set(options):
        assert found.fidelity_max < 0.1


def test_a_case_without_contrast_is_refused():
    classifier = patch_classifier(IMAGE, PATCHES[0])
    with Engine(classifier) as engine, pytest.raises(InvalidInputError, match="contrast picture"):
        start(engine, QUICK, toy_case(classifier, IMAGE))


def test_nothing_overdetermines_an_image_whose_contrast_keeps_the_label():
    found, _ = k_of_n(0)
    assert found.p0 == pytest.approx(0.9)
    assert found.sufficient_verified == ()
    assert not found.overdetermined
    assert found.lattice.sufficient == ((),)
