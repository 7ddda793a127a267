"""The parts of the responsibility search: cuts, mutants, scoring, queues, merging."""

from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.boxes import BoxNode, cumulative, make_splitter
from xaiserve.explainers.multirex.frontier import Tool
from xaiserve.explainers.multirex.merging import Ledger, merged, rasterise
from xaiserve.explainers.multirex.mutants import ALL, NONE, PLACES, SUBSETS, Round, Split
from xaiserve.explainers.multirex.scoring import CONFIDENCE, UNIT, rewards_of, witness
from xaiserve.explainers.multirex.seen import SeenSets, Sightings
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys

SIDE = 24
KEYS = Keys.root(0, "parts")
ROOT = BoxNode(0, SIDE, 0, SIDE)
SUPERSETS = list(chain.from_iterable(combinations(range(4), size) for size in range(5)))


def painted(boxes, side=SIDE):
    count = np.zeros((side, side), dtype=int)
    for r0, r1, c0, c1 in boxes:
        count[r0:r1, c0:c1] += 1
    return count


# -- where boxes are cut -------------------------------------------------------------------------

SPANS = st.tuples(st.integers(0, 20), st.integers(2, 40))


@given(SPANS, SPANS, st.integers(0))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("split", ["uniform", "betabinomial"])
def test_children_are_not_empty_and_partition_the_parent(split, rows, columns, seed):
    node = BoxNode(rows[0], sum(rows), columns[0], sum(columns))
    options = MultiRex(split=split, min_box_area=1, alpha=0.3, beta=3.0)
    cut = make_splitter(options, Keys.root(seed, "x"))(0, node)
    children = [node.child(index, *cut) for index in range(4)]
    assert all(child.area > 0 and child.depth == 1 for child in children)
    assert (painted([child.corners for child in children], 64) == painted([node.corners], 64)).all()


def test_a_cut_depends_on_search_and_path_alone():
    splitter = make_splitter(MultiRex(), KEYS)
    again = make_splitter(MultiRex(), KEYS)
    other = BoxNode(0, SIDE, 0, SIDE, "R:1", 1)
    first = [splitter(3, ROOT), splitter(3, other), splitter(4, ROOT)]
    assert first == [*reversed([again(4, ROOT), again(3, other), again(3, ROOT)])]
    assert len(set(first)) > 1


@pytest.mark.parametrize(
    ("node", "options"),
    [
        (BoxNode(0, 1, 0, 24), {}),
        (BoxNode(0, 24, 3, 4), {}),
        (BoxNode(0, 3, 0, 3), {}),
        (BoxNode(0, 24, 0, 24, "R:0:0", 2), {"tree_depth": 2}),
    ],
)
def test_a_thin_small_or_deep_box_is_not_cut(node, options):
    assert make_splitter(MultiRex(**options), KEYS)(0, node) is None


def test_uniform_cuts_reach_every_inner_place_equally():
    splitter = make_splitter(MultiRex(min_box_area=1), KEYS)
    places = [splitter(i, BoxNode(0, 4, 0, 3)) for i in range(3000)]
    counts = {place: places.count(place) for place in product((1, 2, 3), (1, 2))}
    assert sum(counts.values()) == 3000
    assert all(400 < count < 600 for count in counts.values())


@pytest.mark.parametrize(("alpha", "beta"), [(1.1, 1.1), (0.2, 5.0), (30.0, 2.0)])
def test_offsets_are_a_beta_binomial_without_its_ends(alpha, beta):
    offsets = np.arange(1, 24)
    chances = betabinom(24, alpha, beta).pmf(offsets)
    np.testing.assert_allclose(cumulative(24, alpha, beta), np.cumsum(chances) / chances.sum())


def test_beta_binomial_cuts_follow_their_chances():
    splitter = make_splitter(MultiRex(split="betabinomial", alpha=8.0, beta=8.0), KEYS)
    rows = np.array([splitter(i, ROOT)[0] for i in range(4000)])
    expected = np.diff(cumulative(SIDE, 8.0, 8.0), prepend=0)
    found = np.bincount(rows, minlength=SIDE)[1:SIDE] / 4000
    assert np.abs(found - expected).max() < 0.03
    assert abs(rows.mean() - SIDE / 2) < 0.3


