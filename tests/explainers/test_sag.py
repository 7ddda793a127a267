from dataclasses import replace

import torch
from torch import nn

import xaiserve
from xaiserve.explainers.baselines.sag import Sag
from xaiserve.perturb.compose import Composer
from xaiserve.perturb.drive import answer
from xaiserve.perturb.plan import Done, Event, Progress, Spent, step, stop
from xaiserve.perturb.query import enlarged
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, exhaust, explain, same
from xaiserve.testing.toys import (
    EVIDENCE,
    ToyClassifier,
    inside,
    light_classifier,
    toy_case,
    toy_image,
    toy_spec,
)

PATCH = (4, 12, 8, 16)
IMAGE = toy_image(25, seed=3)
CELLS = 7
A, B, C = 8, 12, 38
"""Patches at rows and columns (1, 1), (1, 5) and (5, 3) of the grid: centres 4 pixels apart."""


def around(patch):
    """Three pixels a side around the centre of a patch, where it shows most of the image."""
    row, column = (4 * place for place in divmod(patch, CELLS))
    return (row - 1, row + 2, column - 1, column + 2)


class Sights(nn.Module):
    """Probability that any, or all, of some places are seen, each by how bright it is."""

    def __init__(self, places, needed):
        super().__init__()
        self.places, self.needed = places, needed

    def forward(self, images):
        shares = [
            inside(images, place).flatten(1).mean(1) / inside(IMAGE, place).mean()
            for place in self.places
        ]
        seen = torch.sigmoid(20 * (torch.stack(shares) - 0.5))
        own = 1 - (1 - seen).prod(0) if self.needed is any else seen.prod(0)
        return torch.stack([1 - own, own], dim=1)


class SightClassifier(ToyClassifier):
    """`Sights` with gradients."""

    def __init__(self, patches, needed):
        self.module = Sights([around(patch) for patch in patches], needed)
        super().__init__(f"{needed} of {patches}", toy_spec(IMAGE), self.module)

    def gradients(self):
        return self

    def logits(self, images):
        return self.module(images)


def found(patches, needed, **options):
    classifier = SightClassifier(patches, needed)
    return explain(Sag(**options), toy_case(classifier, IMAGE), classifier)


class TestSag(ExplainerContract):
    explainer = Sag(fill="neutral", cells=5, beam=1, successors=4, max_roots=2, steps=8)
    max_inputs = 2 * (8 + 14) + 100
    patch = PATCH

    def image(self):
        return toy_image(24, light=PATCH)

    def classifier(self, image):
        spec = toy_spec(image, mean=0.4, std=0.2)
        return light_classifier(image, spec=replace(spec, activation="softmax"))


def test_each_of_several_places_is_a_root_where_one_is_enough():
    explanation = found((A, B, C), any, max_roots=2)
    assert {root.patches for root in explanation.explanations} == {(A,), (B,), (C,)}
    assert explanation.family == explanation.selected == (0, 1, 2)


def test_the_only_root_holds_every_place_where_all_are_needed():
    explanation = found((A, B, C), all, max_roots=1)
    roots = {root.patches for root in explanation.explanations}
    assert (A, B, C) in roots
    assert all({A, B, C} <= {*root} for root in roots)
    assert explanation.family == (0,)


def test_every_root_keeps_the_score_and_no_patch_of_it_may_go():
    explanation = found((A, B), all, max_roots=1)
    classifier = SightClassifier((A, B), all)
    floor = 0.9 * explanation.confidence
    for root in explanation.explanations:
        sets = [root.patches, *({*root.patches} - {one} for one in root.patches)]
        whole, *less = (own_score(classifier, one) for one in sets)
        assert whole == root.confidence > floor
        assert max(less) <= floor


def own_score(classifier, patches):
    """Score some patches over black, alone, composed by hand."""
    grid = torch.zeros(1, CELLS**2)
    grid[0, list(patches)] = 1
    shown = IMAGE * enlarged(grid.view(1, CELLS, CELLS), 25, 25)
    return float(classifier.scores(shown.unsqueeze(0))[0, EVIDENCE])


