import numpy as np
import pytest
import torch
from PIL import Image
from skimage.restoration import inpaint_biharmonic

from xaiserve.contrasts.blur import BlurContrasts
from xaiserve.contrasts.inpaint import InpaintContrasts, inpainted, standing_out
from xaiserve.contrasts.partners import find_partners
from xaiserve.testing.toys import brightness_classifier, toy_case, toy_image

IMAGE = toy_image(48) * 0.2 + 0.3
IMAGE[:, 20:26, 30:36] = 1.0
MODEL = brightness_classifier(IMAGE, 0.3)
CASE = toy_case(MODEL, IMAGE, name="x.png")
MARKED = (slice(None), slice(20, 26), slice(30, 36))


def test_blur_loses_what_is_small_and_keeps_what_is_wide():
    (made,) = BlurContrasts(sigma=0.1).contrasts([CASE])

    assert float(made.image[MARKED].mean()) < 0.6
    assert float(made.image.mean()) == pytest.approx(float(IMAGE.mean()), abs=0.01)
    assert "4.8 px" in made.notes[0]
    assert "not a picture of another class" in made.notes[0]
    assert BlurContrasts(sigma=0.1).digest != BlurContrasts().digest


def test_inpainting_without_a_mask_paints_over_what_stands_out():
    (made,) = InpaintContrasts(share=0.02, grow_px=2).contrasts([CASE])

    assert float(made.image[MARKED].mean()) < 0.55
    apart = (made.image - IMAGE).abs().amax(dim=0) > 1e-6
    assert 0.02 < float(apart.float().mean()) < 0.15
    assert "what stands out most" in made.notes[0]


def test_what_stands_out_is_exactly_the_share_and_the_same_again():
    region = standing_out(IMAGE, 0.1)

    assert int(region.sum()) == round(0.1 * 48 * 48)
    assert torch.equal(region, standing_out(IMAGE, 0.1))


def test_inpainting_with_masks_paints_over_the_mask_and_nothing_else(tmp_path):
    mask = np.zeros((48, 48), np.uint8)
    mask[20:26, 30:36] = 255
    Image.fromarray(mask).save(tmp_path / "x.png")
    masks = find_partners(str(tmp_path), "mask", images=None)

    (made,) = InpaintContrasts(masks=masks, grow_px=0).contrasts([CASE])

    changed = (made.image != IMAGE).any(dim=0).numpy()
    assert not changed[mask == 0].any()
    assert float(made.image[MARKED].max()) < 0.6
    assert "the mask x.png" in made.notes[0]


def test_a_mask_that_is_empty_or_of_another_size_is_refused(tmp_path):
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(tmp_path / "x.png")
    masks = find_partners(str(tmp_path), "mask", images=None)
    assert "not be empty, got 0.0%" in str(InpaintContrasts(masks=masks).contrasts([CASE])[0])

    Image.fromarray(np.ones((40, 48), np.uint8)).save(tmp_path / "x.png")
    assert "got 48x40 px" in str(InpaintContrasts(masks=masks).contrasts([CASE])[0])


def test_colours_are_painted_as_scikit_image_paints_each_channel():
    region = standing_out(IMAGE, 0.05)
    slow = [inpaint_biharmonic(each, region.numpy()) for each in IMAGE.double().numpy()]

    assert torch.allclose(
        inpainted(IMAGE, region), torch.from_numpy(np.stack(slow)).float().clamp(0, 1), atol=1e-6
    )
