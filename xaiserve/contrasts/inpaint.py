"""The image with a region painted over from its surroundings, by the biharmonic equation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from scipy.ndimage import binary_dilation
from skimage.restoration import inpaint_biharmonic

from xaiserve.contrasts.base import Made
from xaiserve.contrasts.partners import Partners, read_partner
from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.fills import smoothed
from xaiserve.storage.pictures import decode_mask
from xaiserve.storage.results import digest_of
from xaiserve.types import Image, Region

SURROUNDINGS: Final = 0.05
"""Sigma of the blur that a pixel is compared with, of the shorter side."""

MAX_SHARE: Final = 0.8
"""Of the picture: beyond, there are no surroundings to paint from, and it takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintContrasts:
    """Paint over the region of a mask, or what stands out most from its surroundings.

    Parameters
    ----------
    masks
        A mask for each image, not 0 in the region; none for what stands out.

    References
    ----------
    S. B. Damelin, N. S. Hoang, *On Surface Completion and Image Inpainting by Biharmonic
    Functions: Numerical Aspects*, 2018, doi 10.1155/2018/3950312; scikit-image's implementation.
    """

    masks: Partners | None = None
    share: float = param(
        0.1,
        "Without masks: the share of the pixels, those that differ most from a blur.",
        low=0.001,
        high=0.5,
        source="ours",
    )
    grow_px: int = param(2, "Pixels that the region is grown by.", low=0, high=64, source="ours")
    name: ClassVar[str] = "inpaint"
    batch: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def digest(self) -> str:
        """See `ContrastProvider.digest`."""
        masks = self.masks.digest if self.masks else self.share
        return digest_of([self.name, masks, self.grow_px])

    def contrasts(self, cases: Sequence[Case]) -> list[Made]:
        """See `ContrastProvider.contrasts`."""
        return [self._made(case) for case in cases]

    def _made(self, case: Case) -> Made:
        try:
            region, what, deciding = self._region(case)
        except XaiServeError as error:
            return error
        grown = _grown(region, self.grow_px)
        covered = float(grown.float().mean())
        if not 0 < covered <= MAX_SHARE:
            return InvalidInputError(
                f"region to inpaint of image {case.name or case.image_id[:12]} must cover at most "
                f"{MAX_SHARE:.0%} of the picture and not be empty, got {covered:.1%}"
            )
        return Contrast(
            image=inpainted(case.image, grown),
            provider=self.name,
            digest=digest_of([self.digest, deciding]),
            notes=(f"the image itself with {covered:.1%} of it painted over: {what}",),
        )

    def _region(self, case: Case) -> tuple[Region, str, str]:
        """Return the region, what it is, and what decides it besides the image."""
        if self.masks is None:
            return standing_out(case.image, self.share), "what stands out most from a blur", ""
        uri = self.masks.find(case)
        data = read_partner(uri)
        mask = decode_mask(data)
        size = tuple(mask.shape)
        own = (case.height, case.width)
        frame = case.frame
        if frame is not None and size == (frame.original_height, frame.original_width):
            mask = frame.region(mask)
        elif size != own:
            raise InvalidInputError(
                f"mask {uri} must have its image's size, got {size[1]}x{size[0]} px"
            )
        return mask, f"the mask {uri.rpartition('/')[2]}", digest_of(data.hex())


def standing_out(image: Image, share: float) -> Region:
    """Choose the ``share`` of the pixels that differ most from the image's own blur."""
    _, height, width = image.shape
    apart = (image - smoothed(image, SURROUNDINGS * min(height, width))).abs().amax(dim=0)
    count = max(1, round(share * apart.numel()))
    chosen = torch.zeros(apart.numel(), dtype=torch.bool)
    chosen[torch.argsort(apart.flatten(), descending=True, stable=True)[:count]] = True
    return chosen.view(height, width)


def inpainted(image: Image, region: Region) -> Image:
    """Paint a region over from its surroundings."""
    painted = inpaint_biharmonic(
        image.numpy().astype("float64"), region.numpy(), split_into_regions=True, channel_axis=0
    )
    return torch.from_numpy(painted).float().clamp(0, 1)


def _grown(region: Region, pixels: int) -> Region:
    if not pixels:
        return region
    return torch.from_numpy(binary_dilation(region.numpy(), iterations=pixels))
