"""Workers that exchange gradients; several of them are tried in the tests with a cluster."""

import pytest
import torch
from torch import distributed, nn

from xaiserve.gan.team import Alone, Team, Together


@pytest.fixture
def together(tmp_path):
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    yield Together(0, 1, torch.device("cpu"))
    distributed.destroy_process_group()


@pytest.mark.parametrize("alone", [True, False])
def test_a_team_of_one_keeps_its_gradients_and_its_verdict(alone, together):
    team = Alone() if alone else together
    assert isinstance(team, Team)
    weights = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4))]
    weights[0].grad = torch.arange(6.0).view(2, 3)
    team.average(weights)
    assert torch.equal(weights[0].grad, torch.arange(6.0).view(2, 3))
    assert weights[1].grad is None
    assert [team.agree(verdict) for verdict in (0, 1, 2)] == [0, 1, 2]
