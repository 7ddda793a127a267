"""The responsibility map against slow twins and known answers; each part by itself."""

from itertools import combinations

import numpy as np
import torch

from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.boxes import BoxNode, make_splitter
from xaiserve.explainers.multirex.merging import Ledger, merged, rasterise
from xaiserve.explainers.multirex.mutants import Round, Split
from xaiserve.explainers.multirex.responsibility import ResponsibilitySearch
from xaiserve.perturb.drive import run
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys

SIDE = 24
IMAGE = toys.toy_image(SIDE)
FAR = [(2, 7, 2, 7), (2, 7, 17, 22), (17, 22, 2, 7), (17, 22, 17, 22)]
KEYS = Keys.root(0, "searched")


def searched(classifier, *, image=IMAGE, splitter=None, keys=KEYS, scenes=None, **options):
    """Run the searches and return them."""
    case = toys.toy_case(classifier, image)
    scenes = scenes or [Scene(image, case.neutral.expand_as(image).clone())]
    search = ResponsibilitySearch(
        MultiRex(**{"iterations": 8} | options),
        case,
        scenes,
        keys,
        confidence=float(classifier.scores(image[None])[0, case.target]),
        splitter=splitter,
    )

    def plan():
        yield from search.run()

    run(plan(), classifier)
    return search


def box_mask(r0, r1, c0, c1):
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[r0:r1, c0:c1] = True
    return mask


def seen_mask(one, side=SIDE):
    mask = np.zeros((side, side), dtype=bool)
    for r0, r1, c0, c1 in one.boxes:
        mask[r0:r1, c0:c1] = True
    return mask


def test_children_partition_the_parent():
    node = BoxNode(3, 20, 5, 17)
    cut = make_splitter(MultiRex(), KEYS)(0, node)
    count = np.zeros((24, 24), dtype=int)
    for index in range(4):
        child = node.child(index, *cut)
        assert child.area > 0
        count[child.r0 : child.r1, child.c0 : child.c1] += 1
    expected = np.zeros_like(count)
    expected[3:20, 5:17] = 1
    assert (count == expected).all()


def test_a_split_asks_for_14_distinct_visible_sets():
    tried = Round([Split(0, BoxNode(0, 24, 0, 24), (9, 13))], none=True, whole=True)
    query = tried.query(Scene(IMAGE, torch.zeros_like(IMAGE)))
    shown = torch.empty(len(query), 24, 24)
    query.weigh(shown)
    assert len({row.numpy().tobytes() for row in shown}) == 14
    assert not any(bool(row.all()) or not bool(row.any()) for row in shown)


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


def test_a_map_of_many_iterations_keeps_the_order_of_its_smallest_values():
    ledger = Ledger(4, 4, unit=1)
    for number in range(400):
        ledger.add(
            np.full(2, number),
            np.zeros(2, dtype=int),
            np.array([(0, 1, 0, 1), (0, 1, 0, 2)]),
            np.array([1, 1]),
        )
    found = merged(ledger, 0, "multiplicative")
    assert float(found[0, 0]) == 1
    assert float(found[0, 0]) > float(found[0, 1]) > float(found[3, 3]) > 0


def test_rasterising_equals_painting_box_by_box():
    rng = np.random.default_rng(3)
    boxes, rewards, painted = [], [], np.zeros((20, 30), dtype=int)
    for _ in range(40):
        r0, c0 = rng.integers(0, 19), rng.integers(0, 29)
        r1, c1 = rng.integers(r0 + 1, 21), rng.integers(c0 + 1, 31)
        reward = int(rng.integers(1, 7))
        boxes.append((r0, r1, c0, c1))
        rewards.append(reward)
        painted[r0:r1, c0:c1] += reward
    assert (rasterise(np.array(boxes), np.array(rewards), 20, 30) == painted).all()
