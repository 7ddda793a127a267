"""Grad-CAM: a layer's feature maps, weighted by how much the target's logit follows each of them.

R. R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization*, ICCV 2017, arXiv 1610.02391, equations 1 and 2. Computed by captum.

Deviations:

1. The layer is found rather than named: the last module, in the order of the forward pass, whose
   output is a stack of maps of more than one pixel. In a network whose classifier is itself
   convolutional (SqueezeNet) these are the class maps.
2. The map is enlarged bilinearly to the model's input size and not scaled to [0, 1].
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.baselines._captum import backward_bytes, captum_attr, model_input
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, Spent
from xaiserve.perturb.rng import Keys
from xaiserve.types import Images


@dataclass(frozen=True, slots=True, kw_only=True)
class GradCam:
    """Weigh the maps of one layer by their gradients; 2 model inputs, one of them with gradients.

    Saliency is at least 0, for the rectifier of equation 2 keeps what speaks for the target, unless
    ``sign`` leaves it out.
    """

    name: ClassVar[str] = "grad-cam"
    version: ClassVar[int] = 1

    layer: str | None = param(
        None,
        "Dotted name of the module whose maps are weighted; the last one with maps when none",
        source="Selvaraju et al. 2017, section 3",
    )

    sign: Literal["positive", "signed"] = param(
        "positive",
        "Whether what speaks against the target becomes 0",
        source="Selvaraju et al. 2017, equation 2; CLEAR Image's comparison: signed",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def attribute(
        self,
        model: DifferentiableClassifier,
        case: Case,
        keys: Keys,  # noqa: ARG002 -- draws nothing
    ) -> Generator[Event, None, Explanation]:
        captum = captum_attr(self.name)
        inputs = model_input(model, case.image)
        layer = choose_layer(model.module, inputs, self.layer)
        yield Spent(rows=1)

        # Equation 1 (weights: gradients averaged over each map) and equation 2 (rectified sum).
        cam = captum.LayerGradCam(model.module, model.module.get_submodule(layer))
        with torch.enable_grad():
            maps = cam.attribute(
                inputs, target=case.target, relu_attributions=self.sign == "positive"
            )
        yield Spent(rows=1)

        large = functional.interpolate(
            maps.detach(), size=(case.height, case.width), mode="bilinear", align_corners=False
        )
        return Explanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=large[0, 0].float().cpu(),
        )

    def bytes_in_flight(self, case: Case) -> int:
        """Bound one pass forward and back."""
        return backward_bytes(case, rows=1)


def choose_layer(module: nn.Module, inputs: Images, wanted: str | None) -> str:
    """Check the layer that the caller named, or find the last one with maps.

    Raises
    ------
    InvalidInputError
        The network has no such layer, or none whose output (1, c, h, w) has h and w above 1.
    """
    with maps_of_modules(module) as maps, torch.no_grad():
        module(inputs)
    if not maps:
        raise InvalidInputError(
            "grad-cam needs a layer whose output is a stack of maps, and this model shows none; "
            "an exported program does not, the original network may"
        )
    names = list(maps)
    if wanted is None:
        return names[-1]
    if wanted not in maps:
        some = ", ".join(names[-3:])
        raise InvalidInputError(
            f"layer must name one of the {len(names)} modules with maps, the last being {some}; "
            f"got {wanted!r}"
        )
    return wanted


@contextmanager
def maps_of_modules(module: nn.Module) -> Iterator[dict[str, torch.Size]]:
    """Note which modules output maps while ``module`` runs, in the order in which they finish.

    Modules that run more than once are left out: a hook could not tell their calls apart.
    """
    maps: dict[str, torch.Size] = {}
    calls: dict[str, int] = {}

    def note(name: str, output: object) -> None:
        calls[name] = calls.get(name, 0) + 1
        if calls[name] > 1:
            maps.pop(name, None)
        elif isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1:  # noqa: PLR2004
            maps[name] = output.shape

    handles = [
        part.register_forward_hook(lambda *run, name=name: note(name, run[2]))
        for name, part in module.named_modules()
        if name
    ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
