from dataclasses import replace

import pytest

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.idle import _WORK, idle_notes
from xaiserve.explainers.registry import make_explainer
from xaiserve.parameters import parameters_of
from xaiserve.testing.contracts import explain
from xaiserve.testing.toys import patch_classifier, toy_case, toy_image

IMAGE = toy_image(24)
MODEL = patch_classifier(IMAGE, (4, 12, 4, 12))
QUICK = {"iterations": 2, "pairs": False, "exclude": False}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"objective": "mean"}, ["objective mean has no effect: it goes with spotlights above 1"]),
        ({"objective": "mean", "spotlights": 2}, []),
        ({"alpha": 2.0, "beta": 1.1}, ["alpha 2.0 has no effect: it goes with split betabinomial"]),
        ({"exclude": False, "exclude_rounds": 9}, ["exclude_rounds 9 has no effect"]),
        ({"complete": True, "contrastive_tau": 0.5}, []),
    ],
)
def test_options_without_effect_are_named(options, told):
    found = idle_notes(MultiRex(**options))
    assert [note[: len(start)] for note, start in zip(found, told, strict=True)] == told


@pytest.mark.parametrize("preset", [None, *MultiRex.presets])
def test_neither_defaults_nor_presets_set_what_has_no_effect(preset):
    assert idle_notes(make_explainer("multirex", {"preset": preset} if preset else {})) == ()


def test_every_option_that_is_listed_exists():
    known = {each.name for each in parameters_of(MultiRex)}
    assert {name for names, _, _ in _WORK for name in names} <= known


def test_a_confidence_that_nothing_reaches_is_no_explanation():
    asked = MultiRex(**QUICK, tau=2.0)
    with pytest.raises(NoExplanationError, match="with 2 times the whole image's confidence: low"):
        explain(asked, toy_case(MODEL, IMAGE), MODEL)


def test_an_explanation_carries_the_note():
    found = explain(MultiRex(**QUICK, start="peaks"), toy_case(MODEL, IMAGE), MODEL)
    assert found.notes == ("start peaks has no effect: it goes with spotlights above 1",)


@pytest.mark.parametrize(("baseline", "told"), [("value", True), ("context", False)])
def test_a_context_that_is_not_looked_at_is_told(baseline, told):
    case = replace(toy_case(MODEL, IMAGE), context=IMAGE * 0)
    found = explain(MultiRex(**QUICK, baseline=baseline), case, MODEL)
    assert any("context picture has no effect" in note for note in found.notes) is told
