from dataclasses import replace

import pytest
import torch

from xaiserve.explainers.baselines.extremal import (
    ExtremalPerturbations,
    area_profiles,
    bump_shape,
    hidden,
    mismatch,
    smooth_masks,
)
from xaiserve.perturb.plan import Progress, Spent
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, exhaust, explain
from xaiserve.testing.toys import inside, light_classifier, toy_case, toy_image

PATCH = (4, 12, 8, 16)
IMAGE = toy_image(24, light=PATCH)
SMALL = ExtremalPerturbations(
    areas=(0.1, 0.3), step_px=2, sigma_px=2.0, max_iter=60, rate=0.05, weight=3.0, smooth=0.05
)


class TestExtremalPerturbations(ExplainerContract):
    explainer = SMALL
    max_inputs = 2 * 61
    patch = PATCH

    def image(self):
        return IMAGE

    def classifier(self, image):
        return light_classifier(image)


@pytest.mark.parametrize("hide", ["fade", "blur"])
def test_the_masks_have_their_areas_and_show_the_evidence(hide):
    model = light_classifier(IMAGE)
    # The toy's outputs lie between 0 and 1: the area weighs less than beside logits.
    explainer = replace(SMALL, max_iter=200, growth=1.02, hide=hide, blur_px=5.0)
    found = explain(explainer, toy_case(model, IMAGE), model)
    for each in found.masks:
        assert each.mask.mean().item() == pytest.approx(each.area, abs=0.05)
        assert inside(each.mask, PATCH).mean() > 2 * each.mask.mean()
        assert 0 <= each.confidence <= 1
    assert found.masks[0].mask.mean() < found.masks[1].mask.mean()


def test_the_saliency_is_the_smoothed_sum_of_the_masks():
    model = light_classifier(IMAGE)
    options = {"areas": (0.2, 0.4), "step_px": 4, "sigma_px": 4.0, "max_iter": 3}
    found = explain(ExtremalPerturbations(smooth=0.0, **options), toy_case(model, IMAGE), model)
    total = found.masks[0].mask + found.masks[1].mask
    torch.testing.assert_close(found.saliency, total)
    smooth = explain(ExtremalPerturbations(smooth=0.2, **options), toy_case(model, IMAGE), model)
    assert smooth.saliency.std() < total.std()


def test_a_smooth_mask_is_the_largest_bump_at_every_place():
    heights = torch.zeros(1, 9, 9)
    heights[0, 2, 2], heights[0, 6, 5] = 1.0, 0.5
    found = smooth_masks(heights, bump_shape(1.0), 0.01)[0]
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    bumps = [
        height * torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2)
        for row, column, height in ((2, 2, 1.0), (6, 5, 0.5))
    ]
    expected = torch.maximum(*bumps)
    torch.testing.assert_close(found[expected > 0.1], expected[expected > 0.1], atol=0.02, rtol=0)


def test_a_mask_of_zeros_and_ones_of_its_area_matches_wholly():
    mask = torch.zeros(2, 10, 10)
    mask[:, 2:6, 3:8] = 1  # 20 of 100
    found = mismatch(mask, area_profiles((0.2, 0.3), 100))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.1]))


def test_a_pixel_is_hidden_between_the_levels_that_its_mask_names():
    levels = torch.tensor([0.0, 1.0, 3.0]).view(3, 1, 1, 1).expand(3, 1, 1, 5)
    mask = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]).view(1, 1, 5)
    torch.testing.assert_close(
        hidden(levels, mask), torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0]).view(1, 1, 1, 5)
    )


def test_pauses_after_every_step_and_counts_a_row_per_area():
    model = light_classifier(IMAGE)
    explainer = ExtremalPerturbations(areas=(0.1, 0.2, 0.3), step_px=4, sigma_px=4.0, max_iter=5)
    events, _ = exhaust(explainer.attribute(model, toy_case(model, IMAGE), Keys.root(0, "")))
    assert [event.rows for event in events if isinstance(event, Spent)] == [3] * 6
    progress = [(event.done, event.total) for event in events if isinstance(event, Progress)]
    assert progress == [(done, 5) for done in range(1, 6)]


def test_no_area_is_refused():
    with pytest.raises(ValueError, match="areas must be at least one number"):
        ExtremalPerturbations(areas=())
