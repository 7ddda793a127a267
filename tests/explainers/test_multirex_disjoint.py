"""Sets that share no pixel: the pool, the search for a pair, pruning, and all three together."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.pairs import PairSearch, grid, root_partitions
from xaiserve.explainers.multirex.pool import Pool, painted
from xaiserve.explainers.multirex.pruning import Pruning
from xaiserve.explainers.multirex.seen import SeenSets, Sightings
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Goal
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.ticket import Limits
from xaiserve.testing import toys

SIDE = 24
IMAGE = toys.toy_image(SIDE)
FAR = [(2, 7, 2, 7), (2, 7, 17, 22), (17, 22, 2, 7), (17, 22, 17, 22)]
SURE = 1.0
"""The confidence of `sharing_classifier` in a whole image, nearly."""


def sharing_classifier(share: float) -> toys.ToyClassifier:
    """Decide when ``share`` of the centre's pixels are shown; the more, the more confident."""

    def function(images):
        seen = toys.same_pixels(IMAGE, images)[:, 6:18, 6:18].float().mean(dim=(1, 2))
        own = torch.sigmoid(20 * (seen - share))
        return torch.stack([1 - own, own], dim=1)

    return toys.ToyClassifier(f"share {share}", toys.toy_spec(IMAGE), function)


def scene_of(case) -> Scene:
    return Scene(case.image, case.neutral.expand_as(case.image).clone())


def sightings(sets, passes, *, roots=False) -> SeenSets:
    seen = SeenSets()
    areas = [sum((b[1] - b[0]) * (b[3] - b[2]) for b in boxes) for boxes in sets]
    seen.add(
        Sightings(
            boxes=np.array([box for boxes in sets for box in boxes], np.int32).reshape(-1, 4),
            count=np.array([len(boxes) for boxes in sets], np.int32),
            areas=np.array(areas, np.int32),
            margins=np.zeros(len(sets), np.float32),
            passes=np.array(passes, bool),
            roots=np.full(len(sets), roots),
        )
    )
    return seen


def explained(classifier, limits=None, **options):
    case = toys.toy_case(classifier, IMAGE)
    explainer = MultiRex(iterations=6, chunk=2, prune_block_px=2, **options)
    with Engine(classifier, batch_rows=32) as engine:
        keys = Keys.root(0, case.image_id)
        ticket = engine.submit(explainer.plan(case, keys), limits=limits or Limits())
        return ticket.result(60)


def suffices(classifier, mask) -> bool:
    case = toys.toy_case(classifier, IMAGE)
    shown = torch.where(mask, IMAGE, case.neutral.expand_as(IMAGE))
    return int(classifier.scores(shown.unsqueeze(0))[0].argmax()) == case.target


box = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda b: (min(b[:2]), max(b[:2]), min(b[2:]), max(b[2:]))
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(box, st.booleans()), min_size=1, max_size=12), box)
def test_the_pool_finds_what_painting_every_set_finds(sets, used):
    seen = sightings([[one] for one, _ in sets], [passing for _, passing in sets])
    pool = Pool(seen, 12, 12)
    order = sorted(
        (one for one, passing in sets if passing and painted_area(one) < 144), key=painted_area
    )
    masks = [painted(np.array([one], np.int32), 12, 12) for one in order]
    found = [(int(a.sum()), int(b.sum())) for a, b in pool.pairs()]
    expected = [
        (int(masks[i].sum()), int(masks[j].sum()))
        for j in range(len(masks))
        for i in range(j)
        if not bool((masks[i] & masks[j]).any())
    ]
    assert found == expected
    taken = painted(np.array([used], np.int32), 12, 12)
    beside = [int(one.sum()) for one in pool.beside(taken)]
    assert beside == [int(one.sum()) for one in masks if not bool((one & taken).any())]


def painted_area(one) -> int:
    return (one[1] - one[0]) * (one[3] - one[2])


def test_a_pair_that_shares_the_decisive_region_is_climbed_to():
    classifier = sharing_classifier(0.42)
    case = toys.toy_case(classifier, IMAGE)
    left = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    left[:, :9] = True
    search = PairSearch(scene_of(case), Goal(case.rule, case.target), rounds=60)
    found = run(search.run([(left, ~left)], Keys.root(0, "pair")), classifier)
    assert not suffices(classifier, left)
    assert found is not None
    assert not bool((found[0] & found[1]).any())
    assert all(suffices(classifier, side) for side in found)


def test_a_pair_that_passes_at_the_start_is_not_climbed():
    classifier = sharing_classifier(0.3)
    case = toys.toy_case(classifier, IMAGE)
    left = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    left[:, :12] = True
    search = PairSearch(scene_of(case), Goal(case.rule, case.target), rounds=60)
    before = classifier.rows
    assert run(search.run([(left, ~left)], Keys.root(0, "pair")), classifier)
    assert classifier.rows - before == 2


def test_a_pair_that_does_not_exist_ends_after_the_rounds_allowed():
    classifier = toys.all_classifier(IMAGE, [FAR[0], FAR[3]])
    case = toys.toy_case(classifier, IMAGE)
    left = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    left[:12] = True
    search = PairSearch(scene_of(case), Goal(case.rule, case.target), rounds=5)
    assert run(search.run([(left, ~left)], Keys.root(0, "pair")), classifier) is None


def test_a_picture_that_was_never_cut_has_no_pair():
    with pytest.raises(NoExplanationError, match="lower min_box_area"):
        explained(sharing_classifier(0.3), min_box_area=SIDE**2 + 1)


