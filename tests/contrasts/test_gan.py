import math

import pytest
import torch

from xaiserve.contrasts.base import with_contrasts
from xaiserve.contrasts.gan import GanContrasts
from xaiserve.errors import ClassifierFaultError, InvalidInputError, ModelUnavailableError
from xaiserve.testing.toys import (
    ToyClassifier,
    brightness_classifier,
    toy_case,
    toy_image,
    toy_spec,
)
from xaiserve.testing.translators import ShadeTranslator

BRIGHT, DARK = toy_image(), toy_image() * 0.4
MODEL = brightness_classifier(BRIGHT, 0.3)


def provider(translator=None, model=MODEL, **options):
    return GanContrasts(
        translator=translator or ShadeTranslator(),
        spec=model.spec,
        ask=model.scores,
        title="shades",
        **options,
    )


def three_classes():
    """A classifier of three shades, and images of each; the middle one leans to the lightest."""
    image = toy_image()
    shades = torch.tensor([0.1, 0.5, 0.8])

    def function(images):
        return (-10 * (images.flatten(1).mean(1, keepdim=True) - shades).abs()).softmax(1)

    return ToyClassifier("shades", toy_spec(image, labels=("dark", "grey", "light")), function)


def test_an_image_of_the_target_goes_to_the_other_class_and_another_to_the_target():
    made = provider().contrasts([toy_case(MODEL, BRIGHT), toy_case(MODEL, DARK)])

    assert [round(float(each.image.max()), 4) for each in made] == [0.3, 0.9]
    assert made[0].provider == "gan"
    assert "class nothing" in made[0].notes[0]
    assert "its own class, evidence" in made[0].notes[1]


def test_a_batch_is_one_call_of_two_translations_and_one_input_each_whatever_the_targets():
    translator = ShadeTranslator()
    model = brightness_classifier(BRIGHT, 0.3)
    cases = [toy_case(model, BRIGHT, target=row % 2) for row in range(5)]

    provider(translator, model).contrasts(cases)

    assert translator.asked == [10]
    assert model.rows == 5


def test_a_contrast_does_not_depend_on_its_company():
    cases = [toy_case(MODEL, toy_image(seed=seed)) for seed in range(4)]
    together = provider().contrasts(cases)

    for case, made in zip(cases, together, strict=True):
        assert torch.equal(provider().contrasts([case])[0].image, made.image)


def test_of_several_classes_the_runner_up_is_translated_to_unless_one_is_wished():
    model = three_classes()
    translator = ShadeTranslator(("light", "GREY", "dark"), (0.9, 0.55, 0.15))
    image = toy_image() * 0.5 / toy_image().mean() * 1.1  # grey, and nearer to light than to dark
    case = toy_case(model, image.clamp(0, 1), target=1)

    next_best = provider(translator, model).contrasts([case])[0]
    wished = provider(translator, model, contrast_class="Dark").contrasts([case])[0]

    assert (float(next_best.image.max()), float(wished.image.max())) == pytest.approx((0.9, 0.15))
    assert (
        provider(translator, model).digest
        != provider(translator, model, contrast_class="dark").digest
    )


def test_a_wished_class_that_is_the_target_or_unknown_is_refused():
    model = three_classes()
    translator = ShadeTranslator(("light", "grey", "dark"), (0.9, 0.5, 0.1))
    case = toy_case(model, toy_image(), target=1)

    (refused,) = provider(translator, model, contrast_class="grey").contrasts([case])

    assert "another class than the target" in str(refused)
    with pytest.raises(InvalidInputError, match="light, grey, dark, got 'red'"):
        provider(translator, model, contrast_class="red")


def test_classes_that_do_not_fit_are_refused_with_both_lists():
    with pytest.raises(InvalidInputError, match=r"cat, dog, of which.*has nothing, evidence"):
        provider(ShadeTranslator(("cat", "dog")))


def test_a_target_that_the_translator_does_not_know_is_that_images_error():
    model = three_classes()
    translator = ShadeTranslator(("light", "dark"), (0.9, 0.1))
    cases = [toy_case(model, toy_image(), target=target) for target in (1, 2)]

    refused, made = provider(translator, model).contrasts(cases)

    assert "'grey' is no class of translator shades, which knows light, dark" in str(refused)
    assert made.provider == "gan"


def test_a_translator_of_colours_is_refused_for_a_grey_classifier():
    model = brightness_classifier(toy_image(channels=1), 0.3)
    with pytest.raises(InvalidInputError, match=r"draws pictures of 3 channels.*takes 1"):
        provider(ShadeTranslator(), model)


def test_a_translator_of_another_size_says_that_fine_detail_changes():
    (made,) = provider(ShadeTranslator(side=64)).contrasts([toy_case(MODEL, BRIGHT)])

    assert made.notes[2] == "drawn at 64x64 px and resized to 24x24 px: fine detail changes"


def test_nan_is_the_translators_fault_and_only_for_the_images_it_happens_to():
    translator = ShadeTranslator(shades=(math.nan, 0.9))
    (fault,) = provider(translator).contrasts([toy_case(MODEL, BRIGHT)])

    assert isinstance(fault, ClassifierFaultError)
    assert str(fault) == "translator shades answered with NaN"


def test_an_image_that_the_translator_refuses_does_not_take_the_others_with_it():
    cases = [toy_case(MODEL, image) for image in (BRIGHT, torch.zeros_like(BRIGHT), DARK)]

    first, refused, last = provider().contrasts(cases)

    assert "must not be black" in str(refused)
    assert (first.provider, last.provider) == ("gan", "gan")


def test_a_translator_that_does_not_answer_is_asked_once_and_told_for_every_image():
    class Absent(ShadeTranslator):
        def translate(self, images, target):  # noqa: ARG002
            self.asked.append(len(images))
            raise ModelUnavailableError("no replica answers")

    absent = Absent()
    found = provider(absent).contrasts([toy_case(MODEL, BRIGHT)] * 3)

    assert absent.asked == [6]
    assert all(isinstance(each, ModelUnavailableError) for each in found)


def test_a_translation_that_changes_nothing_is_refused_as_blank():
    same = ShadeTranslator(shades=(float(BRIGHT.max()), 0.9))
    (refused,) = with_contrasts(provider(same), [toy_case(MODEL, BRIGHT)])

    assert "blank_contrast" in str(refused)
