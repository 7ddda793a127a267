"""The responsibility search as a whole, against a slow twin and on known classifiers."""

from itertools import combinations

import numpy as np
import pytest
import torch

from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.boxes import make_splitter
from xaiserve.explainers.multirex.responsibility import ResponsibilitySearch
from xaiserve.perturb.compose import Composer
from xaiserve.perturb.drive import answer, run
from xaiserve.perturb.plan import Progress, Stop
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys
from xaiserve.testing.searches import IMAGE, KEYS, searched

SIDE = 24
FAR = [(2, 7, 2, 7), (2, 7, 17, 22), (17, 22, 2, 7), (17, 22, 17, 22)]


def box_mask(r0, r1, c0, c1):
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[r0:r1, c0:c1] = True
    return mask


def seen_mask(one, side=SIDE):
    mask = np.zeros((side, side), dtype=bool)
    for r0, r1, c0, c1 in one.boxes:
        mask[r0:r1, c0:c1] = True
    return mask


def slow_iteration(decides, keys, side, *, min_area=10, depth=10):  # noqa: C901 -- as written
    """One iteration written from the method's section 3, one question at a time."""
    score = np.zeros((side, side))
    job = [("R", 0, (0, side, 0, side))]
    while True:
        last = None
        for index, (path, level, (r0, r1, c0, c1)) in enumerate(job):
            height, width = r1 - r0, c1 - c0
            if height < 2 or width < 2 or height * width < min_area or level >= depth:
                break
            down, right = keys.child(path).below(height - 1, width - 1)
            r, c = r0 + 1 + down, c0 + 1 + right
            kids = [(r0, r, c0, c), (r0, r, c, c1), (r, r1, c0, c), (r, r1, c, c1)]
            held = [box for j, (_, _, box) in enumerate(job) if j != index]
            last = []
            for size in (1, 2, 3):
                for chosen in combinations(range(4), size):
                    mask = np.zeros((side, side), dtype=bool)
                    for a, b, d, e in held + [kids[k] for k in chosen]:
                        mask[a:b, d:e] = True
                    if decides(mask):
                        for k in chosen:
                            a, b, d, e = kids[k]
                            score[a:b, d:e] += 1 / size
                        active = [(f"{path}:{k}", level + 1, kids[k]) for k in chosen]
                        last.append((int(mask.sum()), active))
        if not last:
            return score
        job = min(last, key=lambda entry: entry[0])[1]


def test_the_map_equals_a_slow_twin_written_from_the_method():
    patches = [box_mask(*patch) for patch in FAR[:2]]

    def decides(mask):
        return any((mask & patch).sum() >= 0.99 * patch.sum() for patch in patches)

    found = searched(toys.any_classifier(IMAGE, FAR[:2])).saliency()
    product = np.ones((SIDE, SIDE))
    for i in range(8):
        product *= 1 + slow_iteration(decides, KEYS.child("split", i), SIDE)
    np.testing.assert_allclose(found.numpy(), product / product.max(), rtol=1e-6)


def test_equal_keys_search_alike_and_the_splitter_has_the_last_word():
    classifier = toys.any_classifier(IMAGE, FAR[:2])
    cuts = make_splitter(MultiRex(), KEYS)
    recorded = searched(classifier, keys=Keys.root(9, "other"), splitter=cuts)
    assert torch.equal(recorded.saliency(), searched(classifier).saliency())


def test_an_empty_child_is_asked_and_paints_nothing():
    def edge(_number, node):
        return (node.r0, node.c0 + 12) if node.depth == 0 else None

    search = searched(toys.patch_classifier(IMAGE, FAR[0]), splitter=edge, iterations=1)
    half = np.zeros((SIDE, SIDE), dtype=bool)
    half[:, :12] = True
    found = search.saliency().numpy()
    assert (found[half] == 1).all()
    assert (found[~half] < 1).all()


