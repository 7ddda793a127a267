import shutil
from pathlib import Path

import pytest
import torch

from xaiserve.errors import InvalidInputError
from xaiserve.models.export_cache import ExportCache
from xaiserve.models.fast_path import FastPath
from xaiserve.models.loaded import difference, probe
from xaiserve.models.onnx_classifier import OnnxRunner
from xaiserve.models.torch_classifier import Network, TorchRunner
from xaiserve.testing.tiny_models import SPEC, ChannelMeans, images

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the export of `ChannelMeans`; making one takes a second."""
    folder = tmp_path_factory.mktemp("cache")
    path(ChannelMeans().eval(), folder).choose()
    return folder


@pytest.fixture
def kept(exported: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path


def path(network: Network, folder: Path) -> FastPath:
    return FastPath(
        network=network,
        spec=SPEC,
        what="the model",
        digest="d",
        device=CPU,
        threads=1,
        cache=ExportCache(folder),
    )


class Unexportable(ChannelMeans):
    """Branches on its data, which no exporter follows."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = super().forward(inputs)
        return outputs if float(outputs.detach().sum()) > -1e9 else -outputs


class Contiguous(Unexportable):
    """Views its input, which channels-last memory does not allow."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.view(len(inputs), -1).view(inputs.shape))


class Fickle(torch.nn.Module):
    """Answers differently every time."""

    calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return inputs.mean(dim=(2, 3)) * self.calls


def test_a_module_is_exported_and_agrees_with_eager(tmp_path: Path) -> None:
    network = ChannelMeans().eval()
    runner, notes = path(network, tmp_path).choose()
    assert isinstance(runner, OnnxRunner)
    assert "runs in onnxruntime (exported now)" in notes[-1]
    for rows in (1, 2, 5):
        torch.testing.assert_close(
            runner.outputs(images(rows)), network(images(rows)).detach(), atol=1e-5, rtol=0
        )


def test_a_kept_export_is_used_again(kept: Path) -> None:
    _, notes = path(ChannelMeans().eval(), kept).choose()
    assert notes[-1].startswith("runs in onnxruntime (kept export)")
    assert [file.suffix for file in (kept / "exports").iterdir()] == [".onnx"]


def test_a_damaged_export_is_made_again(kept: Path) -> None:
    (file,) = (kept / "exports").iterdir()
    file.write_bytes(b"torn")
    _, notes = path(ChannelMeans().eval(), kept).choose()
    assert "not in onnxruntime (kept export)" in notes[0]
    assert "runs in onnxruntime (exported now)" in notes[1]
    assert path(ChannelMeans().eval(), kept).choose()[1][0].startswith("runs in")


def test_a_kept_export_of_other_weights_is_not_believed(kept: Path) -> None:
    other = ChannelMeans().eval()
    with torch.no_grad():
        other.convolution.weight.mul_(2)
    runner, notes = path(other, kept).choose()
    assert "outputs differ from eager torch by" in notes[0]
    assert difference(runner.outputs(images(3)), other(images(3)).detach()) < 1e-6


def test_a_cache_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("a file where the folder should be")
    runner, notes = path(ChannelMeans().eval(), tmp_path).choose()
    assert isinstance(runner, OnnxRunner)
    assert notes[0].startswith("the export is not kept")


def test_a_module_that_cannot_be_exported_runs_channels_last(tmp_path: Path) -> None:
    runner, notes = path(Unexportable().eval(), tmp_path).choose()
    assert isinstance(runner, TorchRunner)
    assert runner.layout is torch.channels_last
    assert notes[0].startswith("not in onnxruntime (exported now)")
    assert notes[1].startswith("runs in channels-last eager torch")


def test_a_module_that_needs_plain_memory_runs_as_it_came(tmp_path: Path) -> None:
    network = Contiguous().eval()
    runner, notes = path(network, tmp_path).choose()
    assert isinstance(runner, TorchRunner)
    assert runner.layout is torch.contiguous_format
    assert notes[-1] == "runs in eager torch"
    torch.testing.assert_close(runner.outputs(images(3)), network(images(3)).detach())


def test_a_faster_way_that_disagrees_is_not_taken(tmp_path: Path) -> None:
    _, notes = path(Fickle(), tmp_path).choose()
    assert notes[-1] == "runs in eager torch"


def test_a_network_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"answers \(3, 2\) .* names 3 labels"):
        path(lambda inputs: inputs.mean(dim=(2, 3))[:, :2], tmp_path).choose()


def test_a_network_that_cannot_take_the_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="the model cannot score a picture"):
        path(torch.nn.Conv2d(1, 3, 1), tmp_path).choose()


def test_the_probe_is_the_same_every_time_and_differs_by_row_and_channel() -> None:
    found = probe(SPEC)
    assert torch.equal(found, probe(SPEC))
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 1.0
    assert len({round(float(plane.std()), 5) for row in found for plane in row}) > 1
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("wrong", [torch.zeros(2, 2), torch.full((2, 3), float("nan"))])
def test_nothing_agrees_with_a_wrong_shape_or_nan(wrong: torch.Tensor) -> None:
    assert difference(wrong, torch.zeros(2, 3)) == float("inf")
