"""Walks, discs and spotlights against brute force and slow twins."""

import math
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.explainers.multirex.extraction import Extraction
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.places import Places
from xaiserve.explainers.multirex.ranking import growing_radii, ranking
from xaiserve.explainers.multirex.spotlights import extractions, spatial, spotlight
from xaiserve.explainers.multirex.walks import Steps, first_passing
from xaiserve.perturb.drive import run
from xaiserve.perturb.plan import Done, Goal, gather, step
from xaiserve.perturb.query import Query, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys

SIDE = 24
IMAGE = toys.toy_image(SIDE)
PATCH = (2, 7, 12, 17)
WALKS = ["every", "bracket"]
OPTIONS = MultiRexOptions(
    chunk=4, spotlights=6, spotlight_radius=4, spatial_radius=3, scale_radii=False
)


def random_map(seed=0, levels=40):
    drawn = Keys.root(seed, "map").generator().integers(0, levels, (SIDE, SIDE))
    return torch.from_numpy((drawn / levels).astype(np.float32))


def hill(row, column, width=5.0, height=1.0):
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return height * torch.exp(-((rows - row) ** 2 + (columns - column) ** 2).float() / width**2)


def extraction(classifier, saliency, options=OPTIONS, floor=0.0):
    case = toys.toy_case(classifier, IMAGE)
    scene = Scene(IMAGE, case.neutral.expand_as(IMAGE).clone())
    return Extraction(scene, Goal(case.rule, case.target, floor), saliency, options)


def suffices(classifier, mask, floor=0.0):
    scores = classifier.scores(torch.where(mask, IMAGE, torch.zeros_like(IMAGE)).unsqueeze(0))[0]
    return int(scores.argmax()) == toys.EVIDENCE and float(scores[toys.EVIDENCE]) >= floor


def disc_mask(row, column, radius):
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def rounds(plan, classifier):
    """Run a plan; return its result and the rows of each of its questions."""
    asked = []

    def watched():
        turn = step(plan)
        while not isinstance(turn, Done):
            if isinstance(turn, Query):
                asked.append(len(turn))
                turn = step(plan, (yield turn))
            else:
                turn = step(plan)
        return turn.value

    return run(watched(), classifier), asked


# -- walks, on trials whose outcome is written down ---------------------------------------------


@dataclass
class Outcome:
    passes: torch.Tensor


class Trial:
    """Says of each size what a table says, and counts."""

    def __init__(self, passing, alone=None):
        self.passing, self.alone = passing, passing if alone is None else alone
        self.rows = 0

    def __call__(self, sizes, alone):
        self.rows += len(sizes)
        table = self.alone if alone else self.passing
        yield from ()
        return Outcome(torch.tensor([table(size) for size in sizes]))


def walked(trial, steps, walk):
    return step(first_passing(trial, steps, walk)).value


tables = st.lists(st.booleans(), min_size=1, max_size=120)