def test_the_splits_of_a_round_are_asked_in_pieces_of_bounded_size():
    classifier = toys.any_classifier(IMAGE, FAR[:2])
    case = toys.toy_case(classifier, IMAGE)
    scene = Scene(IMAGE, case.neutral.expand_as(IMAGE).clone())
    options = MultiRex(iterations=300, tree_depth=1)
    search = ResponsibilitySearch(options, case, [scene], KEYS, confidence=0.9)
    sizes = []

    def plan():
        answer = None
        running = search.run()
        while True:
            try:
                turn = running.send(answer)
            except StopIteration:
                return
            sizes.append(0 if isinstance(turn, Progress) else len(turn))
            answer = yield turn

    run(plan(), classifier)
    assert sizes == [0, 1792, 1792, 616]
    assert search.statistics.iterations_used == 300


def test_pieces_run_apart_join_to_the_map_of_the_whole():
    classifier = toys.any_classifier(IMAGE, FAR)
    whole = searched(classifier, iterations=9)
    parts = [searched(classifier, first=at, iterations=3) for at in (0, 3, 6)]
    for part in parts[1:]:
        parts[0].ledger.extend(part.ledger)
    assert torch.equal(parts[0].saliency(), whole.saliency())
    assert sum(len(part.seen) for part in parts) == len(whole.seen)


def test_a_stopped_search_keeps_what_it_has():
    classifier = toys.any_classifier(IMAGE, FAR)
    case = toys.toy_case(classifier, IMAGE)
    scene = Scene(IMAGE, case.neutral.expand_as(IMAGE).clone())
    search = ResponsibilitySearch(MultiRex(iterations=6), case, [scene], KEYS, confidence=0.9)
    assert not bool(search.saliency().any())
    running = search.run()
    next(running)
    query = next(running)
    running.send(answer(query, classifier, Composer(classifier, 64)))
    next(running)
    with pytest.raises(Stop):
        running.throw(Stop("seconds"))
    assert float(search.saliency().max()) == 1
    assert len(search.seen) == 6 * 14


# -- what was seen -----------------------------------------------------------------------------


def test_seen_are_all_passing_mutants_and_both_kinds_of_every_first_split():
    classifier = toys.any_classifier(IMAGE, FAR[:2])
    search = searched(classifier)
    masks = [torch.from_numpy(seen_mask(one)) for one in search.seen]
    shown = torch.stack([torch.where(mask, IMAGE, torch.zeros_like(IMAGE)) for mask in masks])
    passes = classifier.scores(shown).argmax(dim=1) == 1
    assert passes.tolist() == [one.passes for one in search.seen]
    assert [int(mask.sum()) for mask in masks] == [one.area for one in search.seen]
    assert all((one.margin > 0) == one.passes for one in search.seen)
    roots = [one for one in search.seen if one.root]
    assert len(roots) == 8 * 14
    assert all(one.passes or one.root for one in search.seen)
    assert sum(one.passes for one in search.seen) == search.statistics.passing
    for at in range(0, len(roots), 14):
        for place in range(7):
            halves = [seen_mask(roots[at + place]), seen_mask(roots[at + 13 - place])]
            assert (halves[0] ^ halves[1]).all()


# -- options of the map ------------------------------------------------------------------------


def graded(image=IMAGE):
    return toys.graded_patch_classifier(image, (4, 12, 8, 16))


def test_a_confidence_filter_lets_fewer_mutants_pass():
    loose, strict = searched(graded()), searched(graded(), confidence_filter=0.9)
    assert strict.statistics.passing < loose.statistics.passing
    assert all(one.margin > 0 for one in strict.seen if one.passes)


def test_weights_multiply_by_the_confidence():
    classifier = toys.patch_classifier(IMAGE, FAR[0])
    plain = searched(classifier, merge="additive", tree_depth=1)
    weighted = searched(classifier, merge="additive", tree_depth=1, weighted=True)
    share, mine = (one.ledger.total(1, "additive") for one in (plain, weighted))
    np.testing.assert_allclose(mine, share * toys.SEEN, rtol=1e-6)


def test_concentrate_multiplies_by_the_depth():
    def cut(_number, node):
        return {"R": (12, 12), "R:0": (11, 11)}.get(node.path)

    classifier = toys.patch_classifier(IMAGE, FAR[0])
    options = {"splitter": cut, "iterations": 1, "merge": "additive"}
    plain = searched(classifier, **options).ledger.total(1, "additive")
    deep = searched(classifier, concentrate=True, **options).ledger.total(1, "additive")
    first = searched(classifier, tree_depth=1, **options | {"splitter": None}, keys=KEYS)
    assert first.statistics.depth_max == 1
    # 4 of 7 mutants: 1 + 3/2 + 3/3 for the box that decides, on both levels.
    assert plain[5, 5] == pytest.approx(3.5 + 3.5)
    assert deep[5, 5] == pytest.approx(3.5 + 2 * 3.5)


