"""The synthetic set of CLEAR Image: ellipses on waves, diseased by a rule over drawn features.

A. White et al., *Contrastive Counterfactual Visual Explanations With Overdetermination*, Machine
Learning 2023, doi 10.1007/s10994-023-06333-w; the generator is the authors' released one.

A picture has a large and a small ellipse and perhaps a pie slice. Up to four features are added:
a square in the middle of the large ellipse, a triangle anywhere, a small ellipse drawn thin, and a
rectangle in the corner. It is diseased iff it has the square and the thin ellipse or the triangle,
except that a rectangle makes it healthy again four times in five.

Deviations:

1. An outline that leaves the picture at any side is drawn anew (the original wraps it around at the
   low sides).
2. One order of coordinates, x then y, in all overlap tests (the original mixes rows and columns).
3. Outlines are closed at every rotation and overlap is tested on their pixels.
4. The triangle keeps clear of the places of square and rectangle whether they are drawn or not, so
   that no feature's place says anything about another feature.
5. Picture ``index`` depends on seed, preset and index alone, not on how many were drawn before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from xaiserve.data import shapes
from xaiserve.data.sample import Feature, Grey, Label, Mask, Sample
from xaiserve.data.shapes import Levels, Point
from xaiserve.perturb.rng import Keys

Preset = Literal["archived", "script"]
FeatureName = Literal["triangle", "square", "thin ellipse", "rectangle"]

PRESETS: Final[dict[Preset, dict[FeatureName, float]]] = {
    # What the archived ground-truth table of 10 000 pictures fits: 12.8 % diseased.
    "archived": {"triangle": 0.25, "square": 0.25, "thin ellipse": 0.25, "rectangle": 0.25},
    # What the published script says: 26.5 % diseased.
    "script": {"triangle": 0.5, "square": 0.7, "thin ellipse": 0.7, "rectangle": 0.7},
}
"""The probability of each feature before the draws without any feature are discarded."""

RECTANGLE_HEALS: Final = 0.8
THICK_PX: Final = 6
THIN_PX: Final = 2
ELLIPSE_END_PX: Final = 214
"""Outlines end before this column and row."""

PIE_SHARE: Final = 0.25
TRIANGLE_RADIUS_PX: Final = 20

PIE_BOX: Final = shapes.box(10, 30, 30, 50)
PIE: Final = shapes.pie((20, 40), 10, 30, 270)
RECTANGLE: Final = shapes.box(200, 200, 210, 220)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scenery:
    """What a picture shows before any feature: waves, two ellipses and perhaps a pie slice.

    Parameters
    ----------
    waves
        (h, w), within -0.4 and 0.4; drawings have level 1.
    centre
        Of the large ellipse.
    short_axis
        Semi-axis b of the large ellipse, in pixels.
    large
        The outline of the large ellipse.
    thick, thin
        The small ellipse's outline as a healthy picture has it, and as the feature.
    pie
        Whether the ideal picture has the pie slice.
    """

    waves: Levels
    centre: Point
    short_axis: float
    large: Mask
    thick: Mask
    thin: Mask
    pie: bool

    @property
    def square(self) -> Mask:
        """The square's place."""
        return shapes.square(self.centre, round(self.short_axis / 6))


def synthetic_sample(seed: int, index: int, preset: Preset = "archived") -> Sample:
    """Draw picture ``index`` of the set that ``seed`` and ``preset`` name.

    The waves are scaled so that the darkest pixel is 0 and drawings are 255, before the features
    are drawn. ``features`` lists what was drawn also when the picture is healthy.
    """
    keys = _keys(seed, index, preset)
    scenery = draw_scenery(keys.child("scenery"))
    names, label = synthetic_facts(seed, index, preset)
    places = _places(scenery, keys.child("triangle"))
    features = tuple(Feature(name, (places[name],)) for name in names)
    altered_pie = keys.child("pie").generator().random() < PIE_SHARE
    small = scenery.thin if "thin ellipse" in names else scenery.thick
    # The thin ellipse takes pixels away; the other features add theirs.
    added = [places[name] for name in names if name != "thin ellipse"]
    return Sample(
        name=f"synthetic-{preset}-{seed}-{index:05d}",
        image=_render(scenery, [small, *added, *([PIE] if altered_pie else [])]),
        ideal=_render(scenery, [scenery.thick, *([PIE] if scenery.pie else [])]),
        label=label,
        features=features,
    )