@given(tables, st.integers(1, 7), st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_trying_every_size_finds_the_smallest_that_passes(table, chunk, short):
    steps = Steps(chunk, max(1, len(table) * chunk - short))
    sizes = steps.sizes(range(1, steps.count + 1))
    passing = dict(zip(sizes, table, strict=False))
    hit = walked(Trial(passing.__getitem__), steps, "every")
    assert (hit and hit.size) == next((size for size in sizes if passing[size]), None)


@given(tables, st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_a_bracket_ends_at_a_size_that_passes_after_one_that_does_not(table, chunk):
    passing = {chunk * (i + 1): value for i, value in enumerate(table)}
    hit = walked(Trial(passing.__getitem__), Steps(chunk, chunk * len(table)), "bracket")
    if hit is None:
        assert not table[-1]
    else:
        assert passing[hit.size]
        assert not passing.get(hit.size - chunk, False)


@given(st.integers(1, 50_176))
@settings(max_examples=200, deadline=None)
def test_a_bracket_of_a_monotone_trial_is_exact_at_sixty_inputs(needed):
    trial = Trial(lambda size: size >= needed)
    hit = walked(trial, Steps(10, 224 * 224), "bracket")
    assert hit.size == min(math.ceil(needed / 10) * 10, 224 * 224)
    assert trial.rows <= 60


@pytest.mark.parametrize("walk", WALKS)
def test_a_size_that_fails_alone_is_extended_by_whole_steps(walk):
    trial = Trial(lambda size: size >= 40, alone=lambda size: size >= 70)
    hit = walked(trial, Steps(10, 200), walk)
    assert (hit.first, hit.size) == (40, 70)


@pytest.mark.parametrize("walk", WALKS)
def test_a_size_that_fails_alone_up_to_the_end_is_none(walk):
    trial = Trial(lambda size: size >= 40, alone=lambda _: False)
    assert walked(trial, Steps(10, 205), walk) is None


@pytest.mark.parametrize("walk", WALKS)
def test_nothing_passes_and_the_walk_ends(walk):
    trial = Trial(lambda _: False)
    assert walked(trial, Steps(10, 1000), walk) is None
    assert trial.rows <= 100


# -- prefixes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_passing_prefix_of_a_monotone_classifier_equals_brute_force(walk, seed):
    classifier = toys.brightness_classifier(IMAGE, 0.25)
    saliency = random_map(seed)
    found = run(extraction(classifier, saliency, replace(OPTIONS, walk=walk)).whole(), classifier)
    order = sorted(
        range(SIDE * SIDE), key=lambda i: (float(saliency.flatten()[i]), i), reverse=True
    )
    mask = torch.zeros(SIDE * SIDE, dtype=torch.bool)
    for size in range(0, SIDE * SIDE, 4):
        mask[order[size : size + 4]] = True
        if suffices(classifier, mask.view(SIDE, SIDE)):
            break
    assert torch.equal(found.mask, mask.view(SIDE, SIDE))
    assert (found.kind, found.extended_by, found.ranked_px) == ("global", 0, found.area_px)


@pytest.mark.parametrize("walk", WALKS)
def test_a_prefix_keeps_the_confidence_asked_for_and_loses_it_a_step_earlier(walk):
    classifier = toys.graded_patch_classifier(IMAGE, PATCH)
    saliency = random_map()
    searched = extraction(classifier, saliency, replace(OPTIONS, walk=walk), floor=0.8)
    found = run(searched.whole(), classifier)
    assert found.confidence >= 0.8
    assert not suffices(classifier, ranking(saliency) < found.area_px - 4, floor=0.8)


@pytest.mark.parametrize("walk", WALKS)
def test_more_confidence_than_any_prefix_has_is_not_found(walk):
    classifier = toys.patch_classifier(IMAGE, PATCH)
    searched = extraction(classifier, random_map(), replace(OPTIONS, walk=walk), floor=0.95)
    assert run(searched.whole(), classifier) is None


def test_a_walk_over_a_part_of_the_picture_stays_inside_it():
    classifier = toys.brightness_classifier(IMAGE, 0.1)
    inside = disc_mask(12, 12, 9)
    found = run(extraction(classifier, random_map()).prefix("exclude", inside), classifier)
    assert found.kind == "exclude"
    assert not bool((found.mask & ~inside).any())


@pytest.mark.parametrize("max_rows", [1, 7])
@pytest.mark.parametrize("walk", WALKS)
def test_walks_do_not_depend_on_the_batch_size(walk, max_rows):
    classifier = toys.any_classifier(IMAGE, [PATCH, (15, 20, 3, 8)])
    options = replace(OPTIONS, walk=walk, spatial=True)

    def masks(rows):
        walks = extractions(extraction(classifier, hill(10, 8), options), Keys.root(0, "x"))
        found = run(gather(walks), classifier, max_rows=rows)
        return [one and one.mask.tolist() for one in found]

    assert masks(max_rows) == masks(64)


def test_ties_of_the_ranking_go_to_the_larger_index():
    assert ranking(torch.tensor([[0.5, 1.0], [1.0, 0.5]])).tolist() == [[3, 1], [0, 2]]


# -- discs --------------------------------------------------------------------------------------


def test_radii_are_the_published_ones():
    assert list(islice(growing_radii(25, 0.2), 4)) == [25, 30, 36, 43]


def test_radii_grow_on_small_pictures():
    assert list(islice(growing_radii(1, 0.2), 4)) == [1, 2, 3, 4]


def test_spatial_walks_inside_the_first_sufficient_disc_around_the_peak():
    classifier = toys.patch_classifier(IMAGE, PATCH)
    saliency = hill(14, 9)
    found = run(spatial(extraction(classifier, saliency)), classifier)
    assert (found.kind, found.centre_row, found.centre_column) == ("spatial", 14, 9)
    radius = 3
    while not suffices(classifier, disc_mask(14, 9, radius)):
        radius = max(math.floor(radius * 1.2), radius + 1)
    assert found.radius_px == radius
    disc = disc_mask(14, 9, radius)
    assert torch.equal(found.mask, ranking(saliency, disc) < found.area_px)
    assert not suffices(classifier, ranking(saliency, disc) < found.area_px - 4)


def test_spatial_reaches_the_whole_picture_and_stops_there():
    needs_all = toys.whole_classifier(IMAGE)
    found = run(spatial(extraction(needs_all, hill(2, 2))), needs_all)
    assert found.area_px == SIDE * SIDE
    never = toys.patch_classifier(IMAGE, PATCH)
    assert run(spatial(extraction(never, hill(2, 2), floor=0.95)), never) is None
    assert never.rows < 40


# -- spotlights ---------------------------------------------------------------------------------


def visited(saliency, options, count=20, seed=0, first=None):
    places = Places.of(saliency, options)
    return places, list(places.visit(Keys.root(seed, "visit"), count, first))


def test_spotlights_never_look_twice_at_a_place():
    for objective in ("none", "mean"):
        _, seen = visited(hill(12, 12), replace(OPTIONS, objective=objective), SIDE * SIDE + 5)
        assert len(seen) == len(set(seen)) == SIDE * SIDE


def test_a_spotlights_set_is_a_prefix_of_the_ranking_inside_its_smallest_sufficient_disc():
    classifier = toys.patch_classifier(IMAGE, PATCH)
    saliency = random_map()
    found = run(spotlight(extraction(classifier, saliency), iter([(20, 3), (6, 12)])), classifier)
    assert (found.centre_row, found.centre_column) == (6, 12)
    radii = [radius for radius in (4, 5, 6, 7) if suffices(classifier, disc_mask(6, 12, radius))]
    assert found.radius_px == radii[0]
    disc = disc_mask(6, 12, radii[0])
    assert torch.equal(found.mask, ranking(saliency, disc) < found.area_px)


def test_all_spotlights_ask_together_round_by_round():
    never = toys.patch_classifier(IMAGE, PATCH)
    options = replace(OPTIONS, budget=3)
    searched = extraction(never, torch.zeros(SIDE, SIDE), options, floor=0.95)
    found, asked = rounds(gather(extractions(searched, Keys.root(0, "x"))), never)
    assert found == [None] * 5
    assert asked == [5 * options.no_expansions] * 4


@pytest.mark.parametrize("objective", ["mean", "max"])
def test_a_climbing_spotlight_never_steps_down(objective):
    options = replace(OPTIONS, objective=objective, spotlight_step=2)
    places, seen = visited(hill(12, 12), options, count=30, first=(1, 1))
    weights = [places.weigh(place) for place in seen]
    steps = [
        (before, after)
        for (one, before), (other, after) in pairwise(zip(seen, weights, strict=True))
        if abs(one[0] - other[0]) == abs(one[1] - other[1]) == 2
    ]
    assert len(steps) >= 5
    assert all(after >= before for before, after in steps)


def test_the_objective_is_the_maps_over_the_discs_pixels():
    saliency = random_map()
    for row, column in ((0, 0), (12, 5), (23, 20)):
        inside = saliency[disc_mask(row, column, 4)]
        mean = Places.of(saliency, replace(OPTIONS, objective="mean"))
        assert mean.weigh((row, column)) == pytest.approx(float(inside.double().mean()))
        highest = Places.of(saliency, replace(OPTIONS, objective="max"))
        assert highest.weigh((row, column)) == float(inside.max())


def test_on_a_flat_map_spotlights_do_not_climb():
    flat = torch.zeros(SIDE, SIDE)
    climbing = visited(flat, replace(OPTIONS, objective="mean"))[1]
    assert climbing == visited(flat, OPTIONS)[1]


def test_spotlights_begin_at_the_highest_peaks_and_then_anywhere():
    saliency = hill(4, 4, 2.0, 0.9) + hill(4, 18, 2.0, 0.5) + hill(19, 11, 2.0, 1.0)
    places = Places.of(saliency, replace(OPTIONS, start="peaks"))
    assert places.starts(5) == [(19, 11), (4, 4), (4, 18), None, None]
    assert places.starts(2) == [(19, 11), (4, 4)]


def test_a_plateau_is_taken_once_per_disc():
    saliency = torch.zeros(SIDE, SIDE)
    saliency[3:20, 3:20] = 1.0
    starts = Places.of(saliency, replace(OPTIONS, start="peaks")).starts(3)
    assert starts[0] == (3, 3)
    assert all(
        (a - c) ** 2 + (b - d) ** 2 > 16 for i, (a, b) in enumerate(starts) for c, d in starts[:i]
    )


def test_a_flat_map_has_no_peaks():
    assert Places.of(torch.zeros(SIDE, SIDE), replace(OPTIONS, start="peaks")).starts(2) == [
        None,
        None,
    ]


def test_radii_and_steps_scale_with_the_picture():
    options = MultiRexOptions(spotlight_step=14)
    places = Places.of(torch.zeros(112, 200), options)
    assert (places.radius, places.step) == (12, 7)
