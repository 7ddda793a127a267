import pytest
import torch

from xaiserve.models.tuning import best_rows, measure, prepared, tuned_rows


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


def test_a_cost_per_call_asks_for_a_large_batch() -> None:
    assert best_rows(rates(Machine(0.01, 0.0001))) == 32


def test_a_batch_that_gains_less_than_five_percent_is_not_taken() -> None:
    # With what the engine does per batch, 4 rows reach 96.6 % of the rate of 32, 2 rows 93.1 %.
    assert best_rows(rates(Machine(0.0004, 0.01), budget_s=9)) == 4


def test_equal_rates_of_a_slow_model_give_the_smallest_batch_above_one() -> None:
    assert best_rows(rates(Machine(0.0, 0.1))) == 2


def test_equal_rates_of_a_fast_model_give_a_batch_worth_the_engine_s_work() -> None:
    assert best_rows(rates(Machine(0.0, 0.001))) == 16


def test_one_row_wins_where_nothing_larger_comes_near() -> None:
    assert best_rows({1: 100.0, 4: 80.0, 8: 70.0}) == 1


def test_the_measurement_ends_within_its_budget() -> None:
    machine = Machine(0.0, 0.01)
    rates(machine)
    assert machine.now_s <= 2.0
    assert machine.sizes == [1, 2, 4, 8, 16, 32] * 3 + [1, 2, 4]


def test_a_model_slower_than_the_budget_is_measured_once() -> None:
    machine = Machine(0.0, 5.0)
    assert best_rows(rates(machine)) == 1
    assert machine.sizes == [1]


def test_a_key_is_measured_once_per_process() -> None:
    asked: list[int] = []
    key = object()
    assert tuned_rows(key, asked.append, budget_s=0.0) == 1
    assert tuned_rows(key, asked.append, budget_s=0.0) == 1
    assert asked == [1]


def crowded(rows: int) -> None:
    if rows > 8:
        raise torch.OutOfMemoryError


def test_sizes_beyond_the_devices_memory_are_left_out() -> None:
    assert prepared(crowded, (1, 4, 8, 16, 32)) == (1, 4, 8)
    assert prepared(crowded, (1, 4)) == (1, 4)
    assert tuned_rows(object(), crowded, budget_s=0.01, prepare=True) <= 8


def test_no_memory_for_one_row_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        prepared(crowded, (16, 32))
