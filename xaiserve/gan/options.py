"""`TrainingOptions`: how a contrast GAN is trained, and presets for a GPU and a CPU."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from xaiserve.errors import InvalidInputError
from xaiserve.gan.architecture import Architecture
from xaiserve.parameters import check_fields, param, parameters_of, parse_options

_CODE: Final = "the authors' code"

P = TypeVar("P", Architecture, "TrainingOptions")

PresetName = Literal["paper", "cpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Schedule, optimiser and weights of the losses; the defaults are the published ones."""

    epochs: int = param(
        500, "Times that every picture is shown.", low=1, high=100_000, source=_CODE
    )
    batch: int = param(10, "Pictures per step, over all workers.", low=2, high=4096, source=_CODE)
    critic_steps: int = param(
        5, "Steps of the critic per step of the generator.", low=1, high=100, source=_CODE
    )
    learning_rate: float = param(1e-4, "Of Adam, for both networks.", low=0, high=1, source=_CODE)
    beta1: float = param(0.5, "Adam's first decay.", low=0, high=0.9999, source=_CODE)
    beta2: float = param(0.999, "Adam's second decay.", low=0, high=0.999999, source=_CODE)
    decay: float = param(
        0.0,
        "Share of the steps, at the end, over which the learning rate falls to 0.",
        low=0,
        high=1,
        source="ours",
    )
    clip: float = param(10.0, "Largest norm of a step's gradients.", low=0, source=_CODE)
    noise: float = param(
        0.05, "Height of the uniform noise on inputs and outputs.", low=0, high=1, source=_CODE
    )
    flip_horizontal: float = param(
        0.5, "Share of pictures mirrored left to right.", low=0, high=1, source=_CODE
    )
    flip_vertical: float = param(
        0.5, "Share of pictures turned upside down.", low=0, high=1, source=_CODE
    )
    balance: bool = param(
        True,
        "Show both classes equally often in an epoch.",
        source="CheXpert adaptation of the authors' code",
    )
    dropout: float = param(0.1, "Dropped units of the class head.", low=0, high=0.9, source=_CODE)
    real_weight: float = param(20.0, "Critic: weight of L_real.", low=0, source=_CODE)
    fake_weight: float = param(20.0, "Critic: weight of L_fake.", low=0, source=_CODE)
    penalty_weight: float = param(10.0, "Critic: weight of L_gp.", low=0, source=_CODE)
    class_weight: float = param(5.0, "Critic: weight of L_cls.", low=0, source=_CODE)
    adversarial_weight: float = param(1.0, "Generator: weight of L_adv.", low=0, source=_CODE)
    reconstruction_weight: float = param(50.0, "Generator: weight of L_rec.", low=0, source=_CODE)
    identity_weight: float = param(50.0, "Generator: weight of L_id.", low=0, source=_CODE)
    target_weight: float = param(1.0, "Generator: weight of L_cls.", low=0, source=_CODE)
    change_weight: float = param(
        0.0, "Generator: weight of the mean absolute change.", low=0, source="ours"
    )

    guide_weight: float = param(
        1.0, "Generator: weight of the guide's L_cls, if there is a guide.", low=0, source="ours"
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A network and how it is trained."""

    architecture: Architecture
    options: TrainingOptions


PRESETS: Final[dict[PresetName, Preset]] = {
    "paper": Preset(architecture=Architecture(), options=TrainingOptions()),
    "cpu": Preset(
        architecture=Architecture(
            side=64, width=24, depth=2, critic_width=6, fold=2, residual=True, norm="instance"
        ),
        options=TrainingOptions(
            epochs=20,
            batch=8,
            critic_steps=2,
            learning_rate=5e-4,
            decay=0.5,
            # Whoever must draw a finding again from its absence had better leave a trace of it:
            # with the published 50, short trainings darken findings instead of removing them.
            reconstruction_weight=5.0,
            adversarial_weight=5.0,
            change_weight=2.0,
        ),
    ),
}
"""``paper``: the published network for a GPU. ``cpu``: one that an hour of two cores can train."""


def with_settings(preset: Preset, texts: dict[str, str]) -> Preset:
    """Change fields of a preset, given as ``key=value`` texts of either of its parts.

    Raises
    ------
    InvalidInputError
        An unknown key, or a value out of range.
    """
    sizes = {each.name for each in parameters_of(Architecture)}
    mine = {key: text for key, text in texts.items() if key in sizes}
    rest = {key: text for key, text in texts.items() if key not in sizes}
    try:
        return Preset(
            architecture=_changed(preset.architecture, mine),
            options=_changed(preset.options, rest),
        )
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def _changed(part: P, texts: dict[str, str]) -> P:
    found: Any = part  # Any: `replace` is typed for one dataclass, and this is one of two
    changed: P = dataclasses.replace(found, **parse_options(type(part), texts))
    return changed