def three_classes(image=IMAGE):
    """Decide 1 where the patch is visible, else 2 where the other one is, else 0."""
    spec = toys.toy_spec(image, labels=("none", "first", "second"))

    def function(images):
        first, second = (toys.shown(image, images, patch).float() for patch in FAR[:2])
        second = second * (1 - first)
        return torch.stack([1 - first - second, first, second], dim=1) * 0.8 + 0.1

    return toys.ToyClassifier("three", spec, function)


def test_a_map_of_every_other_class_is_kept_on_request():
    search = searched(three_classes(), class_maps=True)
    maps = search.class_maps()
    assert set(maps) == {0, 2}
    assert maps[2][box_mask(*FAR[1])].max() == 1
    assert maps[2][box_mask(*FAR[0])].max() < 1
    assert all(float(one.max()) == 1 for one in maps.values())
    assert torch.equal(search.saliency(), searched(three_classes()).saliency())
    assert searched(three_classes()).class_maps() == {}


@pytest.mark.parametrize("merge", ["multiplicative", "additive"])
def test_negative_subtracts_the_other_classes(merge):
    search = searched(three_classes(), negative=True, merge=merge)
    plain = searched(three_classes(), merge=merge).saliency()
    if merge == "multiplicative":
        expected = plain - sum(search.class_maps().values())
    else:
        totals = [search.ledger.total(label, merge) for label in range(3)]
        expected = torch.from_numpy((totals[1] - totals[0] - totals[2]) / totals[1].max())
    torch.testing.assert_close(search.saliency(), expected.float(), rtol=1e-5, atol=1e-5)


def test_a_multi_label_rule_shares_with_every_class_that_is_decided_instead():
    spec = toys.toy_spec(IMAGE, labels=("a", "b", "c"), rule=toys.Rule(thresholds=(0.5,) * 3))

    def function(images):
        seen = [toys.shown(IMAGE, images, FAR[i]).float() for i in (1, 0, 1)]
        return torch.stack(seen, dim=1) * 0.8 + 0.1

    maps = searched(toys.ToyClassifier("labels", spec, function), class_maps=True).class_maps()
    assert set(maps) == {0, 2}
    assert torch.equal(maps[0], maps[2])


def test_each_search_is_asked_over_its_own_fill():
    seen = []
    spec = toys.toy_spec(IMAGE)

    def function(images):
        hidden = (images - IMAGE).abs() > 1e-3
        seen.extend(images[i][hidden[i]].unique().tolist() for i in range(len(images)))
        return toys.two_scores(toys.shown(IMAGE, images, FAR[0]))

    scenes = [Scene(IMAGE, torch.full_like(IMAGE, value)) for value in (2.0, 3.0, 4.0)]
    classifier = toys.ToyClassifier("fills", spec, function)
    searched(classifier, scenes=scenes, iterations=3, tree_depth=1)
    rows = [row for row in seen if row]
    assert rows == [[2.0]] * 14 + [[3.0]] * 14 + [[4.0]] * 14


# -- statistics --------------------------------------------------------------------------------


def test_statistics_count_what_was_asked():
    def cut(_number, node):
        return {"R": (12, 12), "R:0": (11, 9)}.get(node.path)

    found = searched(toys.patch_classifier(IMAGE, FAR[0]), splitter=cut, iterations=3).statistics
    assert (found.iterations_used, found.depth_max) == (3, 2)
    assert (found.passing, found.failing) == (3 * 14, 3 * 14)
    assert found.mean_box_area == 12 * 12 / 4
    assert found.certificates == ()


def test_a_search_without_a_passing_mutant_stays_at_the_root():
    search = searched(toys.whole_classifier(IMAGE), iterations=2)
    assert not bool(search.saliency().any())
    assert (search.statistics.depth_max, search.statistics.mean_box_area) == (0, SIDE * SIDE)
    assert search.statistics.passing == 0
