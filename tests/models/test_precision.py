from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from xaiserve.errors import InvalidInputError
from xaiserve.models.loading import load_classifier
from xaiserve.models.precision import agreement, checked_precision, probe_sets
from xaiserve.models.spec import ModelSpec, Rule
from xaiserve.models.torch_classifier import Network, TorchRunner
from xaiserve.testing.tiny_models import SPEC, ChannelMeans, images, write_folder

CPU = torch.device("cpu")
WEIGHT = 10 * torch.eye(3).view(3, 3, 1, 1)


def make_firm() -> tuple[Network, ModelSpec]:
    return lambda inputs: conv2d(inputs, WEIGHT).mean(dim=(2, 3)), SPEC


def make_touchy() -> tuple[Network, ModelSpec]:
    """Look at the last bits of a product, which fewer bits do not have."""

    def network(inputs: Tensor) -> Tensor:
        product = conv2d(inputs, WEIGHT).float()
        return (1e6 * (product - product.bfloat16().float())).mean(dim=(2, 3))

    return network, SPEC


def make_unable() -> tuple[Network, ModelSpec]:
    """Have a step that knows one type only."""

    def network(inputs: Tensor) -> Tensor:
        found = conv2d(inputs, WEIGHT)
        if found.dtype is not torch.float32:
            raise TypeError("float32 only")
        return found.mean(dim=(2, 3))

    return network, SPEC


def runner(network: Network, dtype: torch.dtype = torch.float32) -> TorchRunner:
    return TorchRunner(network=network, device=CPU, dtype=dtype)


def test_products_are_computed_in_the_runners_type_and_outputs_are_float32() -> None:
    seen: list[torch.dtype] = []

    def network(inputs: Tensor) -> Tensor:
        found = conv2d(inputs, WEIGHT)
        seen.append(found.dtype)
        return found.mean(dim=(2, 3))

    for dtype in (torch.float32, torch.bfloat16):
        outputs = runner(network, dtype=dtype).outputs(images(2))
        assert seen[-1] is dtype
        assert outputs.dtype is torch.float32


def test_a_network_agrees_with_itself() -> None:
    same = runner(ChannelMeans().eval())
    found = agreement(SPEC, same, same)
    assert (found.changed, found.largest, found.bearable) == (0.0, 0.0, True)


def test_a_network_that_answers_something_else_is_told_by_how_much() -> None:
    def turned(inputs: Tensor) -> Tensor:
        return 10 * inputs.mean(dim=(2, 3)).roll(1, dims=1)

    found = agreement(SPEC, runner(turned), runner(ChannelMeans().eval()))
    assert found.changed > 0.5
    assert found.largest > 0.1
    assert not found.bearable


def test_each_class_counts_where_each_has_a_threshold() -> None:
    spec = replace(SPEC, activation="sigmoid", rule=Rule(thresholds=(0.5, 0.5, 0.5)))

    def network(sign: float) -> Network:
        # The top class is the first in both; only the last class is decided otherwise.
        return lambda inputs: torch.tensor([[3.0, -1.0, sign]]).expand(len(inputs), 3)

    found = agreement(spec, runner(network(1.0)), runner(network(-1.0)))
    assert found.changed == 1.0


def test_the_probes_are_always_the_same_and_differ() -> None:
    pictures, sets = probe_sets(SPEC)
    again, sets_again = probe_sets(SPEC)
    assert torch.equal(pictures, again)
    assert torch.equal(sets, sets_again)
    assert pictures.shape[1:] == (3, SPEC.height, SPEC.width)
    assert float(pictures.min()) >= 0.0
    assert float(pictures.max()) <= 1.0
    assert set(sets.flatten().tolist()) == {0.0, 1.0}
    assert 0.3 < float(sets.mean()) < 0.7


def test_a_network_that_bears_it_searches_in_fewer_bits_and_releases_in_float32() -> None:
    exact = load_classifier(f"{__name__}:make_firm", trust_code=True, batch_rows=4)
    found = load_classifier(
        f"{__name__}:make_firm", trust_code=True, batch_rows=4, precision="bf16"
    )
    inputs = images(3) + torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 8
    assert found.notes[-1].startswith("searches in bf16, releases in fp32: ")
    assert torch.equal(found.score_inputs(inputs, exact=True), exact.score_inputs(inputs))
    assert torch.equal(found.scores(inputs), exact.scores(inputs))
    rough = found.score_inputs(inputs)
    assert not torch.equal(rough, exact.score_inputs(inputs))
    torch.testing.assert_close(rough, exact.score_inputs(inputs), atol=0.02, rtol=0)
    assert found.digest != exact.digest


def test_a_network_that_does_not_bear_it_stays_in_float32() -> None:
    exact = load_classifier(f"{__name__}:make_touchy", trust_code=True, batch_rows=4)
    found = load_classifier(
        f"{__name__}:make_touchy", trust_code=True, batch_rows=4, precision="bf16"
    )
    assert found.notes[-1].startswith("not in bf16: ")
    assert found.notes[-1].endswith("; searches in fp32")
    assert torch.equal(found.score_inputs(images(3)), exact.score_inputs(images(3)))
    assert found.digest == exact.digest


def test_a_network_that_cannot_run_in_fewer_bits_stays_in_float32() -> None:
    found = load_classifier(
        f"{__name__}:make_unable", trust_code=True, batch_rows=4, precision="bf16"
    )
    assert "not in bf16: the network raised TypeError: float32 only" in found.notes[-1]


def test_an_onnx_file_has_float32_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"precision must be fp32 for the ONNX .* 'bf16'"):
        load_classifier(write_folder(tmp_path), precision="bf16")


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="one of fp32, bf16, fp16, got 'int8'"):
        checked_precision("int8")


def make_module() -> tuple[torch.nn.Module, ModelSpec]:
    return ChannelMeans(), SPEC


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_on_a_gpu_fewer_bits_are_recorded_too(cuda: torch.device, precision: str) -> None:
    found = load_classifier(
        f"{__name__}:make_module",
        trust_code=True,
        batch_rows=8,
        device=cuda,
        precision=checked_precision(precision),
    )
    inputs = images(5).to(cuda)
    assert found.notes[-1].startswith(f"searches in {precision}")
    torch.testing.assert_close(
        found.score_inputs(inputs), found.score_inputs(inputs, exact=True), atol=0.02, rtol=0
    )
