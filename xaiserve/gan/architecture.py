"""`Architecture`: the sizes of generator and critic; the defaults are the published ones."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from xaiserve.errors import InvalidInputError
from xaiserve.parameters import check_fields, param

Norm = Literal["batch", "instance"]

_CODE: Final = "the authors' code"

CRITIC_POOLS: Final = 5
"""Halvings of the critic, after which a side of 256 is 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What decides the shape of every weight.

    Parameters
    ----------
    side
        Height and width of the network's pictures; a multiple of what the poolings need.
    channels
        1 for grey, 3 for RGB.
    width, depth
        The generator's channels at full size, doubled by each of ``depth`` poolings.
    critic_width
        The critic's channels at full size.
    fold
        Pixels per side that become channels before the first convolution, and pixels again after
        the last: a network of ``side / fold`` that still sees and draws every pixel.
    residual
        Whether the generator's output is added to its input. It starts as the identity, so that
        short trainings spend their time on the change.
    norm
        What follows the generator's convolutions: ``batch`` (frozen at inference) or ``instance``.
    """

    side: int = param(256, "Side of the network's pictures.", low=16, high=1024, source=_CODE)
    channels: int = param(1, "Channels of the pictures, 1 or 3.", low=1, high=3, source=_CODE)
    width: int = param(64, "Generator's channels at full size.", low=1, high=256, source=_CODE)
    depth: int = param(3, "Generator's poolings.", low=1, high=6, source=_CODE)
    critic_width: int = param(32, "Critic's channels at full size.", low=1, high=256, source=_CODE)
    fold: int = param(
        1, "Pixels per side folded into channels: 1, 2, 4 or 8.", low=1, high=8, source="ours"
    )
    residual: bool = param(False, "Add the generator's output to its input.", source="ours")
    norm: Norm = param("batch", "Normalisation after the generator's convolutions.", source=_CODE)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.channels not in {1, 3}:
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        if self.fold not in {1, 2, 4, 8}:
            raise ValueError(f"fold must be 1, 2, 4 or 8, got {self.fold}")
        unit = self.fold << self.depth
        if self.side % unit:
            raise ValueError(
                f"side must be a multiple of {unit} (fold {self.fold}, depth {self.depth}), "
                f"got {self.side}"
            )
        if self.side >> (CRITIC_POOLS + 1) == 0:
            raise ValueError(f"side must be at least {2 << CRITIC_POOLS}, got {self.side}")

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return all fields; `from_json` reads them back equal."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Architecture":  # Any: JSON
        """Read what `to_json` returned.

        Raises
        ------
        InvalidInputError
            A field is unknown or out of range.
        """
        try:
            return cls(**found)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"this is no architecture of a contrast GAN: {error}"
            ) from error
