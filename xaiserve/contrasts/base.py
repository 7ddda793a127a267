"""What a provider of contrast pictures is, and what is checked of every picture it makes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, Protocol, runtime_checkable

import torch

from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import QueryPlan, ask
from xaiserve.perturb.query import Pixels
from xaiserve.types import Images, Scores

BLANK: Final = 1 / 255
"""Two pictures that differ by less than this everywhere are the same picture."""

Ask = Callable[[Images], Scores]
"""Asks the classifier about pictures in image units, each in a batch of one."""

Made = Contrast | XaiServeError
"""What a provider makes of a case: its contrast picture, or why it has none."""


@runtime_checkable
class ContrastProvider(Protocol):
    """Makes contrast pictures for one classifier."""

    @property
    def name(self) -> str:
        """``gan``, ``nearest``, ``file``, ``blur`` or ``inpaint``."""
        ...

    @property
    def digest(self) -> str:
        """Sha256 of what decides its pictures besides the cases and the classifier."""
        ...

    @property
    def batch(self) -> int:
        """Cases at once that it does best; more only take memory."""
        ...

    def contrasts(self, cases: Sequence[Case]) -> list[Made]:
        """Make one contrast picture for each case, in order.

        A case that cannot have one gets the error that says why, and the others their pictures.
        What is made for a case does not depend on the others.
        """
        ...


def asker(engine: Engine, *, interactive: bool = False) -> Ask:
    """Ask through ``engine``, so that only its threads call the model."""

    def ask_engine(images: Images) -> Scores:
        plan = _scores_plan(images)
        return engine.submit(
            plan, about="scores for contrast pictures", interactive=interactive
        ).result()

    return ask_engine


def _scores_plan(images: Images) -> QueryPlan[Scores]:
    return (yield from ask(Pixels(images, alone=True)))


def with_contrasts(provider: ContrastProvider, cases: Sequence[Case]) -> list[Case | XaiServeError]:
    """Give each case its contrast picture, or say why it has none.

    A case that has one already keeps it.
    """
    without = [case for case in cases if case.contrast is None]
    made = iter(provider.contrasts(without) if without else ())
    return [case if case.contrast is not None else _joined(case, next(made)) for case in cases]


def ahead(
    provider: ContrastProvider | None, cases: Iterable[Case]
) -> Iterator[Case | XaiServeError]:
    """Give cases their contrast pictures, a batch of the provider's at a time, in order."""
    if provider is None:
        yield from cases
        return
    for batch in _batched(cases, provider.batch):
        yield from with_contrasts(provider, batch)


def _batched(cases: Iterable[Case], size: int) -> Iterator[list[Case]]:
    left = iter(cases)
    while batch := list(islice(left, size)):
        yield batch


def _joined(case: Case, made: Made) -> Case | XaiServeError:
    if isinstance(made, XaiServeError):
        return made
    try:
        check_contrast(case, made)
    except InvalidInputError as error:
        return error
    return replace(case, contrast=made)


def check_contrast(case: Case, contrast: Contrast) -> None:
    """Refuse a contrast picture that cannot be compared with the image.

    Raises
    ------
    InvalidInputError
        It has another shape, values that are not finite or outside [0, 1], or it is the image.
    """
    image, other = case.image, contrast.image
    about = f"contrast of image {case.name or case.image_id[:12]} ({contrast.provider})"
    if other.shape != image.shape:
        raise InvalidInputError(
            f"{about} must be of shape {tuple(image.shape)} like the image, "
            f"got {tuple(other.shape)}"
        )
    if not bool(torch.isfinite(other).all()):
        raise InvalidInputError(f"{about} must be finite, got NaN or infinity")
    low, high = float(other.min()), float(other.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise InvalidInputError(f"{about} must lie in [0, 1], got {low:.4g} to {high:.4g}")
    difference = float((image - other).abs().max())
    if difference < BLANK:
        raise InvalidInputError(
            f"{about} must differ from the image, got the same picture: the largest difference is "
            f"{difference:.4f}, below 1/255: choose another contrast (blank_contrast)"
        )


_SLACK: Final = 1e-6


def stacked(cases: Sequence[Case]) -> Images:
    """Put the images of cases into one batch (n, c, h, w)."""
    return torch.stack([case.image for case in cases])
