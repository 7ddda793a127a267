import threading

import pytest
import torch

from xaiserve.models.tuning import (
    NEAR_TIE,
    PASSES,
    Calls,
    best,
    measure,
    prepared,
    rows_per_batch,
    tuned,
)


class Machine:
    """A model on a fake clock: so many seconds per call and per row."""

    def __init__(self, per_call_s: float, per_row_s: float) -> None:
        self.per_call_s, self.per_row_s = per_call_s, per_row_s
        self.now_s = 0.0
        self.sizes: list[int] = []

    def clock(self) -> float:
        return self.now_s

    def score(self, rows: int) -> None:
        self.sizes.append(rows)
        self.now_s += self.per_call_s + rows * self.per_row_s


def rates(machine: Machine, budget_s: float = 2.0) -> dict[int, float]:
    return measure(machine.score, budget_s=budget_s, clock=machine.clock)


def test_a_cost_per_call_asks_for_a_large_size() -> None:
    assert best(rates(Machine(0.01, 0.0001)), 0.0, NEAR_TIE).rows == 32


def test_a_size_that_gains_less_than_five_percent_is_not_taken() -> None:
    # 4 rows reach 99.1 % of the rate of 32, 2 rows 98.2 %, one row 96.4 %.
    assert best(rates(Machine(0.0004, 0.01), budget_s=9), 0.0, NEAR_TIE).rows == 1


def test_a_cost_beside_the_call_is_counted() -> None:
    assert best({1: 100.0, 2: 100.0, 4: 100.0, 8: 100.0}, 0.002, NEAR_TIE).rows == 4
    assert best({1: 100.0, 4: 80.0, 8: 70.0}, 0.002, NEAR_TIE).rows == 1


def test_the_measurement_ends_within_its_budget() -> None:
    machine = Machine(0.0, 0.01)
    rates(machine)
    assert machine.now_s <= 2.0
    assert machine.sizes == [1, 2, 4, 8, 16, 32] * 3 + [1, 2, 4]


def test_hopeless_sizes_are_tried_once_and_larger_ones_not_at_all() -> None:
    asked: list[int] = []
    machine = Machine(0.0, 0.0)

    def score(rows: int) -> None:
        asked.append(rows)
        machine.now_s += rows * (0.001 if rows <= 2 else 0.002)

    found = measure(score, clock=machine.clock)
    assert asked == [1, 2, 4, 8] + [1, 2] * (PASSES - 1)
    assert found == pytest.approx({1: 1000, 2: 1000, 4: 500, 8: 500})


def test_one_disturbance_leaves_larger_sizes_in() -> None:
    asked: list[int] = []
    machine = Machine(0.0, 0.0)

    def score(rows: int) -> None:
        machine.now_s += 0.001 + rows * 0.001 + (0.5 if len(asked) == 1 else 0.0)
        asked.append(rows)

    found = measure(score, clock=machine.clock)
    assert best(found, 0.0, NEAR_TIE).rows == 16
    assert asked.count(2) == 1


def test_a_model_slower_than_the_budget_is_measured_once() -> None:
    machine = Machine(0.0, 5.0)
    assert best(rates(machine), 0.0, NEAR_TIE).rows == 1
    assert machine.sizes == [1]


def test_rows_of_all_callers_count() -> None:
    machine = Machine(0.0, 0.01)
    found = measure(machine.score, callers=4, clock=machine.clock)
    assert found[1] == pytest.approx(400)


def test_callers_score_at_once() -> None:
    together = threading.Barrier(3, timeout=60)
    assert tuned(object(), lambda _: together.wait(), callers=3, sizes=(1,)).rows == 1


def test_a_batch_is_whole_calls_of_a_bounded_time() -> None:
    assert rows_per_batch(Calls(2, 110.0), callers=2) == 4
    assert rows_per_batch(Calls(4, 150.0), callers=2) == 4
    assert rows_per_batch(Calls(2, 2.0), callers=2) == 2
    assert rows_per_batch(Calls(4, 1e6), callers=1) == 32
    assert rows_per_batch(Calls(64, 1e6), callers=1) == 64


def test_a_key_is_measured_once_per_process() -> None:
    asked: list[int] = []
    key = object()
    assert tuned(key, asked.append, budget_s=0.0).rows == 1
    assert tuned(key, asked.append, budget_s=0.0).rows == 1
    assert asked == [1]


def crowded(rows: int) -> None:
    if rows > 8:
        raise torch.OutOfMemoryError


def test_sizes_beyond_the_devices_memory_are_left_out() -> None:
    assert prepared(crowded, (1, 4, 8, 16, 32)) == (1, 4, 8)
    assert prepared(crowded, (1, 4)) == (1, 4)
    assert tuned(object(), crowded, budget_s=0.01, prepare=True).rows <= 8


def test_no_memory_for_one_row_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        prepared(crowded, (16, 32))