# -- what is asked -------------------------------------------------------------------------------


def test_mutants_show_their_children_and_what_is_held():
    held = (BoxNode(0, 4, 0, 4, "R:0", 1), BoxNode(20, 24, 20, 24, "R:3", 1))
    splits = [
        Split(0, ROOT, (5, 9)),
        Split(1, BoxNode(8, 16, 8, 16, "R:1", 1), (10, 12), held, sufficient=False),
    ]
    tried = Round(splits, none=True, whole=True)
    assert tried.asked.sum(axis=1).tolist() == [14, 16]
    shown = toys.torch.empty(len(tried), SIDE, SIDE)
    image = toys.toy_image(SIDE)
    tried.query(Scene(image, image)).weigh(shown)
    for row, (index, place) in enumerate(
        zip(tried.split.tolist(), tried.mutant.tolist(), strict=True)
    ):
        split = splits[index]
        boxes = [box.corners for box in (*split.active(place), *split.held)]
        assert (shown[row].numpy() == painted(boxes)).all()
        assert tried.areas[index, place] == painted(boxes).sum()
    assert len({shown[row].numpy().tobytes() for row in range(14)}) == 14


def test_what_is_not_asked_has_the_verdict_that_is_known():
    tried = Round([Split(0, ROOT, (5, 9))], none=True, whole=True)
    table = tried.table(np.zeros(14, dtype=bool))
    assert table[0].tolist() == [False] * 14 + [False, True]


def test_mutant_13_minus_m_is_the_complement_of_m():
    for place in range(14):
        assert set(SUBSETS[place]) | set(SUBSETS[13 - place]) == {0, 1, 2, 3}
        assert not set(SUBSETS[place]) & set(SUBSETS[13 - place])


# -- rewards -------------------------------------------------------------------------------------


def table_of(passes):
    """Tabulate ``passes``, a function of the set of shown children."""
    return np.array([[bool(passes(frozenset(place))) for place in PLACES]])


def as_numbers(rewards):
    return (rewards[0] / UNIT).tolist()


def at_least(k):
    return table_of(lambda shown: len(shown) >= k)


def test_share_divides_one_among_the_boxes_of_each_passing_mutant():
    passes = table_of(lambda shown: {1, 2} <= shown)
    assert as_numbers(rewards_of("share", passes, passes, None)) == pytest.approx(
        [1 / 3, 1 / 2 + 2 / 3, 1 / 2 + 2 / 3, 1 / 3]
    )


def test_minimal_share_counts_no_mutant_with_a_passing_part():
    passes = table_of(lambda shown: {1, 2} <= shown or 3 in shown)
    assert as_numbers(rewards_of("minimal_share", passes, passes, None)) == [0, 0.5, 0.5, 1]


def test_minimal_share_gives_nothing_where_what_is_held_suffices():
    passes = table_of(lambda _: True)
    assert as_numbers(rewards_of("minimal_share", passes, passes, None)) == [0, 0, 0, 0]


@pytest.mark.parametrize("scoring", ["share", "minimal_share", "witness"])
def test_nothing_is_rewarded_where_no_mutant_passes(scoring):
    assert as_numbers(rewards_of(scoring, at_least(4), at_least(4), None)) == [0, 0, 0, 0]


def test_a_weighted_reward_is_multiplied_by_the_confidence():
    passes = table_of(lambda shown: shown in ({0}, {0, 3}))
    weights = np.zeros((1, 14), dtype=np.int64)
    weights[0, SUBSETS.index((0,))] = CONFIDENCE // 4
    weights[0, SUBSETS.index((0, 3))] = CONFIDENCE // 2
    rewards = rewards_of("share", passes, passes, weights) / CONFIDENCE
    assert as_numbers(rewards) == [0.25 + 0.25, 0, 0, 0.25]


