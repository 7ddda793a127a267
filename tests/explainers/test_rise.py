import numpy as np
import pytest
import torch
from skimage.transform import resize

from xaiserve.explainers.baselines.rise import ROUND_ROWS, Rise, random_weights
from xaiserve.perturb.drive import run
from xaiserve.perturb.plan import Progress, Stop, step, stop
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, explain
from xaiserve.testing.toys import (
    brightness_classifier,
    constant_classifier,
    toy_case,
    toy_image,
)

IMAGE = toy_image(24)
KEYS = Keys.root(0, "")


class TestRise(ExplainerContract):
    explainer = Rise(samples=300, cells=6)
    max_inputs = 300


def weightings(count, *, size=(30, 41), cells=7, shown=0.5):
    return random_weights([KEYS.child(i) for i in range(count)], size, cells=cells, shown=shown)


def test_weightings_equal_an_enlarged_grid_cut_at_a_random_offset():
    cells, shown = 5, 0.4
    found = weightings(6, cells=cells, shown=shown)
    for row in range(6):
        generator = KEYS.child(row).generator()
        grid = (generator.random((cells, cells)) < shown).astype(float)
        tall, wide = 6, 9  # 30 and 41 pixels over 5 cells, rounded up
        top, left = int(generator.integers(tall)), int(generator.integers(wide))
        large = resize(grid, (6 * tall, 6 * wide), order=1, mode="edge", anti_aliasing=False)
        expected = torch.from_numpy(large[top : top + 30, left : left + 41].astype(np.float32))
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=0)


def test_weightings_lie_between_0_and_1_and_show_each_pixel_as_often_as_asked():
    found = weightings(1000, size=(12, 12), cells=3, shown=0.3)
    assert 0 <= found.min() <= found.max() <= 1
    torch.testing.assert_close(found.mean(dim=0), torch.full((12, 12), 0.3), atol=0.06, rtol=0)


def test_equals_the_mean_of_weightings_times_scores():
    classifier = brightness_classifier(IMAGE, 0.3)
    case = toy_case(classifier, IMAGE)
    found = explain(Rise(samples=150, shown=0.4), case, classifier).saliency

    keys = Keys.root(0, case.image_id)
    weights = random_weights(
        [keys.child("weighting", i) for i in range(150)], (24, 24), cells=7, shown=0.4
    )
    total = torch.zeros(24, 24, dtype=torch.float64)
    for row in weights:
        total += row * float(classifier.scores((row * IMAGE)[None])[0, 1])
    torch.testing.assert_close(found, (total / (150 * 0.4)).float(), atol=1e-5, rtol=0)


def test_a_constant_score_gives_a_flat_map_of_that_score():
    classifier = constant_classifier(IMAGE)
    saliency = explain(Rise(samples=500), toy_case(classifier, IMAGE), classifier).saliency
    torch.testing.assert_close(saliency, torch.full((24, 24), 0.9), atol=0.15, rtol=0)


def test_asks_in_rounds_and_tells_its_progress():
    classifier, events = constant_classifier(IMAGE), []
    plan = Rise(samples=ROUND_ROWS + 5).plan(toy_case(classifier, IMAGE), KEYS)
    run(plan, classifier, max_rows=1000, on_event=events.append)
    assert classifier.calls == 2
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [
        (ROUND_ROWS, ROUND_ROWS + 5),
        (ROUND_ROWS + 5, ROUND_ROWS + 5),
    ]


def test_a_longer_run_that_is_stopped_returns_what_a_shorter_one_does():
    classifier = brightness_classifier(IMAGE, 0.3)
    case = toy_case(classifier, IMAGE)
    keys = Keys.root(0, case.image_id)
    plan = Rise(samples=3 * ROUND_ROWS).plan(case, keys)
    first = step(plan)
    step(plan, classifier.scores(first.weights[:, None] * IMAGE))
    step(plan)
    stopped = stop(plan, "inputs").value
    short = explain(Rise(samples=ROUND_ROWS), case, classifier)
    torch.testing.assert_close(stopped.saliency, short.saliency, atol=1e-6, rtol=0)


def test_a_run_stopped_before_its_first_answer_has_nothing():
    plan = Rise().plan(toy_case(constant_classifier(IMAGE), IMAGE), KEYS)
    step(plan)
    with pytest.raises(Stop):
        stop(plan, "seconds")
