"""Does an explanation point at the ground truth? Scores of one task, and of the blind methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from typing_extensions import override

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.metrics.grid_pointing import Feature, GridPointingGame, squares_of
from xaiserve.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaiserve.perturb.case import Case
from xaiserve.pipelines.finishing import Finisher, result_type
from xaiserve.pipelines.loading import read_image
from xaiserve.pipelines.scoring import values_of, with_columns
from xaiserve.pipelines.tasks import Task
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.outlines import boxes_to_mask, outlines_to_mask
from xaiserve.storage.pictures import decode_mask
from xaiserve.types import Region


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PointingScores:
    """Columns that the pointing game adds to a row; a missing value has a reason.

    Parameters
    ----------
    mask_uri
        Where the ground truth was read.
    region
        The ground truth at the model's size; empty where the crop removed it.
    features
        The grid squares of each feature of the ground truth.
    pointing_game, energy, grid_pointing
        Of this explanation; see `PointingGame`, `EnergyPointingGame` and `GridPointingGame`.
    pointing_game_chance, pointing_game_centre and so on
        Of the blind methods on the same ground truth.
    grid_pointing_tied
        See `GridScored.tied`.
    """

    mask_uri: str
    region: Region
    features: tuple[tuple[int, ...], ...]
    tolerance_px: float
    pointing_game: float | None
    pointing_game_reason: str
    pointing_game_chance: float | None
    pointing_game_centre: float | None
    energy: float | None
    energy_reason: str
    energy_chance: float | None
    energy_centre: float | None
    grid_pointing: float | None
    grid_pointing_reason: str
    grid_pointing_chance: float | None
    grid_pointing_centre: float | None
    grid_pointing_tied: int


@dataclass(frozen=True, slots=True)
class PointingFinisher(Finisher):
    """Score every explanation against the mask of its row."""

    tolerance_px: float = 15.0

    @override
    def result_type(self, explainer: Explainer) -> type[Explanation]:
        return pointed(result_type(explainer))

    @override
    def finish(self, task: Task, case: Case, explanation: Explanation) -> Explanation:
        region = read_truth(task.row, case)
        features = read_features(task.row, case, region)
        scores = self.score(task.row.mask or "", region, features, explanation)
        found: Explanation = pointed(type(explanation))(
            **values_of(explanation), **values_of(scores)
        )
        return found

    def score(
        self, mask_uri: str, region: Region, features: Sequence[Feature], explanation: Explanation
    ) -> PointingScores:
        """Score one explanation, and the blind methods beside it."""
        game, energy = PointingGame(tolerance_px=self.tolerance_px), EnergyPointingGame()
        grid = GridPointingGame()
        hit = game.score(explanation.saliency, region)
        share = energy.score(explanation.saliency, region)
        squares = grid.score(explanation.saliency, features)
        return PointingScores(
            mask_uri=mask_uri,
            region=region,
            features=tuple(tuple(sorted(feature)) for feature in features),
            tolerance_px=self.tolerance_px,
            pointing_game=hit.value,
            pointing_game_reason=hit.reason,
            pointing_game_chance=game.chance(region).value,
            pointing_game_centre=game.centre(region).value,
            energy=share.value,
            energy_reason=share.reason,
            energy_chance=energy.chance(region).value,
            energy_centre=energy.centre(region).value,
            grid_pointing=squares.value,
            grid_pointing_reason=squares.reason,
            grid_pointing_chance=grid.chance(features).value,
            grid_pointing_centre=grid.centre(features).value,
            grid_pointing_tied=squares.tied,
        )


def pointed(owner: type[Explanation]) -> type[Explanation]:
    """Return the explanation's dataclass with the columns of `PointingScores` added."""
    return with_columns(owner, PointingScores)


def read_truth(row: ImageRow, case: Case) -> Region:
    """Find the ground truth of a row, in the model's input: its mask, outlines or boxes.

    Raises
    ------
    InvalidInputError
        It has none, or what it has does not fit the image.
    NotFoundError
        There is no such file.
    """
    if row.mask is not None:
        return read_region(row.mask, case)
    if case.frame is None or not row.has_truth:
        raise InvalidInputError("ground truth must be a mask, outlines or boxes, got none")
    height, width = case.frame.original_height, case.frame.original_width
    if row.outlines is not None:
        drawn = outlines_to_mask(row.outlines, height, width)
    else:
        drawn = boxes_to_mask(row.boxes, height, width)
    return case.frame.region(torch.from_numpy(drawn))


def read_region(uri: str | None, case: Case) -> Region:
    """Read a ground-truth mask and carry it through the transform of its image.

    Raises
    ------
    InvalidInputError
        The row names no mask, or it is no picture of the image's size.
    NotFoundError
        There is no such file.
    """
    if not uri or case.frame is None:
        raise InvalidInputError(f"mask of row {case.name!r} must name a picture, got nothing")
    mask = decode_mask(read_image(uri))
    height, width = case.frame.original_height, case.frame.original_width
    if tuple(mask.shape) != (height, width):
        raise InvalidInputError(
            f"mask {uri} must have the image's size, {width}x{height} px, "
            f"got {mask.shape[1]}x{mask.shape[0]}"
        )
    return case.frame.region(mask)


def read_features(row: ImageRow, case: Case, region: Region) -> tuple[Feature, ...]:
    """Find the grid squares of each feature, in the model's input.

    They are stated; or those that the masks of the features touch, without features that the crop
    removed; or those of the whole ground truth as one feature.

    Raises
    ------
    InvalidInputError
        Squares of a picture that the model sees only in part, or a mask that is no picture of the
        image's size.
    NotFoundError
        There is no such file.
    """
    if row.feature_squares:
        _see_whole(row, case)
        return tuple(map(frozenset, row.feature_squares))
    masks = [read_region(uri, case) for uri in row.feature_masks] or [region]
    return tuple(squares for mask in masks if (squares := squares_of(mask)))


def _see_whole(row: ImageRow, case: Case) -> None:
    frame = case.frame
    if frame and (frame.scaled_height, frame.scaled_width) != (frame.height, frame.width):
        raise InvalidInputError(
            f"feature_squares of row {row.row_id!r} divide the whole picture, of which the model "
            "sees a part: give feature_masks instead"
        )