def test_share_counts_what_keeps_the_label_below_the_confidence_where_something_passes():
    decided, passes = at_least(1), at_least(3)
    found = rewards_of("share", decided, passes, None)
    assert (found == rewards_of("share", decided, decided, None)).all()
    assert not rewards_of("share", decided, at_least(5), None).any()


@pytest.mark.parametrize(
    ("classifier", "responsibility"),
    [(at_least(1), 1 / 4), (at_least(2), 1 / 3), (at_least(3), 1 / 2)],
)
def test_k_of_n_has_responsibility_one_over_n_minus_k_plus_one(classifier, responsibility):
    assert as_numbers(witness(classifier)) == pytest.approx([responsibility] * 4)


def responsibility_by_definition(passes, child):
    """Search every witness, and every subset of it, as Halpern and Pearl's condition says."""
    others = [other for other in range(4) if other != child]
    for size in range(4):
        for hidden in combinations(others, size):
            subsets = chain.from_iterable(combinations(hidden, k) for k in range(size + 1))
            keeps = all(passes(frozenset(range(4)) - set(less)) for less in subsets)
            if keeps and not passes(frozenset(range(4)) - set(hidden) - {child}):
                return 1 / (1 + size)
    return 0.0


def test_witness_equals_the_definition_for_every_monotone_classifier_of_four_boxes():
    antichains = [
        parts
        for size in range(1, 5)
        for parts in combinations([frozenset(part) for part in SUPERSETS[1:]], size)
        if not any(a < b or b < a for a, b in combinations(parts, 2))
    ]
    assert len(antichains) > 150
    for parts in antichains:

        def passes(shown, parts=parts):
            return any(part <= shown for part in parts)

        expected = [responsibility_by_definition(passes, child) for child in range(4)]
        assert as_numbers(witness(table_of(passes))) == pytest.approx(expected)


def test_witness_needs_to_know_whether_what_is_held_suffices():
    known = table_of(bool)
    assert as_numbers(witness(known)) == pytest.approx([1 / 4] * 4)
    known[0, NONE] = True
    assert as_numbers(witness(known)) == [0, 0, 0, 0]
    known[0, ALL] = False
    assert as_numbers(witness(known)) == [0, 0, 0, 0]


# -- what is refined next ------------------------------------------------------------------------


def queued(table, **options):
    """Return the children of the jobs that follow a first split with these verdicts."""
    frontier = Tool(0, ROOT, make_splitter(MultiRex(), KEYS), MultiRex(**options))
    splits = frontier.splits(None)
    tried = Round(splits, none=False, whole=False)
    frontier.learn(splits, table, tried.areas)
    jobs = {}
    for split in frontier.splits(None):
        job = frozenset(int(box.path[-1]) for box in (split.node, *split.held))
        jobs.setdefault(job, None)
    areas = {frozenset(place): tried.areas[0, i] for i, place in enumerate(PLACES)}
    return list(jobs), areas


def test_queue_area_refines_the_smallest_passing_mutants():
    jobs, areas = queued(at_least(1), queue_len=3)
    smallest = sorted(areas[frozenset(place)] for place in SUBSETS)[:3]
    assert [areas[job] for job in jobs] == smallest


def test_queue_intersection_keeps_to_what_the_passing_mutants_share():
    jobs, _ = queued(table_of(lambda shown: 2 in shown), queue_style="intersection", queue_len=None)
    assert len(jobs) == 7
    assert all(2 in job for job in jobs)


def test_queue_intersection_leaves_out_the_first_where_all_share_nothing():
    jobs, _ = queued(
        table_of(lambda shown: shown == {0} or {1, 2} <= shown),
        queue_style="intersection",
        queue_len=None,
    )
    assert all({1, 2} <= job for job in jobs)
    assert len(jobs) == 3


@pytest.mark.parametrize("style", ["all", "dc"])
def test_queue_all_refines_every_passing_mutant(style):
    jobs, _ = queued(at_least(2), queue_style=style)
    assert {len(job) for job in jobs} == {2, 3}
    assert len(jobs) == 10