def synthetic_facts(
    seed: int, index: int, preset: Preset = "archived"
) -> tuple[tuple[FeatureName, ...], Label]:
    """Say what picture ``index`` has drawn in, and its label, without drawing it."""
    keys = _keys(seed, index, preset)
    names = draw_features(keys.child("features"), preset)
    return names, draw_label(keys.child("label"), names)


def _keys(seed: int, index: int, preset: Preset) -> Keys:
    return Keys.root(seed, f"synthetic/{preset}").child(index)


def synthetic_samples(seed: int, count: int, preset: Preset = "archived") -> Iterator[Sample]:
    """Draw the first ``count`` pictures of the set that ``seed`` and ``preset`` name."""
    for index in range(count):
        yield synthetic_sample(seed, index, preset)


def draw_scenery(keys: Keys) -> Scenery:
    """Draw sceneries until one passes: ellipses inside, apart, and off the pie slice's box."""
    draws = keys.generator()
    while True:
        scenery = _attempt(draws)
        if scenery is not None:
            return scenery


def draw_features(keys: Keys, preset: Preset) -> tuple[FeatureName, ...]:
    """Draw which features a picture has, each on its own, until there is at least one."""
    draws = keys.generator()
    while True:
        shares = PRESETS[preset].items()
        names = tuple(name for name, share in shares if draws.random() < share)
        if names:
            return names


def draw_label(keys: Keys, names: tuple[FeatureName, ...]) -> Label:
    """Apply the class rule; chance decides only for a diseased picture with a rectangle."""
    if "square" not in names or not {"thin ellipse", "triangle"} & set(names):
        return "healthy"
    if "rectangle" in names and keys.generator().random() < RECTANGLE_HEALS:
        return "healthy"
    return "diseased"


def _attempt(draws: np.random.Generator) -> Scenery | None:
    x, y = draws.uniform(50, 150, size=2).tolist()
    waves = shapes.ripples((x, y), draws.uniform(0.2, 0.4), draws.uniform(0.2, 0.35))
    a, b = draws.normal(60, 1), draws.normal(30, 1)
    rotation = draws.uniform(0, 2 * np.pi)
    centre, small_centre = _point(draws, 60, 160), _point(draws, 50, 200)
    pie = bool(draws.random() < PIE_SHARE)
    large = shapes.ellipse_outline(centre, (a, b), rotation, THIN_PX)
    thick = shapes.ellipse_outline(small_centre, (0.6 * a, 0.6 * b), rotation, THICK_PX)
    thin = shapes.ellipse_outline(small_centre, (0.6 * a, 0.6 * b), rotation, THIN_PX)
    if large is None or thick is None or thin is None or not _apart(large, thick, pie=pie):
        return None
    return Scenery(
        waves=waves,
        centre=centre,
        short_axis=b,
        large=large,
        thick=thick,
        thin=thin,
        pie=pie,
    )


def _apart(large: Mask, thick: Mask, *, pie: bool) -> bool:
    both = large | thick
    beyond = both[ELLIPSE_END_PX:].any() or both[:, ELLIPSE_END_PX:].any()
    on_pie = pie and bool((both & PIE_BOX).any())
    return not (beyond or on_pie or shapes.touch(large, thick))


def _places(scenery: Scenery, keys: Keys) -> dict[FeatureName, Mask]:
    taken = scenery.large | scenery.thick | scenery.square | RECTANGLE
    return {
        "triangle": _free_triangle(taken, keys.generator()),
        "square": scenery.square,
        "thin ellipse": scenery.thick,
        "rectangle": RECTANGLE,
    }


def _free_triangle(taken: Mask, draws: np.random.Generator) -> Mask:
    while True:
        centre = _point(draws, 20, 201)
        if not (shapes.disc(centre, TRIANGLE_RADIUS_PX) & taken).any():
            return shapes.triangle(centre, TRIANGLE_RADIUS_PX)


def _render(scenery: Scenery, drawings: list[Mask]) -> Grey:
    low = scenery.waves.min()
    grey = np.rint((scenery.waves - low) / (1 - low) * 255).astype(np.uint8)
    drawn = np.logical_or.reduce([scenery.large, *drawings])
    return np.asarray(np.where(drawn, np.uint8(255), grey))


def _point(draws: np.random.Generator, low: int, high: int) -> Point:
    x, y = draws.integers(low, high, size=2).tolist()
    return x, y