def test_a_root_s_mask_is_where_its_patches_show_half_of_the_image():
    (root, *_) = found((A, B, C), any, max_roots=2).explanations
    # Tents of 4 pixels: a product of two is one half up to 2 pixels off, straight.
    row, column = (4 * place for place in divmod(root.patches[0], CELLS))
    assert bool(root.mask[row, column - 2])
    assert not bool(root.mask[row, column - 3])
    assert not bool(root.mask[row - 2, column - 1])
    assert root.area_px == int(root.mask.sum()) == 13
    assert root.area_fraction == 13 / 25**2


def test_the_graph_starts_at_the_selected_roots_and_ends_where_the_score_is_lost():
    explanation = found((A, B, C), all, max_roots=1, graph_threshold=0.4)
    bound = 0.4 * explanation.confidence
    below = [explanation.nodes[child] for _, child in explanation.edges]
    assert explanation.nodes[0].patches == explanation.explanations[0].patches
    assert {node.patches for node in below} == {(A, B), (A, C), (B, C)}
    assert all(node.confidence <= bound for node in below)


def test_without_children_there_is_no_graph():
    assert found((A, B), any, max_roots=1, children=0).nodes == ()


def test_a_fill_that_keeps_the_score_is_trivial_and_nothing_is_searched():
    module = nn.Sequential(nn.Flatten(), nn.Linear(IMAGE.numel(), 2), nn.Softmax(dim=1))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    classifier = SightClassifier((A,), any)
    classifier.module = module
    classifier._function = module
    explanation = explain(Sag(), toy_case(classifier, IMAGE), classifier)
    assert explanation.trivial
    assert [root.kind for root in explanation.explanations] == ["empty"]
    assert (explanation.selected, explanation.nodes) == ((), ())
    assert classifier.rows == 2


def test_the_black_fill_is_the_default_and_others_are_neutral_and_blur():
    classifier = SightClassifier((A,), any)
    case = toy_case(classifier, IMAGE)
    assert not Sag()._fill(case).any()
    assert torch.equal(Sag(fill="neutral")._fill(case), case.neutral.expand_as(IMAGE))
    assert float((Sag(fill="blur")._fill(case) - IMAGE).abs().mean()) > 0


def stopped_after(rounds):
    """Run a search of three places for some rounds and then stop it."""
    classifier = SightClassifier((A, B, C), any)
    case = toy_case(classifier, IMAGE)
    _, plan = exhaust(Sag().attribute(classifier, case, Keys.root(0, case.image_id)))
    composer = Composer(classifier, 64)
    turn = step(plan)
    while rounds and not isinstance(turn, Done):
        if isinstance(turn, Event):
            turn = step(plan)
        else:
            turn = step(plan, answer(turn, classifier, composer))
            rounds -= 1
    return stop(plan, "inputs").value


def test_a_stopped_search_returns_the_roots_it_has():
    assert [len(stopped_after(rounds).explanations) for rounds in (1, 2)] == [0, 0]
    explanation = stopped_after(8)
    assert len(explanation.explanations) == len(explanation.family) == 3
    assert explanation.nodes == ()


def test_the_engine_answers_the_search_and_the_result_is_the_same():
    classifier = SightClassifier((A, B, C), any)
    case = toy_case(classifier, IMAGE)
    (there,) = xaiserve.explain(Sag(max_roots=2), classifier, [case])
    keys = Keys.root(0, case.image_id).child("sag")
    events, plan = exhaust(Sag(max_roots=2).attribute(classifier, case, keys))
    assert sum(event.rows for event in events if isinstance(event, Spent)) >= 2 * (20 + 2)
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2]
    turn = step(plan)
    composer = Composer(classifier, 7)
    while not isinstance(turn, Done):
        turn = (
            step(plan)
            if isinstance(turn, Event)
            else step(plan, answer(turn, classifier, composer))
        )
    same(turn.value, there)
