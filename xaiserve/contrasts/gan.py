"""Contrast pictures by a translator: the same picture as it would look in another class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

import torch

from xaiserve.contrasts.base import Ask, Made, stacked
from xaiserve.errors import (
    ClassifierFaultError,
    InvalidInputError,
    XaiServeError,
)
from xaiserve.models.spec import ModelSpec
from xaiserve.models.translator import Translator
from xaiserve.parameters import param
from xaiserve.perturb.case import Case, Contrast
from xaiserve.storage.results import digest_of
from xaiserve.types import Image, Images, Scores

BATCH: Final = 8


class Aim(NamedTuple):
    """The class to translate an image to, and its own, by the translator's count."""

    to: int
    own: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GanContrasts:
    """Ask a translator.

    An image that the classifier decides to be of the target class is translated to another class:
    the other one of two; of several, ``contrast_class``, or else the one that the classifier ranks
    next. An image that it does not decide so is translated to the target class.

    Costs one model input per image, for that decision, and two translations: the second, to the
    image's own class, tells how much the translator changes what it should leave alone.

    Parameters
    ----------
    spec
        Of the classifier; classes go by name, upper and lower case alike.
    ask
        Asks the classifier.
    title
        What people call the translator.

    Raises
    ------
    InvalidInputError
        Translator and classifier do not know one class in common, or the translator does not know
        ``contrast_class``.
    """

    translator: Translator
    spec: ModelSpec
    ask: Ask
    title: str = "translator"
    contrast_class: str | None = param(
        None, "Class to translate to, where the translator knows more than two.", source="ours"
    )
    name: ClassVar[str] = "gan"
    batch: ClassVar[int] = BATCH
    _numbers: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers = {label.lower(): number for number, label in enumerate(self.translator.labels)}
        object.__setattr__(self, "_numbers", numbers)
        check_labels(self.translator, self.spec, self.title)
        if self.contrast_class is not None and self.contrast_class.lower() not in numbers:
            raise InvalidInputError(
                f"contrast_class must be a class of translator {self.title}, "
                f"{', '.join(self.translator.labels)}, got {self.contrast_class!r}"
            )

    @property
    def digest(self) -> str:
        """See `ContrastProvider.digest`."""
        return digest_of([self.name, self.translator.digest, self.contrast_class])

    def contrasts(self, cases: Sequence[Case]) -> list[Made]:
        """See `ContrastProvider.contrasts`."""
        if not cases:
            return []
        scores = self.ask(stacked(cases))
        made: list[Made | None] = [None] * len(cases)
        aims: dict[int, Aim] = {}
        for row, case in enumerate(cases):
            try:
                aims[row] = self._aim(case, scores[row : row + 1])
            except InvalidInputError as error:
                made[row] = error
        pictures = self._translated([cases[row] for row in aims], list(aims.values()))
        for row, picture in zip(aims, pictures, strict=True):
            made[row] = picture
        return [each for each in made if each is not None]

    def _aim(self, case: Case, scores: Scores) -> Aim:
        target = self._numbers.get(self.spec.labels[case.target].lower())
        if target is None:
            raise InvalidInputError(
                f"target {self.spec.labels[case.target]!r} is no class of translator {self.title}, "
                f"which knows {', '.join(self.translator.labels)}"
            )
        other = self._other(target, scores)
        decided = bool(self.spec.rule.decides(scores, case.target)[0])
        return Aim(other, target) if decided else Aim(target, other)

    def _other(self, target: int, scores: Scores) -> int:
        if self.contrast_class is not None:
            wished = self._numbers[self.contrast_class.lower()]
            if wished == target:
                raise InvalidInputError(
                    f"contrast_class must be another class than the target, "
                    f"got {self.contrast_class!r} for both"
                )
            return wished
        others = [number for number in self._numbers.values() if number != target]
        if len(others) == 1:
            return others[0]
        ranked = [self.spec.labels[index] for index in scores[0].argsort(descending=True).tolist()]
        known = [self._numbers.get(label.lower()) for label in ranked]
        return next((number for number in known if number in others), others[0])

    def _translated(self, cases: Sequence[Case], aims: Sequence[Aim]) -> list[Made]:
        """Translate together; if that fails, one by one, so that each fault is one image's."""
        if not cases:
            return []
        try:
            images = stacked(cases)
            targets = [*(aim.to for aim in aims), *(aim.own for aim in aims)]
            pictures, same = self._asked(torch.cat([images, images]), targets).chunk(2)
        except (InvalidInputError, ClassifierFaultError) as error:
            if len(cases) == 1:
                return [error]
            pairs = zip(cases, aims, strict=True)
            return [self._translated([case], [aim])[0] for case, aim in pairs]
        except XaiServeError as error:
            return [error] * len(cases)
        return [
            self._contrast(case, pictures[row], same[row], aims[row])
            for row, case in enumerate(cases)
        ]

    def _asked(self, images: Images, targets: Sequence[int]) -> Images:
        pictures = self.translator.translate(images, targets)
        if pictures.shape != images.shape:
            raise ClassifierFaultError(
                f"translator {self.title} answered with pictures of shape "
                f"{tuple(pictures.shape)} to {tuple(images.shape)}"
            )
        if not bool(pictures.isfinite().all()):
            raise ClassifierFaultError(f"translator {self.title} answered with NaN")
        return pictures.clamp(0, 1)

    def _contrast(self, case: Case, picture: Image, same: Image, aim: Aim) -> Contrast:
        side, labels = self.translator.side, self.translator.labels
        kept = float((same - case.image).abs().mean())
        aimed = f"translator {self.title}'s picture of the image in class {labels[aim.to]}"
        own = f"in its own class, {labels[aim.own]}, it changes by {kept:.3f} on average"
        size = f"{case.width}x{case.height} px"
        drawn = f"drawn at {side}x{side} px and resized to {size}: fine detail changes"
        resized = (case.height, case.width) != (side, side)
        return Contrast(
            image=picture,
            provider=self.name,
            digest=self.digest,
            notes=(aimed, own, drawn) if resized else (aimed, own),
        )


def check_labels(translator: Translator, spec: ModelSpec, title: str) -> None:
    """Refuse a translator that knows none of the classifier's classes, or only one class.

    Raises
    ------
    InvalidInputError
        The message lists both.
    """
    known = {label.lower() for label in translator.labels}
    if len(known) < 2 or not known & {label.lower() for label in spec.labels}:  # noqa: PLR2004
        raise InvalidInputError(
            f"translator {title} knows the classes {', '.join(translator.labels)}, of which the "
            f"classifier has none; it has {_listed(spec.labels)}"
        )
    if translator.channels not in {1, spec.channels}:
        raise InvalidInputError(
            f"translator {title} draws pictures of {translator.channels} channels, and the "
            f"classifier takes {spec.channels}"
        )


def _listed(labels: Sequence[str], most: int = 20) -> str:
    told = ", ".join(labels[:most])
    return told if len(labels) <= most else f"{told} and {len(labels) - most} more"
