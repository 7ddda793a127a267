import pytest
import torch
from torch import Tensor

from xaiserve.errors import ClassifierFaultError
from xaiserve.models.cuda_graphs import GraphRunner, Replay, cuda_recorder
from xaiserve.models.loaded import LoadedClassifier, Runner
from xaiserve.models.torch_classifier import Network, TorchRunner
from xaiserve.testing.tiny_models import SIDE, SPEC, ChannelMeans, images

CPU = torch.device("cpu")


class Recorder:
    """Records on a CPU as CUDA graphs do: one output per recording, overwritten by every replay."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.buffers: list[Tensor] = []
        self.replays: list[int] = []

    def __call__(self, buffer: Tensor) -> Replay:
        outputs = self.network(buffer)
        self.buffers.append(buffer)

        def replay() -> Tensor:
            self.replays.append(len(buffer))
            return outputs.copy_(self.network(buffer))

        return replay


def means(inputs: Tensor) -> Tensor:
    return 10 * inputs.mean(dim=(2, 3))


def recorded(network: Network, *sizes: int) -> tuple[GraphRunner, Recorder]:
    recorder = Recorder(network)
    eager = TorchRunner(network=network, device=CPU, layout=torch.channels_last)
    return GraphRunner(runner=eager, record=recorder, sizes=sizes), recorder


def rows(count: int) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 11])
def test_any_number_of_rows_scores_as_without_recordings(count: int) -> None:
    runner, _ = recorded(means, 1, 2, 4)
    assert isinstance(runner, Runner)
    torch.testing.assert_close(runner.outputs(rows(count)), means(rows(count)))


def test_a_batch_is_padded_to_the_next_size_and_a_larger_one_taken_in_pieces() -> None:
    runner, recorder = recorded(means, 1, 4, 8)
    for count in (1, 3, 19):
        runner.outputs(rows(count))
    assert recorder.replays == [1, 4, 8, 8, 4]


def test_a_size_is_recorded_when_it_first_occurs_and_once() -> None:
    runner, recorder = recorded(means, 1, 4, 8)
    for _ in range(3):
        runner.outputs(rows(3))
    assert runner.recorded_sizes == (4,)
    assert len(recorder.buffers) == 1


def test_outputs_are_not_overwritten_by_the_next_batch() -> None:
    runner, _ = recorded(means, 4)
    first = runner.outputs(rows(2))
    kept = first.clone()
    runner.outputs(rows(3))
    assert torch.equal(first, kept)


def test_what_lay_in_the_buffer_before_does_not_count() -> None:
    runner, _ = recorded(means, 4)
    runner.outputs(torch.full((4, 3, SIDE, SIDE), 1e3))
    torch.testing.assert_close(runner.outputs(rows(1)), means(rows(1)))


def test_buffers_have_the_networks_layout() -> None:
    runner, recorder = recorded(means, 4)
    runner.outputs(rows(4))
    assert recorder.buffers[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
def test_a_recorded_network_scores_as_it_does_in_eager_torch(cuda: torch.device) -> None:
    network = ChannelMeans().eval().to(cuda)
    eager = TorchRunner(network=network, device=cuda, layout=torch.channels_last)
    runner = GraphRunner(runner=eager, record=cuda_recorder(eager), sizes=(1, 4))
    for count in (4, 1, 3, 7):
        inputs = rows(count).to(cuda)
        torch.testing.assert_close(runner.outputs(inputs), eager.outputs(inputs))


@pytest.mark.gpu
def test_a_network_that_looks_at_its_values_cannot_be_recorded(cuda: torch.device) -> None:

    def looking(inputs: Tensor) -> Tensor:
        return means(inputs) if float(inputs.sum()) >= 0 else inputs.mean(dim=(2, 3))

    eager = TorchRunner(network=looking, device=cuda)
    runner = GraphRunner(runner=eager, record=cuda_recorder(eager), sizes=(1,))
    with pytest.raises(ClassifierFaultError, match=r"the network (raised|cannot be recorded)"):
        runner.outputs(rows(1).to(cuda))


@pytest.mark.gpu
def test_scores_come_from_the_gpu_in_memory_of_their_own(cuda: torch.device) -> None:
    network = ChannelMeans().eval().to(cuda)

    def none() -> None:
        pytest.fail("nobody asked for gradients")

    found = LoadedClassifier(
        name="means",
        spec=SPEC,
        digest="d",
        runner=TorchRunner(network=network, device=cuda),
        differentiable=none,  # type: ignore[arg-type]
        stated_rows=4,
    )
    first = found.score_inputs(images(3).to(cuda))
    kept = first.clone()
    found.score_inputs(torch.zeros(3, 3, SIDE, SIDE, device=cuda))
    assert first.device.type == "cpu"
    assert torch.equal(first, kept)
    torch.testing.assert_close(first, (10 * images(3).mean(dim=(2, 3))).softmax(dim=1))
