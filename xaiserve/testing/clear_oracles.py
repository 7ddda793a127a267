"""Classifiers that see the drawn features of one synthetic picture, and nothing else.

The truth about such a picture is known by construction: which features decide, and how. Each share
below is that of a feature's pixels which look as in the altered picture rather than as in the ideal
one; S is the square's, T the thin ellipse's, R the triangle's, 0 where it was not drawn.

============ ==========================================================
oracle       probability of disease, with s the slope
============ ==========================================================
`AND`        sigma(s (S (1 - (1 - T) (1 - R)) - 1/2))
`OR`         sigma(s (max(S, T, R) - 1/2))
`ADDITIVE`   sigma(s (mean share of the features drawn - 1/2))
============ ==========================================================
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import torch
from torch import Tensor

from xaiserve.data.sample import Feature, Grey, Label, Sample
from xaiserve.data.synthetic import synthetic_facts, synthetic_sample
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.case import Case, Contrast
from xaiserve.testing.toys import ToyClassifier
from xaiserve.types import Image, Images, Region, Scores

SHAPES: Final = ("square", "thin ellipse", "triangle")
DISEASED: Final = 1
DRAWN: Final = 100_000
"""Pictures that are looked through, at most."""

Evidence = Callable[[Sequence[Tensor], Sequence[bool]], Tensor]
"""From the shares of `SHAPES`, (n,) each, and which were drawn, to evidence (n,) in [0, 1]."""


def conjunction(shares: Sequence[Tensor], _drawn: Sequence[bool]) -> Tensor:
    square, ellipse, triangle = shares
    return square * (1 - (1 - ellipse) * (1 - triangle))


def disjunction(shares: Sequence[Tensor], _drawn: Sequence[bool]) -> Tensor:
    return torch.stack(list(shares)).amax(dim=0)


def mean_share(shares: Sequence[Tensor], drawn: Sequence[bool]) -> Tensor:
    return torch.stack([each for each, there in zip(shares, drawn, strict=True) if there]).mean(0)


AND: Final[Evidence] = conjunction
OR: Final[Evidence] = disjunction
ADDITIVE: Final[Evidence] = mean_share


def oracle(sample: Sample, evidence: Evidence, slope: float) -> ToyClassifier:
    """Make the classifier of one picture."""
    image, ideal = picture(sample.image), picture(sample.ideal)
    regions = [_region(sample, name) for name in SHAPES]
    drawn = [bool(region.any()) for region in regions]
    _, height, width = image.shape
    spec = ModelSpec(
        height=height,
        width=width,
        channels=1,
        mean=(0.0,),
        std=(1.0,),
        labels=("healthy", "diseased"),
        activation="none",
    )

    def function(images: Images) -> Scores:
        altered = (images - image).abs() < (images - ideal).abs()
        shares = [_share(altered[:, 0], region) for region in regions]
        own = torch.sigmoid(slope * (evidence(shares, drawn) - 0.5))
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier(f"oracle {sample.name} {slope}", spec, function)


def oracle_case(sample: Sample) -> Case:
    """Make the case of one picture, with its ideal as contrast."""
    return Case(
        image_id=sample.name,
        image=picture(sample.image),
        target=DISEASED,
        neutral=torch.zeros(1, 1, 1),
        unit=torch.ones(1, 1, 1),
        contrast=Contrast(image=picture(sample.ideal), provider="ideal"),
        name=sample.name,
    )


def diseased_samples(count: int, seed: int = 0) -> Iterator[Sample]:
    """Draw the first ``count`` diseased pictures of the archived preset."""
    return islice(_chosen(lambda _, label: label == "diseased", seed), count)


def shaped_samples(count: int, shapes: Sequence[int], seed: int = 1) -> Iterator[Sample]:
    """Draw the first ``count`` pictures with so many of `SHAPES`, whatever their label."""
    return islice(_chosen(lambda names, _: len(names & set(SHAPES)) in shapes, seed), count)


def _chosen(wanted: Callable[[set[str], Label], bool], seed: int) -> Iterator[Sample]:
    for index in range(DRAWN):
        names, label = synthetic_facts(seed, index)
        if wanted(set(names), label):
            yield synthetic_sample(seed, index)


def picture(grey: Grey) -> Image:
    """Turn a drawn picture into image units, one channel."""
    return torch.from_numpy(grey).float().div(255).unsqueeze(0)


def drawn_shapes(sample: Sample) -> tuple[Feature, ...]:
    """List the features that the oracles look at."""
    return tuple(each for each in sample.features if each.name in SHAPES)


def _region(sample: Sample, name: str) -> Region:
    """Take the pixels of a feature that the drawing changed; none where it was not drawn."""
    changed = torch.from_numpy(sample.image != sample.ideal)
    masks = [torch.from_numpy(each.mask) for each in sample.features if each.name == name]
    return masks[0] & changed if masks else torch.zeros_like(changed)


def _share(altered: Tensor, region: Region) -> Tensor:
    return altered[:, region].float().mean(dim=1) if region.any() else torch.zeros(len(altered))
