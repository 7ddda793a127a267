"""What hidden pixels show: the scenes of a case, as option ``baseline`` says.

Values are in model-input units, that is after normalisation, as in the reference tool: 0 is the
mean colour of a classifier that is normalised by mean and deviation.
"""

from dataclasses import dataclass

import torch

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import mirrored, plain, smoothed
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Image, Region

TILES = 14
"""Tiles along the shorter side in ``reflect``: 16 pixels of 224."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """The picture over what stands for nothing.

    Parameters
    ----------
    extraction
        For every question about a set of pixels.
    searches
        For the responsibility searches: the same scene, or, with baselines ``random`` and
        ``linear``, one each. Then ``extraction`` is over ``baseline_values``: a set must be
        sufficient over one stated fill, and the tool's choice, the last search's, is arbitrary.
    """

    extraction: Scene
    searches: tuple[Scene, ...]

    @property
    def bytes_held(self) -> int:
        """Memory of the pictures once they are normalised for the model."""
        scenes = {id(scene): scene for scene in (self.extraction, *self.searches)}
        return sum(2 * 4 * scene.image.numel() for scene in scenes.values())

    def without(self, hidden: Region) -> "Scenes":
        """Hide some pixels (True) for good: the picture itself shows the fill there."""
        over = {id(scene): _hiding(scene, hidden) for scene in (self.extraction, *self.searches)}
        return Scenes(over[id(self.extraction)], tuple(over[id(scene)] for scene in self.searches))


def _hiding(scene: Scene, hidden: Region) -> Scene:
    return Scene(torch.where(hidden, scene.fill, scene.image), scene.fill)


def check_case(options: MultiRexOptions, case: Case) -> None:
    """Refuse options that do not fit the case or each other, before any model input.

    Raises
    ------
    InvalidInputError
        The message names the option and what it may be.
    """
    count, channels = len(options.baseline_values), len(case.image)
    if count not in {1, channels}:
        raise InvalidInputError(
            f"baseline_values must be one number or one per channel ({channels}), got {count}"
        )
    if options.baseline == "context":
        _context(case)
    pixels = case.height * case.width
    if options.chunk > pixels:
        raise InvalidInputError(
            f"chunk must be from 1 to {pixels}, the pixels of the image, got {options.chunk}"
        )
    if options.curves and options.insertion_step > pixels:
        raise InvalidInputError(
            f"insertion_step must be from 1 to {pixels}, the pixels of the image, "
            f"got {options.insertion_step}"
        )
    if options.weighted and options.scoring == "witness":
        raise InvalidInputError(
            "weighted must be false with scoring witness, which rewards boxes and not mutants"
        )


def _context(case: Case) -> Image:
    if case.context is None:
        raise InvalidInputError(
            "baseline context needs a context picture; give load_case a context, or --context FILE"
        )
    return case.context


def make_scenes(
    options: MultiRexOptions, case: Case, keys: Keys, iterations: int | None = None
) -> Scenes:
    """Make the scenes of ``case`` for ``iterations`` searches (those of the options when none).

    ``keys`` seed baseline ``random``.
    """
    if options.baseline not in {"random", "linear"}:
        scene = Scene(case.image, _fill(options, case))
        return Scenes(scene, (scene,))
    values = prepared(case)
    low, high = float(values.min()), float(values.max())
    count = iterations or options.iterations
    if options.baseline == "linear":
        shares = torch.linspace(0, 1, count, dtype=torch.float64).tolist()
    else:
        shares = [keys.child("fill", i).generator().random() for i in range(count)]
    searches = tuple(
        Scene(case.image, plain(case, [low + share * (high - low)])) for share in shares
    )
    return Scenes(Scene(case.image, plain(case, options.baseline_values).clone()), searches)


def _fill(options: MultiRexOptions, case: Case) -> Image:
    """Make the one fill of every baseline that has one."""
    match options.baseline:
        case "min":
            return plain(case, [float(prepared(case).min())]).clone()
        case "mean":
            return plain(case, [float(prepared(case).double().mean())]).clone()
        case "blur":
            return smoothed(case.image, options.blur_sigma)
        case "context":
            return smoothed(_context(case), options.blur_sigma)
        case "reflect":
            return mirrored(case.image, max(1, min(case.height, case.width) // TILES))
        case _:
            return plain(case, options.baseline_values).clone()


def prepared(case: Case) -> Image:
    """Return the picture in model-input units."""
    return (case.image - case.neutral) / case.unit
