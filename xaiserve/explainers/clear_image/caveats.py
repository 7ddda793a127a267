"""What a reader of an explanation must know, by name and as a sentence."""

from collections.abc import Iterator
from typing import Final

from xaiserve.explainers.clear_image.findings import Findings, Importances
from xaiserve.explainers.clear_image.fitting import CENTRED
from xaiserve.explainers.clear_image.parts import Flag

LEAKY: Final = 0.2
BACKGROUND_SHARE: Final = 0.5

Caveat = tuple[Flag, str]


def caveats(found: Findings, importances: Importances, leakage: float) -> Iterator[Caveat]:
    """Yield each caveat that holds."""
    yield from _about_contrast(found, leakage)
    yield from _about_masks(found)
    yield from _about_equation(found, importances)


def _about_contrast(found: Findings, leakage: float) -> Iterator[Caveat]:
    (p1, p0), (keeps, kept) = found.table.p(found.ends), found.table.keeps(found.ends)
    if keeps == kept:
        text = (
            f"the contrast picture does not change the decision ({p1:.2f} becomes {p0:.2f}), so "
            "that a smaller change is explained: look for a better contrast"
        )
        yield "contrast_not_flipped", text
    if not keeps:
        text = (
            f"the model does not decide for the target ({p1:.2f}): what is explained is why its "
            "probability is so low"
        )
        yield "low_probability", text
    if leakage > LEAKY:
        text = f"{leakage:.0%} of the difference lies outside all segments, and is background"
        yield "leakage", text


def _about_masks(found: Findings) -> Iterator[Caveat]:
    options = found.options
    if found.around.poor:
        text = (
            f"no random mask has a probability from {options.informative_low:g} to "
            f"{options.informative_high:g}: the order of the weights is right, their sizes say "
            "little"
        )
        yield "poor_data", text
    if not found.grid.counterfactuals:
        sets = "no segment" if found.depth == 1 else f"no set of up to {found.depth} segments"
        text = f"{sets} changes the decision when replaced"
        yield "no_counterfactual", text


def _about_equation(found: Findings, importances: Importances) -> Iterator[Caveat]:
    regression = found.fitted.regression
    if found.fitted.separated:
        text = (
            "segments predict the probabilities perfectly, weights would grow without end: fitted "
            f"with a ridge of {regression.ridge:g}"
        )
        yield "perfect_separation", text
    heaviest = float(abs(importances[1:]).max(initial=0.0))
    if importances[0] > BACKGROUND_SHARE * max(heaviest, importances[0]):
        share = f"{importances[0] / heaviest:.0%} of the heaviest segment" if heaviest else "all"
        text = f"the background weighs {share}: much of what decides lies outside the segments"
        yield "background_too_large", text
    if regression.centering_gap > CENTRED:
        p1 = float(found.table.p(found.ends)[0])
        text = f"the regression says {regression.p:.2f} for the image, the model {p1:.2f}"
        yield "not_centred", text
