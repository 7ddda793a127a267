import dataclasses

import pytest
import torch

from xaiserve.contrasts.base import ahead, asker, check_contrast, with_contrasts
from xaiserve.contrasts.blur import BlurContrasts
from xaiserve.errors import InvalidInputError
from xaiserve.perturb.case import Contrast
from xaiserve.perturb.engine import Engine
from xaiserve.testing.toys import brightness_classifier, toy_case, toy_image

IMAGE = toy_image()
MODEL = brightness_classifier(IMAGE, 0.3)
CASE = toy_case(MODEL, IMAGE, name="photo.png")


def contrast(image):
    return Contrast(image=image, provider="file")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (toy_image(16), r"contrast of image photo.png \(file\) must be of shape \(3, 24, 24\)"),
        (toy_image(channels=1), r"like the image, got \(1, 24, 24\)"),
        (IMAGE / 0, "must be finite"),
        (IMAGE + 0.5, r"must lie in \[0, 1\], got 0.6"),
        (IMAGE, r"got the same picture: the largest difference is 0.0000.*blank_contrast"),
        (IMAGE + 0.003, "largest difference is 0.0030"),
    ],
)
def test_a_picture_that_cannot_be_compared_is_refused(image, message):
    with pytest.raises(InvalidInputError, match=message):
        check_contrast(CASE, contrast(image))


def test_a_difference_of_one_grey_level_is_one():
    check_contrast(CASE, contrast(IMAGE + 1.01 / 255))


def test_a_case_that_has_a_contrast_keeps_it():
    own = dataclasses.replace(CASE, contrast=contrast(IMAGE * 0.5))

    kept, made = with_contrasts(BlurContrasts(), [own, CASE])

    assert kept.contrast is own.contrast
    assert made.contrast.provider == "blur"


def test_cases_are_read_no_further_ahead_than_a_batch():
    class InFours(BlurContrasts):
        batch = 4

    read = []

    def cases():
        for number in range(10):
            read.append(number)
            yield CASE

    found = ahead(InFours(), cases())
    next(found)

    assert read == [0, 1, 2, 3]
    assert len(list(found)) == 9


def test_without_a_provider_cases_pass_as_they_are():
    assert list(ahead(None, [CASE])) == [CASE]


def test_the_engine_answers_as_the_model_does():
    with Engine(MODEL) as engine:
        images = torch.stack([IMAGE, IMAGE * 0.3])
        assert torch.equal(asker(engine)(images), MODEL.scores(images))
