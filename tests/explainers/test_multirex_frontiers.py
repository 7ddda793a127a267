"""Which boxes the responsibility search refines next: both frontiers, and the queues of one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys
from xaiserve.testing.searches import IMAGE, searched

SIDE = 24
FAR = [(2, 7, 2, 7), (2, 7, 17, 22), (17, 22, 2, 7), (17, 22, 17, 22)]
CORNERS = [(0, 2, 0, 2), (22, 24, 22, 24)]


def box_mask(r0, r1, c0, c1):
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[r0:r1, c0:c1] = True
    return mask


def halving(_number, node):
    row, column = (node.r0 + node.r1) // 2, (node.c0 + node.c1) // 2
    return (row, column) if node.depth < 3 else None


@pytest.mark.parametrize("scoring", ["share", "minimal_share", "witness"])
def test_held_goes_deep_where_the_evidence_is_spread_and_rex_stops_early(scoring):
    options = {"splitter": halving, "iterations": 1, "scoring": scoring}
    both = toys.all_classifier(IMAGE, CORNERS)
    held = searched(both, frontier="held", **options)
    rex = searched(both, **options)
    assert (held.statistics.depth_max, rex.statistics.depth_max) == (3, 2)
    assert held.statistics.certificates == ((576, 288, 180, 72, 45, 18),)
    found = held.saliency().numpy()
    evidence = box_mask(0, 3, 0, 3) | box_mask(21, 24, 21, 24)
    assert found[evidence].min() > found[~evidence].max()


@given(st.integers(0), st.lists(st.sampled_from(FAR), min_size=1, max_size=3, unique=True))
@settings(max_examples=8, deadline=None)
def test_certificates_never_grow_and_every_state_is_sufficient(seed, patches):
    k = min(2, len(patches))
    classifier = toys.k_of_n_classifier(IMAGE, patches, k)
    search = searched(classifier, keys=Keys.root(seed, "x"), iterations=2, frontier="held")
    passing = {one.area for one in search.seen if one.passes} | {SIDE * SIDE}
    for areas in search.statistics.certificates:
        assert areas[0] == SIDE * SIDE
        assert all(after <= before for before, after in pairwise(areas))
        assert set(areas) <= passing


def test_held_drops_a_box_that_nobody_needs():
    # Two dark halves and a rule that wants one of them: the other is dropped whole.
    def cut(_number, node):
        return {"R": (12, 12), "R:1": (6, 18), "R:0": (6, 6)}.get(node.path)

    decoy = [(0, 24, 0, 3), (0, 24, 21, 24)]
    classifier = toys.any_classifier(IMAGE, [FAR[0], *decoy])
    search = searched(classifier, splitter=cut, iterations=1, frontier="held")
    assert search.statistics.certificates == ((576, 144, 144),)
    assert {one.area for one in search.seen if one.passes} >= {144}


def test_what_is_held_alone_is_asked_at_frontier_held():
    asked = []
    classifier = toys.any_classifier(IMAGE, FAR[:2])

    def counted(_number, node):
        asked.append(node.path)
        return {"R": (12, 12), "R:0": (1, 1), "R:1": (1, 23)}.get(node.path)

    both = toys.all_classifier(IMAGE, FAR[:2])
    before = both.rows
    search = searched(both, splitter=counted, iterations=1, frontier="held")
    # The whole, for its confidence; 14; then the two top quarters, largest first, 15 each.
    assert both.rows - before == 1 + 14 + 15 + 15
    assert search.statistics.certificates[0][:2] == (576, 288)
    assert classifier.rows == 0


def test_a_search_limit_is_checked_after_a_job():
    classifier = toys.patch_classifier(IMAGE, CORNERS[0])
    for limit, inputs in ((14, 14 + 14), (13 + 14, 14 + 14), (14 + 14, 3 * 14)):
        before = classifier.rows
        searched(classifier, splitter=halving, iterations=1, search_limit=limit, tree_depth=9)
        assert classifier.rows - before - 1 == inputs


@pytest.mark.parametrize("style", ["area", "intersection", "all", "dc"])
def test_every_queue_style_finds_the_patch(style):
    found = searched(
        toys.patch_classifier(IMAGE, FAR[1]),
        queue_style=style,
        queue_len=None,
        iterations=6,
        tree_depth=3,
    ).saliency()
    patch = box_mask(*FAR[1])
    assert found[patch].max() == found.max()
    assert found[patch].mean() > 1.5 * found[~patch].mean()
