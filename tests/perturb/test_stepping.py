"""The threads on which plans and lanes compute."""

import threading

import pytest
import torch

from xaiserve.perturb._stepping import computing_alone, single_threaded


@pytest.fixture(autouse=True)
def several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def computed() -> int:
    """Compute something large enough for several threads; return how many there were."""
    torch.rand(32, 1000).softmax(1)
    return torch.get_num_threads()


def test_stepping_threads_compute_alone_though_the_process_has_more():
    with single_threaded(3) as pool:
        assert [pool.submit(computed).result() for _ in range(6)] == [1] * 6
    assert torch.get_num_threads() == 2


def test_a_lane_computes_alone_though_the_process_has_more():
    found, started = [], threading.Event()
    lane = computing_alone(lambda: (started.wait(10), found.append(computed())), "lane")
    started.set()
    lane.join()
    assert found == [1]
    assert torch.get_num_threads() == 2
