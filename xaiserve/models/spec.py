"""`ModelSpec`: all that must be known about a classifier besides its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch

from xaiserve.errors import InvalidInputError
from xaiserve.types import Colour, Images, Margins, Scores

_DIGITS: Final = 18
"""Of an index; Python itself reads no more than some thousands."""

Activation = Literal["softmax", "sigmoid", "none"]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How scores become a decision: the top class, or a threshold per class.

    Parameters
    ----------
    thresholds
        Empty for arg-max. Otherwise class k is predicted iff its score reaches ``thresholds[k]``,
        as in multi-label classifiers.
    """

    thresholds: tuple[float, ...] = ()

    def margins(self, scores: Scores, target: int) -> Margins:
        """Say per row how far class ``target`` is from not being decided, (n, k) -> (n,).

        Arg-max: the target's score minus the best other. Threshold: score minus threshold. The
        sign says the decision except at an exact tie of two classes; see `decides`.
        """
        own = scores[:, target]
        if self.thresholds:
            return own - self.thresholds[target]
        return own - _best_other(scores, target)

    def log_margins(self, scores: Scores, target: int) -> Margins:
        """Say the same on a scale that does not flatten towards 0 and 1, (n, k) -> (n,).

        Arg-max: the logarithm of the target's score minus that of the best other, which for a
        softmax is the difference of the logits. Threshold: the logit of the score minus the
        threshold's. Finite: scores are kept off 0 (and 1) by float32's smallest steps.
        """
        own = scores[:, target]
        if self.thresholds:
            return _logit(own) - _logit(torch.tensor(self.thresholds[target], dtype=own.dtype))
        low = torch.finfo(own.dtype).tiny
        return own.clamp(min=low).log() - _best_other(scores, target).clamp(min=low).log()

    def decides(self, scores: Scores, target: int) -> torch.Tensor:
        """Say per row whether ``target`` is decided; ties of two classes go to the lower index."""
        if self.thresholds:
            return scores[:, target] >= self.thresholds[target]
        return scores.argmax(dim=1) == target


def _best_other(scores: Scores, target: int) -> Margins:
    """Find the best score but the target's, without a copy of the scores."""
    sides = (scores[:, :target], scores[:, target + 1 :])
    best = [side.amax(dim=1) for side in sides if side.shape[1]]
    return best[0] if len(best) == 1 else torch.maximum(*best)


def _logit(score: torch.Tensor) -> torch.Tensor:
    limits = torch.finfo(score.dtype)
    kept = score.clamp(limits.tiny, 1 - limits.eps / 2)
    return kept.log() - (-kept).log1p()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How a picture of any size becomes one of the model's size.

    Parameters
    ----------
    mode
        ``shorter``: scale so that the shorter side is ``side_px``, then crop the centre;
        ``exact``: scale both sides to the model's, ignoring the aspect ratio.
    side_px
        Length of the shorter side after scaling, in pixels; unused when ``exact``.
    resample
        Filter of the scaling (Pillow's, with antialiasing).
    """

    mode: Literal["shorter", "exact"] = "exact"
    side_px: int = 0
    resample: Resample = "bilinear"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Input, output and decision of one classifier.

    Parameters
    ----------
    height, width
        Input size in pixels.
    channels
        3 for RGB, 1 for grey.
    value_range
        What image values 0 and 1 become before ``mean`` and ``std`` apply: (0, 1) or (0, 255).
    mean, std
        One number per channel, in units of ``value_range``.
    labels
        One name per class, in class order; names need not be unique.
    activation
        What turns the model's output into probabilities.
    rule
        The decision rule.
    """

    height: int
    width: int
    channels: int = 3
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: Resize = Resize()
    labels: tuple[str, ...]
    activation: Activation = "softmax"
    rule: Rule = Rule()

    def __post_init__(self) -> None:
        self._check_input()
        if len(self.labels) < 2:  # noqa: PLR2004
            raise ValueError(f"labels must name at least 2 classes, got {len(self.labels)}")
        if self.rule.thresholds and len(self.rule.thresholds) != len(self.labels):
            raise ValueError(
                f"thresholds must have one number per class ({len(self.labels)}), "
                f"got {len(self.rule.thresholds)}"
            )

    def _check_input(self) -> None:
        if min(self.height, self.width) < 2:  # noqa: PLR2004
            raise ValueError(f"height and width must be at least 2, got {self.height}x{self.width}")
        if self.channels not in {1, 3}:
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != self.channels:
                raise ValueError(f"{name} must have {self.channels} numbers, got {len(numbers)}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(f"value_range must be (low, high), low < high, got {self.value_range}")

    @property
    def classes(self) -> int:
        return len(self.labels)

    def normalise(self, images: Images) -> Images:
        """Turn image units into model inputs, on the device of ``images``."""
        low, high = self.value_range
        mean, std = self._per_channel(self.mean, images), self._per_channel(self.std, images)
        return (images * (high - low) + low - mean) / std

    @property
    def neutral(self) -> Colour:
        """The colour (c, 1, 1), in image units, whose model-input value is 0.

        It may lie outside [0, 1]: zero of an un-centred range, say.
        """
        low, high = self.value_range
        return ((torch.tensor(self.mean) - low) / (high - low)).view(-1, 1, 1)

    @property
    def unit(self) -> Colour:
        """What model-input value 1 adds to `neutral` (c, 1, 1), in image units; above 0."""
        low, high = self.value_range
        return (torch.tensor(self.std) / (high - low)).view(-1, 1, 1)

    def _per_channel(self, numbers: Sequence[float], like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(numbers, dtype=like.dtype, device=like.device).view(-1, 1, 1)

    def probabilities(self, outputs: torch.Tensor) -> Scores:
        """Apply the activation to raw outputs (n, k)."""
        match self.activation:
            case "softmax":
                return outputs.float().softmax(dim=1)
            case "sigmoid":
                return outputs.float().sigmoid()
            case "none":
                return outputs.float()

    def class_index(self, target: int | str) -> int:
        """Find a class by index or by name.

        Raises
        ------
        InvalidInputError
            For an index out of range, an unknown name, or a name that several classes share (the
            message lists their indices).
        """
        if isinstance(target, int) or (target.isdecimal() and len(target) <= _DIGITS):
            index = int(target)
            if not 0 <= index < self.classes:
                raise InvalidInputError(
                    f"target must be a class index from 0 to {self.classes - 1}, got {index}"
                )
            return index
        found = [i for i, label in enumerate(self.labels) if label.lower() == target.lower()]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidInputError(
                f"target {target!r} names {len(found)} classes, {', '.join(map(str, found))}; "
                "give the index"
            )
        raise InvalidInputError(
            f"target {target!r:.80} is no label of this model; give one of its {self.classes} "
            f"labels or an index from 0 to {self.classes - 1}"
        )
