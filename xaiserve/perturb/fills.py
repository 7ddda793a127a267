"""Pictures that stand for "nothing to see here": the fills of a `Scene`.

A fill has the size of the case's image, is in image units, and may leave [0, 1] (see `Scene`).
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch.nn import functional

from xaiserve.perturb.case import Case
from xaiserve.types import Colour, Image, Labels

FillKind = Literal["neutral", "grey", "mean", "blur"]

BLUR_SIDE_PX: Final = 11
BLUR_SIGMA_PX: Final = 5.0
"""The blur of RISE's released insertion metric (Petsiuk et al., BMVC 2018)."""


def make_fill(kind: FillKind, case: Case, *, grey: float = 0.5) -> Image:
    """Make the fill that an explainer's ``fill`` option names.

    ``neutral`` is the colour whose model-input value is 0, ``grey`` the intensity ``grey`` in every
    channel, ``mean`` the image's mean colour, ``blur`` the image after `blurred`.
    """
    match kind:
        case "neutral":
            return case.neutral.expand_as(case.image).clone()
        case "grey":
            return torch.full_like(case.image, grey)
        case "mean":
            return case.image.mean(dim=(1, 2), keepdim=True).expand_as(case.image).clone()
        case "blur":
            return blurred(case.image, around=case.neutral)


def blurred(image: Image, *, around: Colour) -> Image:
    """Blur each channel with the kernel of RISE's released insertion metric: 11 x 11, sigma 5.

    That kernel is a unit impulse on 11 x 11 pixels after a Gaussian filter that reflects at the
    borders, so that its tails fold back: flatter than a cut Gaussian. Beyond the border lies the
    colour ``around`` (c, 1, 1): with a model's neutral colour this is the published blur, which
    pads normalised pictures with zeros.
    """
    impulse = np.zeros(BLUR_SIDE_PX)
    impulse[BLUR_SIDE_PX // 2] = 1.0
    line = torch.from_numpy(gaussian_filter1d(impulse, sigma=BLUR_SIGMA_PX)).float()
    reach = BLUR_SIDE_PX // 2
    # The kernel is separable: one pass along each side. Channels take the place of rows.
    apart = (image - around).unsqueeze(1)
    wide = functional.conv2d(apart, line.view(1, 1, 1, -1), padding=(0, reach))
    return functional.conv2d(wide, line.view(1, 1, -1, 1), padding=(reach, 0)).squeeze(1) + around


def plain(case: Case, values: Sequence[float]) -> Image:
    """Fill with one colour, in model-input units: one number, or one per channel.

    A view that takes no memory; see `torch.Tensor.expand`.
    """
    colour = case.neutral + case.unit * torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
    return colour.expand_as(case.image)


def smoothed(image: Image, sigma: float) -> Image:
    """Blur each channel by a Gaussian of ``sigma`` pixels, mirrored at the borders; 0: not at all.

    With a wide one, 10 pixels of 224 and more, shapes are lost and colours stay.
    """
    found = gaussian_filter(image.numpy(), (0, sigma, sigma), mode="mirror")
    return torch.from_numpy(found)


def mirrored(image: Image, tile_px: int) -> Image:
    """Turn every tile of ``tile_px`` pixels, from the top left, by half a turn.

    Colours and textures stay where they are and shapes are lost: a fill without a picture's edges
    that needs no inpainting. At 16 of 224 pixels it keeps the label of 10 % of the photographs that
    MobileNetV2 gets right (60 of ImageNet); the mirrored photograph would keep 98 %, the one turned
    by half a turn 62 %.
    """
    rows, columns = (_turned(side, tile_px) for side in image.shape[1:])
    return image[:, rows[:, None], columns]


def _turned(side: int, tile_px: int) -> torch.Tensor:
    place = torch.arange(side)
    first = place // tile_px * tile_px
    return first + (first + tile_px).clamp(max=side) - 1 - place


def segment_means(image: Image, labels: Labels) -> Image:
    """Paint each segment with its own mean colour."""
    channels, pixels = len(image), labels.flatten()
    count = torch.bincount(pixels)
    sums = torch.zeros(channels, len(count), dtype=torch.float64)
    sums.index_add_(1, pixels, image.reshape(channels, -1).double())
    return (sums / count.clamp(min=1)).float()[:, labels]
