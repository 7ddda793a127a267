"""Many pictures of one request: how each becomes a model input, and the plan that scores them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from xaiserve.errors import InvalidInputError
from xaiserve.models.preparing import prepare
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.plan import QueryPlan, ask
from xaiserve.perturb.query import Pixels
from xaiserve.serve.incoming.requests import Pictures, Upload
from xaiserve.storage.pictures import PictureLimits, decode
from xaiserve.types import Image, Images, Scores

_EIGHT_BIT_TOP = 255.0


def scores_of(images: Images, *, alone: bool) -> QueryPlan[Scores]:
    """Ask for the scores (n, k) of pictures; ``alone`` as `ScoreRequest` has it."""
    return (yield from ask(Pixels(images, alone=alone)))


def images_of(pictures: Pictures, spec: ModelSpec, limits: PictureLimits) -> Images:
    """Make the pictures of one request ready for the model.

    Files are scaled and cropped as everywhere; what comes as numbers must have the model's size.

    Raises
    ------
    InvalidInputError
        A file is no picture or over a limit (the sentence says which, if there are several), or
        numbers have another shape or are not finite.
    """
    if not isinstance(pictures, Tensor):
        return torch.stack(list(_prepared(pictures, spec, limits)))
    if pictures.dtype == torch.uint8:
        _check_shape(pictures, (spec.height, spec.width, spec.channels), "UINT8")
        return pictures.permute(0, 3, 1, 2).float().div_(_EIGHT_BIT_TOP).contiguous()
    _check_shape(pictures, (spec.channels, spec.height, spec.width), "FP32")
    if not bool(torch.isfinite(pictures).all()):
        raise InvalidInputError("image must hold finite numbers, got NaN or infinity")
    return pictures


def _check_shape(pictures: Tensor, expected: tuple[int, ...], datatype: str) -> None:
    if tuple(pictures.shape[1:]) != expected:
        raise InvalidInputError(
            f"image of type {datatype} must have the shape (n, {', '.join(map(str, expected))}), "
            f"got {tuple(pictures.shape)}"
        )


def _prepared(uploads: Sequence[Upload], spec: ModelSpec, limits: PictureLimits) -> Iterator[Image]:
    for index, upload in enumerate(uploads):
        try:
            picture = decode(upload.data, limits=limits, value_range=upload.value_range)
            yield prepare(picture, spec)[0]
        except InvalidInputError as error:
            if len(uploads) == 1:
                raise
            raise type(error)(f"picture {index} of {len(uploads)}: {error}") from error
