"""The nearest real picture of the other class, for registered pictures such as brains.

Deviations from CLEAR-MRI, the authors' successor of CLEAR Image, whose choice this is: distances
are of pictures as prepared for the classifier, in 8 bits; a multi-class model's target is set
against all other classes; the image itself is never its own contrast.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar, Final

import torch

from xaiserve.contrasts.base import Ask, Made, stacked
from xaiserve.contrasts.pool import Listing, Pool, prepare_pool, read_prepared
from xaiserve.errors import InvalidInputError, NoExplanationError, XaiServeError
from xaiserve.models.spec import ModelSpec
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case, Contrast
from xaiserve.storage.results import digest_of
from xaiserve.types import Scores

_SOURCE: Final = "CLEAR-MRI"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestContrasts:
    """Choose, for each image, the nearest of the pool's pictures that speak for the other side.

    Explaining a class that the classifier decides: pictures of other true classes to which it gives
    the target less than ``low``. Explaining one that it does not: pictures of the target's true
    class to which it gives more than ``high``. Of equally near ones the first counts.

    The pool is read and scored once, on first use; it stays in memory (`pool.MAX_BYTES`). One model
    input per picture of the pool, and one per image for the decision.
    """

    listing: Listing
    spec: ModelSpec
    ask: Ask
    low: float = param(
        0.15, "Explaining a positive: pictures scored below.", low=0, high=1, source=_SOURCE
    )
    high: float = param(
        0.75, "Explaining a negative: pictures scored above.", low=0, high=1, source=_SOURCE
    )
    name: ClassVar[str] = "nearest"
    batch: ClassVar[int] = 8
    _prepared: list[Pool] = field(default_factory=list, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def digest(self) -> str:
        """See `ContrastProvider.digest`."""
        return digest_of([self.name, self.listing.digest, self.low, self.high])

    def pool(self) -> Pool:
        """Return the pool, prepared on first use; callers on other threads wait for it."""
        with self._lock:
            if not self._prepared:
                self._prepared.append(prepare_pool(self.listing, self.spec, self.ask))
            return self._prepared[0]

    def contrasts(self, cases: Sequence[Case]) -> list[Made]:
        """See `ContrastProvider.contrasts`."""
        if not cases:
            return []
        try:
            pool = self.pool()
        except XaiServeError as error:
            return [error] * len(cases)
        scores = self.ask(stacked(cases))
        return [self._made(case, scores[row : row + 1], pool) for row, case in enumerate(cases)]

    def _made(self, case: Case, scores: Scores, pool: Pool) -> Made:
        label = self.spec.labels[case.target]
        positive = bool(self.spec.rule.decides(scores, case.target)[0])
        theirs = pool.scores[:, case.target]
        right = pool.classes == case.target
        fits = (~right & (theirs < self.low)) if positive else (right & (theirs > self.high))
        fits &= torch.tensor([digest != case.image_id for digest in pool.digests])
        rows = fits.nonzero().flatten()
        what = (
            f"of another class than {label}, with a score for it below {self.low:g}"
            if positive
            else f"of class {label}, with a score for it above {self.high:g}"
        )
        if not len(rows):
            return NoExplanationError(
                f"no contrast: pool {self.listing.source} holds no picture {what}"
            )
        distances = pool.distances(case.image.reshape(1, -1), rows)[0]
        chosen = int(rows[int(distances.argmin())])
        try:
            return self._contrast(pool, chosen, len(rows), what, float(distances.min()))
        except XaiServeError as error:
            return error

    def _contrast(
        self, pool: Pool, chosen: int, count: int, what: str, distance: float
    ) -> Contrast:
        uri = pool.uris[chosen]
        image, digest = read_prepared(uri, self.spec)
        if digest != pool.digests[chosen]:
            raise InvalidInputError(f"picture {uri} of the pool has changed since it was scored")
        label = self.spec.labels[int(pool.classes[chosen])]
        chosen_one = f"{PurePosixPath(uri).name} ({label}), at distance {distance:.2f}"
        notes = (
            "another real picture, not this one changed",
            f"the nearest of {count} {what}: {chosen_one}",
        )
        return Contrast(image=image, provider=self.name, digest=digest, notes=notes)
