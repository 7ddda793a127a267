"""`Sample`: a generated picture, its twin without the evidence, and where the evidence is."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, UInt8

SIDE: Final = 224
"""Height and width of every generated picture, in pixels."""

SQUARE_PX: Final = 32
SQUARES_PER_SIDE: Final = SIDE // SQUARE_PX

Label = Literal["healthy", "diseased"]

Grey = UInt8[np.ndarray, "h w"]
Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One piece of evidence drawn into a picture.

    Parameters
    ----------
    name
        What was drawn.
    parts
        One mask (h, w) per shape, of exactly the pixels drawn; the feature is there only while all
        of its parts are.
    """

    name: str
    parts: tuple[Mask, ...]

    @property
    def mask(self) -> Mask:
        """All pixels of the feature."""
        return np.asarray(np.logical_or.reduce(self.parts))

    @property
    def squares(self) -> frozenset[int]:
        """The squares of the 7 x 7 grid that the feature touches, numbered row * 7 + column."""
        rows, columns = np.nonzero(self.mask)
        numbers = rows // SQUARE_PX * SQUARES_PER_SIDE + columns // SQUARE_PX
        return frozenset(np.unique(numbers).tolist())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sample:
    """A generated picture with a known answer.

    Parameters
    ----------
    name
        Unique within a generator, seed and preset; file names derive from it.
    image
        The altered picture, (h, w), 0 to 255.
    ideal
        The same picture as it would be without any feature.
    label
        The class of ``image``; ``ideal`` is healthy.
    features
        What was drawn, also in a healthy picture whose features do not suffice for the disease.
    explanations
        How many disjoint sets of pixels each suffice for the label, where the construction says it.
    """

    name: str
    image: Grey
    ideal: Grey
    label: Label
    features: tuple[Feature, ...]
    explanations: int | None = None

    @property
    def truth(self) -> Mask:
        """The pixels that make the picture diseased: all features, or none in a healthy picture."""
        empty = np.zeros(self.image.shape, dtype=bool)
        if self.label == "healthy":
            return empty
        return np.asarray(np.logical_or.reduce([empty, *(each.mask for each in self.features)]))
