"""What hidden pixels show, and which options are refused before any model input."""

from dataclasses import replace

import pytest
import torch

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.baselines import check_case, make_scenes
from xaiserve.explainers.registry import make_explainer
from xaiserve.perturb.drive import run
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys

IMAGE = toys.toy_image(20, 28)
SPEC = toys.toy_spec(IMAGE, mean=0.4, std=0.2)
CASE = toys.toy_case(toys.constant_classifier(IMAGE, spec=SPEC), IMAGE)
KEYS = Keys.root(0, CASE.image_id)
PREPARED = SPEC.normalise(IMAGE[None])


def shown(**options):
    """Return the model-input values of the fill (c, h, w) that ``options`` make."""
    scenes = make_scenes(MultiRex(**options), CASE, KEYS)
    assert scenes.searches == (scenes.extraction,)
    return SPEC.normalise(scenes.extraction.fill[None])[0]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({}, [0, 0, 0]),
        ({"baseline_values": (1.5,)}, [1.5] * 3),
        ({"baseline_values": (-1.0, 0.0, 2.0)}, [-1, 0, 2]),
        ({"baseline": "min"}, [float(PREPARED.min())] * 3),
        ({"baseline": "mean"}, [float(PREPARED.mean())] * 3),
    ],
)
def test_a_value_counts_in_model_inputs(options, values):
    expected = torch.tensor(values, dtype=torch.float32).view(3, 1, 1).expand(3, 20, 28)
    torch.testing.assert_close(shown(**options), expected, rtol=1e-5, atol=1e-5)


def test_the_default_fill_is_the_neutral_colour_to_the_bit():
    scenes = make_scenes(MultiRex(), CASE, KEYS)
    assert torch.equal(scenes.extraction.fill, CASE.neutral.expand_as(IMAGE))


def test_a_blur_of_no_width_is_the_image_and_a_wide_one_is_flat():
    assert torch.equal(shown(baseline="blur", blur_sigma=0), PREPARED[0])
    wide = shown(baseline="blur", blur_sigma=40.0)
    assert float(wide.std(dim=(1, 2)).max()) < 0.05 * float(PREPARED.std())


def test_a_context_is_shown_blurred():
    case = replace(CASE, context=toys.toy_image(20, 28, seed=5))
    sharp = make_scenes(MultiRex(baseline="context", blur_sigma=0), case, KEYS).extraction.fill
    assert torch.equal(sharp, case.context)
    soft = make_scenes(MultiRex(baseline="context", blur_sigma=3), case, KEYS).extraction.fill
    assert float(soft.std()) < 0.5 * float(sharp.std())


def test_reflect_turns_every_tile_by_half_a_turn():
    image = toys.toy_image(28, 42)
    case = toys.toy_case(toys.constant_classifier(image), image)
    fill = make_scenes(MultiRex(baseline="reflect"), case, KEYS).extraction.fill
    for row in range(0, 28, 2):
        for column in range(0, 42, 2):
            tile = (slice(None), slice(row, row + 2), slice(column, column + 2))
            assert torch.equal(fill[tile], image[tile].flip(1, 2))


def test_linear_values_are_evenly_spaced_over_the_searches():
    scenes = make_scenes(MultiRex(baseline="linear", iterations=5), CASE, KEYS)
    found = [float(SPEC.normalise(scene.fill[None])[0, 0, 0, 0]) for scene in scenes.searches]
    expected = torch.linspace(float(PREPARED.min()), float(PREPARED.max()), 5)
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(scenes.extraction.fill, CASE.neutral.expand_as(IMAGE))


def test_random_values_lie_in_the_images_range_and_depend_on_the_seed_alone():
    def drawn(keys):
        scenes = make_scenes(MultiRex(baseline="random", iterations=50), CASE, keys)
        return torch.stack([SPEC.normalise(s.fill[None])[0, 0, 0, 0] for s in scenes.searches])

    found = drawn(KEYS)
    assert torch.equal(found, drawn(KEYS))
    assert not torch.equal(found, drawn(Keys.root(1, CASE.image_id)))
    assert float(PREPARED.min()) <= float(found.min()) < float(found.max())
    assert float(found.max()) <= float(PREPARED.max())


@pytest.mark.parametrize("baseline", ["value", "linear"])
def test_what_is_hidden_for_good_shows_the_fill_in_the_picture_too(baseline):
    hidden = torch.zeros(20, 28, dtype=torch.bool)
    hidden[3:9, 4:11] = True
    before = make_scenes(MultiRex(baseline=baseline, iterations=3), CASE, KEYS)
    after = before.without(hidden)
    for old, new in zip(before.searches, after.searches, strict=True):
        assert new.fill is old.fill
        assert torch.equal(new.image[:, hidden], old.fill[:, hidden])
        assert torch.equal(new.image[:, ~hidden], IMAGE[:, ~hidden])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"baseline_values": (0.0, 1.0)},
            r"baseline_values must be one number or one per channel \(3\), got 2",
        ),
        ({"baseline_values": ()}, "baseline_values must be one number .* got 0"),
        ({"baseline": "context"}, "baseline context needs a context picture"),
        ({"chunk": 10**6}, "chunk must be from 1 to [0-9]+, the pixels of the image, got 1000000"),
        ({"scoring": "witness", "weighted": True}, "weighted must be false with scoring witness"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(options, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        check_case(MultiRex(**options), CASE)


def test_a_plan_refuses_before_it_asks():
    classifier = toys.constant_classifier(IMAGE, spec=SPEC)
    with pytest.raises(InvalidInputError, match="baseline_values must be one number"):
        run(MultiRex(baseline_values=(0.0, 0.0)).plan(CASE, KEYS), classifier)
    assert classifier.rows == 0


@pytest.mark.parametrize("baseline", ["min", "mean", "blur", "context", "random", "linear"])
def test_sets_are_sufficient_over_the_stated_fill(baseline):
    image = toys.toy_image(24)
    classifier = toys.patch_classifier(image, (4, 12, 8, 16))
    context = toys.toy_image(24, seed=7)
    case = replace(toys.toy_case(classifier, image), context=context)
    # One set is there: the search for more is kept short.
    options = {"iterations": 4, "chunk": 8, "baseline": baseline, "climb_rounds": 30, "restarts": 1}
    explainer = make_explainer("multirex", {key: str(value) for key, value in options.items()})
    found = run(explainer.plan(case, KEYS), classifier)
    fill = make_scenes(explainer, case, KEYS).extraction.fill
    assert found.explanations
    for one in found.explanations:
        shown = torch.where(one.mask, image, fill)
        assert int(classifier.scores(shown[None])[0].argmax()) == case.target
