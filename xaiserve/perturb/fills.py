"""Pictures that stand for "nothing to see here": the fills of a `Scene`.

A fill has the size of the case's image, is in image units, and may leave [0, 1] (see `Scene`).
"""

from typing import Final, Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
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


def segment_means(image: Image, labels: Labels) -> Image:
    """Paint each segment with its own mean colour."""
    channels, pixels = len(image), labels.flatten()
    count = torch.bincount(pixels)
    sums = torch.zeros(channels, len(count), dtype=torch.float64)
    sums.index_add_(1, pixels, image.reshape(channels, -1).double())
    return (sums / count.clamp(min=1)).float()[:, labels]
