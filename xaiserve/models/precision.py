"""Fewer bits where a search only looks around, and the check that says whether a network bears it.

With ``bf16`` or ``fp16`` a network computes its convolutions and products in that type (autocast;
weights stay float32). Every set about to be released, and every row near a decision, is asked with
``alone`` and scored in float32, so that what is released is sufficient as in float32. The way there
is not the same: a decision of the search may differ from float32's, and as GPUs choose kernels by
batch size, it may differ by company too. Only float32 has results that do not depend on batching.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import override

from xaiserve.errors import InvalidInputError
from xaiserve.models.loaded import Runner
from xaiserve.models.spec import ModelSpec
from xaiserve.types import Images, Scores

Precision = Literal["fp32", "bf16", "fp16"]

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

DTYPES: Final[dict[Precision, torch.dtype]] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

MOST_CHANGED: Final = 0.05
"""A network more of whose decisions change is searched in float32. Measured in bfloat16 on masked
photographs: where 27 % of the top classes changed (MobileNetV2), 3.4 % of the decisions about the
photograph's own class did, which leads searches astray; where 2.5 % changed (SqueezeNet), none."""

_SEED: Final = 20
_PICTURES: Final = 8
_SETS: Final = 16
"""Visible sets per picture."""

_RECTANGLES: Final = 4
_CHUNK: Final = 8
_GRAIN: Final = (1, 4, 16, 64)
"""Side of the squares of equal colour that the pictures' layers are made of, in pixels: objects
have edges at every scale, white noise at one."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a network in fewer bits compares with itself in float32, on seeded probes.

    Parameters
    ----------
    changed
        Share of the probes on which any class is decided otherwise.
    largest
        The largest difference of any probability.
    """

    changed: float
    largest: float

    @property
    def bearable(self) -> bool:
        """Whether at most `MOST_CHANGED` of the decisions change."""
        return self.changed <= MOST_CHANGED

    @override
    def __str__(self) -> str:
        return f"{self.changed:.1%} of decisions change, probabilities by up to {self.largest:.2g}"


def checked_precision(text: str) -> Precision:
    """Take a precision by name.

    Raises
    ------
    InvalidInputError
        There is none of that name.
    """
    for known in PRECISIONS:
        if text == known:
            return known
    raise InvalidInputError(f"precision must be one of {', '.join(PRECISIONS)}, got {text!r}")


def agreement(spec: ModelSpec, reduced: Runner, exact: Runner) -> Agreement:
    """Compare two runners on noise pictures of which random rectangles show, over value 0.

    On pictures shown whole the answers hardly differ: MobileNetV2 in bfloat16 agreed on all of 20
    photographs, and on 73 % of a thousand sets of rectangles of them.
    """
    pictures, shown = probe_sets(spec)
    changed, largest = 0, 0.0
    for picture, sets in zip(spec.normalise(pictures), shown, strict=True):
        masked = picture * sets.unsqueeze(1)
        found, true = _scores(spec, reduced, masked), _scores(spec, exact, masked)
        changed += int((_decisions(spec, found) != _decisions(spec, true)).any(dim=1).sum())
        largest = max(largest, float((found - true).abs().max()))
    return Agreement(changed / (len(pictures) * shown.shape[1]), largest)


def _decisions(spec: ModelSpec, scores: Scores) -> Tensor:
    """Say what is decided per row: the top class (n, 1), or each class (n, k)."""
    if spec.rule.thresholds:
        return scores >= torch.tensor(spec.rule.thresholds)
    return scores.argmax(dim=1, keepdim=True)


def probe_sets(spec: ModelSpec) -> tuple[Images, Tensor]:
    """Make pictures (p, c, h, w) in [0, 1] and sets (p, s, h, w) in {0, 1}, always the same."""
    rng = torch.Generator().manual_seed(_SEED)
    size = (spec.height, spec.width)
    layers = [
        interpolate(
            torch.rand(
                _PICTURES, spec.channels, *(-(-side // grain) for side in size), generator=rng
            ),
            scale_factor=float(grain),
        )[..., : size[0], : size[1]]
        for grain in _GRAIN
    ]
    corners = torch.rand(_PICTURES, _SETS, _RECTANGLES, 4, generator=rng)
    shown = _inside(corners[..., :2], size[0]).unsqueeze(-1) & _inside(
        corners[..., 2:], size[1]
    ).unsqueeze(-2)
    sets = shown.any(dim=2)
    sets[:, ::2] = ~sets[:, ::2]
    return torch.stack(layers).mean(dim=0), sets.float()


def _inside(ends: Tensor, size: int) -> Tensor:
    """Say which of ``size`` positions lie between two fractions of it, (..., 2) -> (..., size)."""
    low, high = ends.sort(dim=-1).values.mul(size).unsqueeze(-2).unbind(dim=-1)
    position = torch.arange(size)
    return (position >= low) & (position < high)


def _scores(spec: ModelSpec, runner: Runner, inputs: Images) -> Scores:
    chunks = torch.split(inputs.to(runner.device), _CHUNK)
    return torch.cat([spec.probabilities(runner.outputs(chunk)).cpu() for chunk in chunks])
