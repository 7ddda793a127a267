"""``gpu``: rows scored per second inside searches over the bare model's, on a CUDA device.

The model has ResNet-50's shape (bottlenecks of 3, 4, 6 and 3, 25.6 million weights) and seeded
random weights. The bare model runs in bfloat16 from a CUDA graph on input that is there already, at
the batch size that is best up to 1024; inside, pictures are composed for every row, scores come
back, and sets about to be released are scored in float32, one by one.

Random weights decide by a hair's breadth, so that the check at load would refuse fewer bits; the
benchmark makes its classifier from the same pieces without asking it.
"""

import time
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from benchmarks.common import Report, interleaved, report, spread
from xaiserve.api import start
from xaiserve.errors import InvalidInputError
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.models.cuda_graphs import GraphRunner, cuda_recorder
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.spec import ModelSpec
from xaiserve.models.torch_classifier import TorchGradients, TorchRunner, resolve_device
from xaiserve.models.tuning import GPU_SIZES
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

BAR: Final = 0.9
IN_FLIGHT: Final = 64
PAIRS: Final = 5
SIDE: Final = 224
CLASSES: Final = 1000
BLOCKS: Final = (3, 4, 6, 3)
MAX_INPUTS: Final = 4000
QUICK_INPUTS: Final = 500
_AHEAD: Final = 4
SPEC: Final = ModelSpec(
    height=SIDE, width=SIDE, labels=tuple(f"class {index}" for index in range(CLASSES))
)


def run(quick: bool) -> Report:
    """Measure five interleaved pairs; ``quick`` searches less far."""
    try:
        device = resolve_device("cuda")
    except InvalidInputError as error:
        raise SystemExit(f"this benchmark needs a CUDA device: {error}") from error
    model = classifier(device)
    cases = _cases(model)
    limits = Limits(max_inputs=QUICK_INPUTS if quick else MAX_INPUTS)
    seconds = 1.0 if quick else 4.0
    rates = {batch: round(_bare(model, batch, seconds / 2), 1) for batch in GPU_SIZES}
    batch = max(rates, key=lambda size: rates[size])
    inside, bare = interleaved(
        lambda: _search(model, limits, cases), lambda: _bare(model, batch, seconds), PAIRS
    )
    ratios = [a / b for a, b in zip(inside, bare, strict=True)]
    value = spread(ratios)["median"]
    return report(
        value,
        f">= {BAR}",
        holds=value >= BAR,
        figures={
            "ratio": spread(ratios),
            "rows_per_s_inside": spread(inside),
            "rows_per_s_bare": spread(bare),
            "bare_batch": batch,
            "bare_rows_per_s_by_batch": rates,
            "engine_batch": model.batch_rows,
            "images_in_flight": IN_FLIGHT,
            "gpu": torch.cuda.get_device_name(device),
        },
    )


def classifier(device: torch.device) -> LoadedClassifier:
    """Make the model: bfloat16 and float32 runners over one network."""
    network = residual_network().eval().to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    eager = TorchRunner(network=network, device=device, layout=torch.channels_last)
    reduced = replace(eager, dtype=torch.bfloat16)
    return LoadedClassifier(
        name="residual",
        spec=SPEC,
        digest="residual",
        runner=GraphRunner(runner=reduced, record=cuda_recorder(reduced)),
        exact_runner=GraphRunner(runner=eager, record=cuda_recorder(eager)),
        differentiable=lambda: _gradients(network, device),
    )


def _gradients(network: nn.Module, device: torch.device) -> DifferentiableClassifier:
    return TorchGradients(spec=SPEC, device=device, module=network)


class Bottleneck(nn.Module):
    """Three convolutions, of which the middle one may halve the size, beside a short cut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, width, 1, 1),
            nn.ReLU(),
            *_convolution(width, width, 3, stride),
            nn.ReLU(),
            *_convolution(width, 4 * width, 1, 1),
        )
        same = channels == 4 * width and stride == 1
        self.short = (
            nn.Identity() if same else nn.Sequential(*_convolution(channels, 4 * width, 1, stride))
        )

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.body(inputs)
        return torch.relu(found + self.short(inputs))


def _convolution(channels: int, width: int, size: int, stride: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm2d(width)


def residual_network() -> nn.Module:
    """Make a network of ResNet-50's shape; its weights are drawn from a seed of their own."""
    layers: list[nn.Module] = [*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, blocks in enumerate(BLOCKS):
        width = 64 << stage
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, 2 if stage and block == 0 else 1))
            channels = 4 * width
    head = nn.Linear(channels, CLASSES)
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=rng)
        # The short cuts have added up: without this one class would have all the probability.
        head.weight.div_(100)
    return network


def _cases(model: LoadedClassifier) -> list[Case]:
    """Make noise pictures, each with the class that the model gives it."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(IN_FLIGHT, 3, SIDE // 16, SIDE // 16, generator=rng)
    images = coarse.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    targets = model.scores(images).argmax(dim=1).tolist()
    return [
        Case(
            image_id=f"{index:064x}",
            image=image,
            target=target,
            neutral=SPEC.neutral,
            unit=SPEC.unit,
            rule=SPEC.rule,
        )
        for index, (image, target) in enumerate(zip(images, targets, strict=True))
    ]


def _bare(model: LoadedClassifier, batch: int, seconds: float) -> float:
    inputs = torch.rand(batch, 3, SIDE, SIDE, device=model.device)
    model.runner.outputs(inputs)
    torch.cuda.synchronize(model.device)
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(_AHEAD):
            model.runner.outputs(inputs)
        rows += _AHEAD * batch
        # The device must not run out of work, nor the clock away from the device.
        torch.cuda.synchronize(model.device)
    return rows / (time.perf_counter() - begun)


def _search(model: LoadedClassifier, limits: Limits, cases: list[Case]) -> float:
    with Engine(model) as engine:
        begun = time.perf_counter()
        tickets = [start(engine, MultiRex(), case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        seconds = time.perf_counter() - begun
    return sum(ticket.cost.model_inputs for ticket in tickets) / seconds
