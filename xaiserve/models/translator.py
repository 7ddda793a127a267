"""`Translator`: what the rest of the project knows about a model that redraws pictures."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from xaiserve.types import Images


@runtime_checkable
class Translator(Protocol):
    """Redraws a picture as it would look in another class."""

    @property
    def labels(self) -> Sequence[str]:
        """Names of the classes, in the order of `translate`'s targets."""
        ...

    @property
    def side(self) -> int:
        """Height and width at which it draws; pictures of other sizes are resized and back."""
        ...

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        ...

    @property
    def digest(self) -> str:
        """Sha256 of what decides the pictures: weights, architecture and mode."""
        ...

    def target(self, label: str) -> int:
        """Return the number of the class ``label``.

        Raises
        ------
        InvalidInputError
            It has no such class; the message lists those that it has.
        """
        ...

    def translate(self, images: Images, target: int | Sequence[int]) -> Images:
        """Redraw pictures, (n, c, h, w) in [0, 1], in class ``target``, or one target for each.

        A picture's result does not depend on the others. The result is on the CPU.

        Raises
        ------
        InvalidInputError
            The pictures do not fit the translator, or there is no such class.
        ClassifierFaultError
            The network answered with NaN.
        """
        ...
