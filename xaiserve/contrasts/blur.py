"""The image itself, blurred until its shapes are gone: what anybody has at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xaiserve.contrasts.base import Made
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.fills import smoothed
from xaiserve.storage.results import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurContrasts:
    """A Gaussian blur; not a picture of another class, so that it may not flip the decision."""

    sigma: float = param(
        0.05, "Width of the blur, of the picture's shorter side.", low=0.001, high=1, source="ours"
    )
    name: ClassVar[str] = "blur"
    batch: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def digest(self) -> str:
        """See `ContrastProvider.digest`."""
        return digest_of([self.name, self.sigma])

    def contrasts(self, cases: Sequence[Case]) -> list[Made]:
        """See `ContrastProvider.contrasts`."""
        return [self._made(case) for case in cases]

    def _made(self, case: Case) -> Contrast:
        sigma_px = self.sigma * min(case.height, case.width)
        return Contrast(
            image=smoothed(case.image, sigma_px).clamp(0, 1),
            provider=self.name,
            digest=self.digest,
            notes=(
                f"the image itself, blurred by {sigma_px:.1f} px: not a picture of another class",
            ),
        )
