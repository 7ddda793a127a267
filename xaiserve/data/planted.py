"""Planted lesions: pictures whose number of explanations is known by construction.

A lesion is a white triangle standing on a white square. A picture is diseased iff it shows at least
one, so each of its k lesions is sufficient alone, they do not overlap, and nothing else suffices:
k disjoint explanations. Lone triangles, lone squares and rings are drawn in either class, so that
neither brightness nor one half of a lesion gives the class away.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from xaiserve.data import shapes
from xaiserve.data.sample import SIDE, Feature, Grey, Label, Mask, Sample
from xaiserve.perturb.rng import Keys

MAX_LESIONS: Final = 3
MAX_DISTRACTORS: Final = 4

RADIUS_PX: Final = 24
"""Every drawing fits a circle of this radius, and the circles of one picture are disjoint."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a drawing goes, and how big: ``half_px`` is half the side of a lesion's square."""

    x: int
    y: int
    half_px: int


def planted_sample(seed: int, index: int, lesions: int | None = None) -> Sample:
    """Draw picture ``index`` of the set that ``seed`` names.

    Parameters
    ----------
    seed, index
        The picture depends on these and on ``lesions`` alone.
    lesions
        How many to plant, 0 to 3. Left out, half of the pictures have none and the others one, two
        or three equally often.
    """
    keys = Keys.root(seed, "planted").child(index)
    count = _lesion_count(keys) if lesions is None else lesions
    if not 0 <= count <= MAX_LESIONS:
        raise ValueError(f"lesions must be from 0 to {MAX_LESIONS}, got {lesions}")
    draws = keys.child("shapes").generator()
    distractors = int(draws.integers(1, MAX_DISTRACTORS + 1))
    places = _places(draws, count + distractors)
    features = tuple(
        Feature(f"lesion-{i + 1}", lesion(place)) for i, place in enumerate(places[:count])
    )
    ideal = _background(keys.child("background").generator())
    for place in places[count:]:
        ideal = _paint(ideal, _DISTRACTORS[draws.integers(len(_DISTRACTORS))](place), draws)
    image = ideal
    for feature in features:
        image = _paint(image, feature.mask, draws)
    label: Label = "diseased" if count else "healthy"
    return Sample(
        name=f"planted-{seed}-{index:05d}",
        image=image,
        ideal=ideal,
        label=label,
        features=features,
        explanations=count or None,
    )


def planted_samples(seed: int, count: int, *, diseased_only: bool = False) -> Iterator[Sample]:
    """Draw the first ``count`` pictures; with ``diseased_only``, 1, 2, 3, 1, 2, 3, ... lesions."""
    for index in range(count):
        yield planted_sample(seed, index, index % MAX_LESIONS + 1 if diseased_only else None)


def lesion(place: Place) -> tuple[Mask, Mask]:
    """Draw the triangle and, right under it, the square; (h, w) each, without common pixels."""
    half, rise = place.half_px, round(1.5 * place.half_px)
    base = shapes.square((place.x, place.y + half + 1), half)
    rows, columns = np.indices(base.shape)
    depth = rows - (place.y - rise)  # 0 at the tip, ``rise`` at the foot
    reach = depth * (1.6 * half / rise)
    roof = (depth >= 0) & (depth <= rise) & (np.abs(columns - place.x) <= reach)
    return np.asarray(roof & ~base), base


def _lone_triangle(place: Place) -> Mask:
    return lesion(place)[0]


def _lone_square(place: Place) -> Mask:
    return lesion(place)[1]


def _ring(place: Place) -> Mask:
    outer = 1.6 * place.half_px
    centre = (place.x, place.y)
    return np.asarray(shapes.disc(centre, outer) & ~shapes.disc(centre, outer - 3))


_DISTRACTORS: Final[tuple[Callable[[Place], Mask], ...]] = (_lone_triangle, _lone_square, _ring)


def _lesion_count(keys: Keys) -> int:
    diseased, extra = keys.child("lesions").below(2, MAX_LESIONS)
    return diseased * (1 + extra)


def _places(draws: np.random.Generator, count: int) -> list[Place]:
    found: list[Place] = []
    while len(found) < count:
        x, y = draws.integers(RADIUS_PX, SIDE - RADIUS_PX, size=2).tolist()
        if all(np.hypot(x - other.x, y - other.y) > 2 * RADIUS_PX for other in found):
            found.append(Place(x, y, int(draws.integers(8, 11))))
    return found


def _background(draws: np.random.Generator) -> Grey:
    # Mid-grey waves: the neutral colour of the embedded classifier (0.5) lies in their middle, and
    # they keep away from the white of the shapes.
    levels = np.full(shapes.SHAPE, 0.5)
    for _ in range(2):
        centre = tuple(draws.uniform(0, SIDE, size=2).tolist())
        levels += shapes.ripples(centre, draws.uniform(0.03, 0.09), draws.uniform(0.1, 0.35))
    levels += draws.normal(0, 0.02, size=shapes.SHAPE)
    return np.asarray(np.rint(np.clip(levels, 0, 1) * 255), dtype=np.uint8)


def _paint(image: Grey, mask: Mask, draws: np.random.Generator) -> Grey:
    """Return a copy of ``image`` with ``mask`` in one shade near white."""
    return np.asarray(np.where(mask, np.uint8(draws.integers(225, 256)), image))
