"""A training of a contrast GAN as data: what is trained on what, and what came of it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xaiserve.errors import InvalidInputError
from xaiserve.gan.options import PRESETS, Preset, PresetName, with_settings
from xaiserve.gan.session import Ended
from xaiserve.parameters import MAX_SEED


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is trained on what, and where it goes.

    Parameters
    ----------
    images
        Two folders or ``s3://`` prefixes; their names are the classes.
    out
        Folder or ``s3://bucket/prefix`` of the translator; one training per output.
    preset, settings
        A preset, and fields of its `Architecture` or `TrainingOptions` to change, as texts.
    seed
        All randomness is derived from it; 0 to `MAX_SEED`.
    held_out
        Share of each class that is not trained on, for sample sheets and the card.
    max_seconds, checkpoint_s, sheet_s
        See `Habits`.
    classifier, trust_code
        Of the guide, as `load_classifier` takes them; no guide when none.
    """

    images: tuple[str, ...]
    out: str
    preset: PresetName = "cpu"
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    held_out: float = 0.1
    max_seconds: float | None = None
    checkpoint_s: float = 60.0
    sheet_s: float = 300.0
    classifier: str | None = None
    trust_code: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InvalidInputError(
                f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidInputError(f"seed must be from 0 to {MAX_SEED}, got {self.seed}")
        if not 0 < self.held_out < 1:
            raise InvalidInputError(f"held_out must be between 0 and 1, got {self.held_out:g}")
        for name in ("max_seconds", "checkpoint_s", "sheet_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInputError(f"{name} must be above 0, got {value:g}")

    def wanted(self) -> Preset:
        """Return the preset with its changes.

        Raises
        ------
        InvalidInputError
            A setting is unknown or out of range.
        """
        return with_settings(PRESETS[self.preset], dict(self.settings))

    def deciding(self) -> dict[str, Any]:  # Any: JSON
        """Return what decides the weights; how long it may take and when it saves do not."""
        wanted = self.wanted()
        return {
            "images": list(self.images),
            "architecture": wanted.architecture.to_json(),
            "options": dataclasses.asdict(wanted.options),
            "seed": self.seed,
            "held_out": self.held_out,
            "classifier": self.classifier,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A finished training.

    Parameters
    ----------
    out
        The translator's folder.
    labels
        Its classes.
    steps, epochs, seconds, ended
        See `Outcome`.
    pictures
        Trained on and held out.
    skipped
        Files that were left out, each with its reason.
    figures
        See `Figures`.
    """

    out: str
    labels: tuple[str, ...]
    steps: int
    epochs: float
    seconds: float
    ended: Ended
    pictures: int
    skipped: tuple[str, ...]
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return all fields."""
        return dataclasses.asdict(self)
