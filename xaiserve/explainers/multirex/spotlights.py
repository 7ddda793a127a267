"""Looking for sufficient discs: around the map's peak, and at many other places.

Sections 4.3 and 4.4 of the method. A disc found is walked like the whole map, its own pixels first.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from xaiserve.explainers.multirex.extraction import Asking, Extraction
from xaiserve.explainers.multirex.places import Place, Places, scale
from xaiserve.explainers.multirex.ranking import Disc, growing_radii, squared_distance
from xaiserve.explainers.multirex.results import Origin
from xaiserve.explainers.multirex.walks import NARROW
from xaiserve.perturb.plan import QueryPlan, decide
from xaiserve.perturb.query import Ranked
from xaiserve.perturb.rng import Keys
from xaiserve.types import Rank


def extractions(extraction: Extraction, keys: Keys) -> list[Asking]:
    """List the walks that the options ask for, to be gathered: whole map, spatial, spotlights.

    What follows the ranking needs one: on a flat map only spotlights remain, and those do not
    climb.
    """
    options, walks = extraction.options, list[Asking]()
    if bool(extraction.saliency.any()):
        walks.append(extraction.whole())
        if options.spatial:
            walks.append(spatial(extraction))
    places = Places.of(extraction.saliency, options)
    for index, first in enumerate(places.starts(options.spotlights - 1), start=1):
        visited = places.visit(keys.child("spotlight", index), options.budget + 1, first)
        walks.append(spotlight(extraction, visited))
    return walks


def spatial(extraction: Extraction) -> Asking:
    """Grow a disc around the map's peak until it is sufficient, and walk inside it.

    The peak is the first in row order. Discs around one centre contain each other, so the union of
    those tried is the last. None when even the disc that covers the picture is not sufficient.
    Costs one input per radius, in rounds of 8.
    """
    options, (height, width) = extraction.options, extraction.saliency.shape
    row, column = divmod(int(np.argmax(extraction.saliency.numpy())), width)
    distance = squared_distance(height, width, row, column)
    factor = scale(options, height, width)
    radii = list[int]()
    for radius in growing_radii(options.spatial_radius * factor, options.spatial_eta):
        radii.append(radius)
        if radius**2 >= int(distance.max()):
            break
    for at in range(0, len(radii), NARROW):
        disc = yield from _probe(extraction, (row, column), distance, radii[at : at + NARROW])
        if disc is not None:
            return (yield from _inside(extraction, disc, distance, "spatial"))
    return None


def spotlight(extraction: Extraction, places: Iterator[Place]) -> Asking:
    """Probe discs at one place after the other and minimise the first that is sufficient.

    All radii of a place are one round; the smallest sufficient one wins. None when no place had
    one.
    """
    options, (height, width) = extraction.options, extraction.saliency.shape
    first = options.spotlight_radius * scale(options, height, width)
    radii = list(islice(growing_radii(first, options.spotlight_eta), options.no_expansions))
    for place in places:
        distance = squared_distance(height, width, *place)
        disc = yield from _probe(extraction, place, distance, radii)
        if disc is not None:
            return (yield from _inside(extraction, disc, distance, "spotlight"))
    return None


def _probe(
    extraction: Extraction, place: Place, distance: Rank, radii: list[int]
) -> QueryPlan[Disc | None]:
    """Return the smallest sufficient disc of those at ``place``."""
    discs = Ranked.prefixes(extraction.scene, distance, [radius**2 + 1 for radius in radii])
    verdicts = yield from decide(discs, extraction.goal)
    passing = verdicts.passes.nonzero()
    return Disc(*place, radii[int(passing[0])]) if len(passing) else None


def _inside(extraction: Extraction, disc: Disc, distance: Rank, kind: Origin) -> Asking:
    return (yield from extraction.prefix(kind, distance <= disc.radius**2, disc))
