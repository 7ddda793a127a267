import pytest
import torch

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.baselines.occlusion import Occlusion
from xaiserve.perturb.plan import step
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, explain
from xaiserve.testing.toys import (
    brightness_classifier,
    constant_classifier,
    patch_classifier,
    toy_case,
    toy_image,
)

IMAGE = toy_image(24)
KEYS = Keys.root(0, "")


class TestOcclusion(ExplainerContract):
    explainer = Occlusion(cells=6)
    max_inputs = 37


def test_asks_once_for_each_cell_and_the_whole():
    case = toy_case(constant_classifier(IMAGE), IMAGE)
    assert len(step(Occlusion(cells=4).plan(case, KEYS))) == 17


def test_marks_exactly_the_cells_that_hold_the_evidence():
    classifier = patch_classifier(IMAGE, (4, 8, 8, 12))
    saliency = explain(Occlusion(cells=6), toy_case(classifier, IMAGE), classifier).saliency
    expected = torch.zeros(24, 24)
    expected[4:8, 8:12] = 0.8
    torch.testing.assert_close(saliency, expected)


def test_equals_a_loop_that_greys_out_one_cell_after_the_other():
    image = toy_image(20, 26, channels=1)
    classifier = brightness_classifier(image, 0.5)
    explainer = Occlusion(cells=3, fill="grey", grey=0.25)
    found = explain(explainer, toy_case(classifier, image), classifier).saliency

    expected = torch.zeros(20, 26)
    for rows in (range(7), range(7, 14), range(14, 20)):
        for columns in (range(9), range(9, 18), range(18, 26)):
            hidden = image.clone()
            for r in rows:
                for c in columns:
                    hidden[:, r, c] = 0.25
            drop = classifier.scores(torch.stack([image, hidden]))[:, 1]
            expected[rows.start : rows.stop, columns.start : columns.stop] = drop[0] - drop[1]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_refuses_more_cells_than_pixels():
    case = toy_case(constant_classifier(IMAGE), IMAGE)
    with pytest.raises(InvalidInputError, match=r"cells must be from 1 to .*24.*, got 25"):
        step(Occlusion(cells=25).plan(case, KEYS))
