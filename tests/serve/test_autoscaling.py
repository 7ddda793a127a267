"""How many replicas the work needs, alone and through the delays and bounds of Ray Serve."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from tests.serve.conftest import BUDGET, UPLOADS, client_of
from xaiserve.errors import InvalidInputError
from xaiserve.serve.config import make_config
from xaiserve.serve.replicas.autoscaling import STAT, PendingInputs, wanted_replicas
from xaiserve.serve.replicas.scaling import scale_options
from xaiserve.serve.service import Service

TARGET = 100.0


def wanted(pending: list[float], *, replicas: int | None = None, requests: float = 1) -> int:
    reported = dict(enumerate(pending))
    running = len(pending) if replicas is None else replicas
    return wanted_replicas(reported, target=TARGET, replicas=running, requests=requests)


@pytest.mark.parametrize(
    ("pending", "replicas"), [([0], 1), ([100], 1), ([101], 2), ([500, 0, 0], 5), ([40, 40], 1)]
)
def test_replicas_follow_the_inputs_to_come(pending: list[float], replicas: int):
    assert wanted(pending) == replicas


def test_a_hundred_open_requests_of_little_work_need_one_replica():
    assert wanted([90], requests=100) == 1


def test_one_open_request_of_much_work_needs_several():
    assert wanted([1000], requests=1) == 10


def test_an_idle_model_needs_none_and_one_that_is_asked_keeps_one():
    assert wanted([0], requests=0) == 0
    assert wanted([0], requests=0.1) == 1
    assert wanted([], requests=3) == 1


def test_replicas_that_have_not_reported_are_taken_for_as_busy():
    assert wanted([200, 200], replicas=4) == 8


def settings(**scale: Any) -> AutoscalingConfig:
    model = {"source": "embedded", "autoscaling": {"max": 4, "target_inputs": TARGET, **scale}}
    options = scale_options(make_config({"models": {"toy": model}}).models["toy"])
    return AutoscalingConfig.model_validate(options["autoscaling_config"])


class Controller:
    """Serve's own delays around our policy, with a clock of ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: AutoscalingConfig) -> None:
        self.now = 0.0
        clock = SimpleNamespace(time=lambda: self.now)
        monkeypatch.setattr("ray.serve.autoscaling_policy.time", clock)
        self._config = config
        self._decide = _apply_autoscaling_config(PendingInputs(**config.policy.policy_kwargs))
        self._state: dict[str, Any] = {}
        self.replicas = 1

    def after(self, seconds: int, pending: float, requests: float = 1) -> int:
        """Decide each second; the replicas come and go at once."""
        for _ in range(seconds):
            self.now += 1
            share = pending / max(1, self.replicas)
            context = AutoscalingContext(
                deployment_id=None,
                deployment_name="toy",
                app_name="xaiserve",
                current_num_replicas=self.replicas,
                target_num_replicas=self.replicas,
                running_replicas=[],
                total_num_requests=requests,
                total_queued_requests=0,
                aggregated_metrics={STAT: dict.fromkeys(range(self.replicas), share)},
                raw_metrics=None,
                capacity_adjusted_min_replicas=self._config.min_replicas,
                capacity_adjusted_max_replicas=self._config.max_replicas,
                policy_state=self._state,
                last_scale_up_time=None,
                last_scale_down_time=None,
                current_time=self.now,
                config=self._config,
            )
            asked, self._state = self._decide(context)
            low, high = self._config.min_replicas, self._config.max_replicas
            self.replicas = math.ceil(min(max(asked, low), high))
        return self.replicas


def test_it_scales_up_after_the_delay_down_after_minutes_and_to_zero_last(monkeypatch):
    controller = Controller(monkeypatch, settings(min=0))

    assert controller.after(9, pending=1000) == 1
    assert controller.after(3, pending=1000) == 4  # not ten: that is the most
    assert controller.after(290, pending=0, requests=0) == 4
    assert controller.after(20, pending=0, requests=0) == 1
    assert controller.after(890, pending=0, requests=0) == 1
    assert controller.after(20, pending=0, requests=0) == 0
    assert controller.after(1, pending=0, requests=1) == 1  # at once: somebody waits


def test_a_short_burst_moves_nothing(monkeypatch):
    controller = Controller(monkeypatch, settings())
    for _ in range(10):
        controller.after(5, pending=1000)
        assert controller.after(5, pending=50) == 1


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        ({"max": 1, "min": 2}, "max must be at least min"),
        ({"max": 0}, "autoscaling.max"),
        ({"max": 2, "target_inputs": 0}, "target_inputs"),
        ({"min": 1}, "autoscaling.max is missing"),
    ],
)
def test_settings_out_of_range_are_refused(scale: dict[str, float], told: str):
    with pytest.raises(InvalidInputError, match=told):
        make_config({"models": {"toy": {"source": "embedded", "autoscaling": scale}}})


def test_a_model_has_a_number_of_replicas_or_a_range():
    model = {"source": "embedded", "autoscaling": {"max": 2}, "replicas": 2}
    with pytest.raises(InvalidInputError, match="either replicas or autoscaling"):
        make_config({"models": {"toy": model}})


class Asleep:
    """A model that must not be woken."""

    async def card(self) -> None:
        pytest.fail("a model that sleeps was asked whether it is ready")

    predict = explain = stream = score = card


async def test_asking_whether_all_is_ready_wakes_nobody():
    asleep = frozenset({"toy"})
    service = Service(models={"toy": Asleep()}, uploads=UPLOADS, budget=BUDGET, may_sleep=asleep)
    async with client_of(service) as client:
        for path in ("/readyz", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 200