def test_the_partitions_nearest_to_passing_come_first_and_are_complements():
    rng = np.random.default_rng(0)
    sets = [[(0, 4, 0, i + 1)] for i in range(14)]
    seen = sightings(sets, [False] * 14, roots=True)
    margins = rng.normal(size=14).astype(np.float32)
    seen.columns.margins[:] = margins
    found = root_partitions(seen, 24, 24, 3)
    weaker = sorted(range(7), key=lambda i: -min(margins[i], margins[13 - i]))[:3]
    assert [int(left.sum()) for left, _ in found] == [4 * (i + 1) for i in weaker]
    assert all(torch.equal(right, ~left) for left, right in found)


def test_the_grid_covers_every_cell_of_odd_sizes():
    labels = grid(31, 17, 8)
    assert labels.shape == (31, 17)
    assert torch.bincount(labels.flatten()).min() >= 6
    assert int(labels.max()) == 63


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_pruned_set_passes_and_cannot_spare_a_block(share):
    classifier = sharing_classifier(share)
    case = toys.toy_case(classifier, IMAGE)
    whole = torch.ones(SIDE, SIDE, dtype=torch.bool)
    pruning = Pruning(
        scene_of(case), Goal(case.rule, case.target), torch.zeros(SIDE, SIDE), 4, block_px=2
    )
    pruned = run(pruning.spared(whole), classifier)
    assert suffices(classifier, pruned)
    assert int(pruned.sum()) < 2 * share * 144
    for r, c in combinations(range(0, SIDE, 2), 2):
        without = pruned.clone()
        without[r : r + 2, c : c + 2] = False
        assert torch.equal(without, pruned) or not suffices(classifier, without)


def test_ranking_first_keeps_a_prefix_of_the_map_inside_the_set():
    classifier = toys.patch_classifier(IMAGE, FAR[0])
    case = toys.toy_case(classifier, IMAGE)
    saliency = torch.zeros(SIDE, SIDE)
    saliency[2:7, 2:7] = 1
    left = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    left[:, :12] = True
    pruning = Pruning(scene_of(case), Goal(case.rule, case.target), saliency, 5, block_px=2)
    assert torch.equal(run(pruning.ranked(left), classifier), saliency > 0)


def test_members_share_no_pixel_and_each_is_sufficient():
    classifier = toys.any_classifier(IMAGE, FAR)
    found = explained(classifier)
    members = [one for one in found.explanations if one.kind != "global"]
    assert len(members) >= 4
    assert int(torch.stack([one.mask for one in members]).sum(dim=0).max()) == 1
    assert all(suffices(classifier, one.mask) for one in members)
    assert len(found.selected) >= 4


def test_two_sets_are_found_where_the_first_minimal_set_would_leave_nothing():
    classifier = sharing_classifier(0.45)
    alone = explained(classifier, pool=False, pairs=False, exclude=True, exclude_iterations=0)
    both = explained(classifier, climb_rounds=60)
    assert len(both.selected) == 2
    assert len(alone.selected) <= len(both.selected)


def test_the_family_is_no_larger_than_asked_for():
    classifier = toys.any_classifier(IMAGE, FAR)
    for most in (1, 2):
        found = explained(classifier, max_explanations=most)
        assert sum(one.kind != "global" or one.pruned_px > 0 for one in found.explanations) == most


def test_the_smallest_of_a_family_that_walks_made_larger_than_asked_for_are_selected():
    options = {"spotlights": 8, "spotlight_radius": 5, "scale_radii": False, "pool": False}
    classifier = toys.any_classifier(IMAGE, FAR)
    every = explained(classifier, pairs=False, exclude=False, **options)
    some = explained(classifier, pairs=False, exclude=False, max_explanations=2, **options)
    assert len(every.selected) > 2
    areas = [[found.explanations[i].area_px for i in found.selected] for found in (every, some)]
    assert sorted(areas[1]) == sorted(areas[0])[:2]


def test_pruning_keeps_a_share_of_the_confidence_where_there_was_one():
    classifier = sharing_classifier(0.1)
    options = {"pool": False, "exclude": False}
    kept = explained(classifier, prune_tau=0.8, **options).explanations[1:]
    lost = explained(classifier, prune_tau=0.0, **options).explanations[1:]
    assert len(kept) == len(lost) == 2
    assert all(one.confidence >= 0.8 * SURE for one in kept)
    assert all(one.confidence < 0.8 * SURE for one in lost)


def test_every_member_keeps_the_confidence_that_tau_asks_for():
    classifier = sharing_classifier(0.2)
    found = explained(classifier, tau=0.7)
    assert len(found.explanations) >= 2
    assert all(one.confidence >= 0.7 * found.confidence for one in found.explanations)


def test_a_stop_keeps_every_member_that_was_verified():
    classifier = toys.any_classifier(IMAGE, FAR)
    whole = explained(classifier)
    counts = []
    for budget in range(300, 2400, 350):
        found = explained(classifier, limits=Limits(max_inputs=budget))
        assert all(suffices(classifier, one.mask) for one in found.explanations)
        counts.append(len(found.explanations))
    assert counts == sorted(counts)
    assert counts[-1] == len(whole.explanations)


def test_searching_what_is_left_finds_at_least_what_is_found_without():
    classifier = toys.any_classifier(IMAGE, FAR)
    without = explained(classifier, pool=False, pairs=False, exclude=False, spotlights=2)
    with_exclude = explained(classifier, pool=False, pairs=False, spotlights=2)
    assert len(with_exclude.selected) >= len(without.selected)
    assert "exclude" in {one.kind for one in with_exclude.explanations}