# -- merging -------------------------------------------------------------------------------------

REWARDED = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 10),
        st.integers(1, 10),
        st.integers(0, 10),
        st.integers(1, 10),
        st.integers(1, 1000),
    ),
    max_size=25,
)


def ledger_of(rewarded):
    ledger = Ledger(20, 20, UNIT)
    for number, r0, tall, c0, wide, reward in rewarded:
        box = np.array([[r0, r0 + tall, c0, c0 + wide]])
        ledger.add(np.array([number]), np.zeros(1, dtype=int), box, np.array([reward]))
    return ledger


@given(REWARDED, st.sampled_from(["multiplicative", "additive"]))
@settings(max_examples=60, deadline=None)
def test_a_map_is_finite_not_negative_and_at_most_one(rewarded, merge):
    found = merged(ledger_of(rewarded), 0, merge).numpy()
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.max() == (1 if rewarded else 0)


@given(REWARDED, st.sampled_from(["multiplicative", "additive"]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_a_map_does_not_depend_on_who_found_what_when(rewarded, merge, random):
    whole = ledger_of(rewarded)
    shuffled = rewarded[:]
    random.shuffle(shuffled)
    first = ledger_of(shuffled[:10])
    first.extend(ledger_of(shuffled[10:]))
    assert (merged(first, 0, merge).numpy() == merged(whole, 0, merge).numpy()).all()


@given(REWARDED)
@settings(max_examples=40, deadline=None)
def test_adding_a_search_adds_its_part(rewarded):
    last = [one for one in rewarded if one[0] == 4]
    before = [one for one in rewarded if one[0] != 4]
    whole = ledger_of(rewarded).total(0, "multiplicative")
    parts = [ledger_of(part).total(0, "multiplicative") for part in (before, last)]
    assert (whole == sum(parts)).all()


@given(REWARDED)
@settings(max_examples=40, deadline=None)
def test_rasterising_equals_painting_box_by_box(rewarded):
    expected = np.zeros((20, 20), dtype=np.int64)
    for _, r0, tall, c0, wide, reward in rewarded:
        expected[r0 : r0 + tall, c0 : c0 + wide] += reward
    boxes = np.array([(r0, r0 + t, c0, c0 + w) for _, r0, t, c0, w, _ in rewarded], dtype=int)
    rewards = np.array([one[-1] for one in rewarded], dtype=int)
    assert (rasterise(boxes.reshape(-1, 4), rewards, 20, 20) == expected).all()


def test_a_map_of_many_iterations_keeps_the_order_of_its_smallest_values():
    rewarded = [(i, 0, 1, 0, wide, UNIT) for i in range(400) for wide in (1, 2)]
    found = merged(ledger_of(rewarded), 0, "multiplicative")
    assert float(found[0, 0]) == 1
    assert float(found[0, 0]) > float(found[0, 1]) > float(found[3, 3]) > 0


# -- what was seen -------------------------------------------------------------------------------


def test_seen_sets_come_back_in_order():
    seen = SeenSets()
    assert not seen
    for number in range(3):
        seen.add(
            Sightings(
                boxes=np.arange(12, dtype=np.int32).reshape(3, 4) + number,
                count=np.array([2, 1], dtype=np.int32),
                areas=np.array([10, 20], dtype=np.int32) + number,
                margins=np.array([0.5, -1.0], dtype=np.float32),
                passes=np.array([True, False]),
                roots=np.array([False, True]),
            )
        )
    assert len(seen) == 6
    assert [one.area for one in seen] == [10, 20, 11, 21, 12, 22]
    assert seen[3].boxes.tolist() == [[9, 10, 11, 12]]
    assert seen[-2].boxes.tolist() == [[2, 3, 4, 5], [6, 7, 8, 9]]
    assert (seen[4].margin, seen[4].passes, seen[5].root) == (0.5, True, True)
    assert [one.area for one in seen[1:3]] == [20, 11]
    with pytest.raises(IndexError, match="seen set 6 of 6"):
        seen[6]
