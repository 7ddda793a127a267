"""A sweep without Ray: what a trial is worth, which trial is best, what a preset file says."""

import dataclasses
from pathlib import Path

import pytest

from xaiserve.errors import ConflictError, InvalidInputError, JobStoppedError
from xaiserve.explainers.registry import make_explainer
from xaiserve.perturb.engine import Engine
from xaiserve.pipelines import pointing_game
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.pointing import PointingFinisher
from xaiserve.pipelines.space import Choice
from xaiserve.pipelines.sweep import BEST, Config
from xaiserve.pipelines.trial import standings
from xaiserve.pipelines.trying import Outcome
from xaiserve.pipelines.tuning import choose, prepare, run
from xaiserve.pipelines.work import Bench
from xaiserve.pipelines.worker import load_model
from xaiserve.storage.local import LocalStore
from xaiserve.storage.parquet import read_parquet
from xaiserve.storage.trials import TRIALS, write_trials


@pytest.fixture
def sample(manifest, model_folder, tmp_path):
    return pointing_game.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=("occlusion",),
    )


@pytest.fixture
def config(sample):
    return Config(sample=sample, space={"cells": Choice((1, 2, 4))}, objective="energy")


def tried(sample, cells, objective="energy", slice_size=4):
    """Explain six pictures, each with one lit cell of 4 x 4, by hiding cells."""
    order, _ = prepare(
        Config(sample=sample, space={"cells": Choice((cells, 3))}, objective=objective),
        pointing_game.plan(sample),
    )
    explainer = make_explainer("occlusion", {"cells": cells})
    bench = Bench(explainer, Engine(load_model(sample)), PointingFinisher(15.0))
    return list(standings(bench, order.tasks, slice_size, objective))


def test_a_trial_reports_the_mean_over_the_images_so_far(sample):
    first, last = tried(sample, 4)
    assert (first.images, last.images) == (4, 6)
    # Only the lit cell matters to the model, and the grid has it as one cell: all energy inside.
    assert (first.value, last.value) == (1.0, 1.0)
    assert last.model_inputs == 6 * (16 + 1 + 1)
    # Hiding a quarter hides the lit cell, one of four, as well: a quarter of the energy inside.
    (whole,) = tried(sample, 2, slice_size=6)
    assert whole.value == whole.low == whole.high == pytest.approx(0.25)
    assert (whole.scored, whole.unexplained) == (6, 0)


def test_an_image_without_an_explanation_counts_as_a_miss(sample):
    starved = dataclasses.replace(sample, max_inputs=4)
    order, _ = prepare(
        Config(sample=starved, space={"cells": Choice((4,))}, objective="energy"),
        pointing_game.plan(starved),
    )
    explainer = make_explainer("occlusion", {"cells": 4})
    bench = Bench(explainer, Engine(load_model(sample)), PointingFinisher(15.0), max_inputs=4)
    (found,) = standings(bench, order.tasks, 6, "energy")
    assert (found.value, found.scored, found.unexplained) == (0.0, 6, 6)


def test_an_unreadable_image_counts_for_no_trial(sample, manifest):
    (manifest.parent / "000.png").write_bytes(b"no picture")
    (found,) = tried(sample, 4, slice_size=6)
    assert (found.images, found.scored, found.value) == (6, 5, 1.0)


def test_the_sweep_starts_from_the_method_as_it_is_set(config):
    job = pointing_game.plan(config.sample)
    order, invalid = prepare(config, job)
    assert [each["cells"] for each in order.draws] == [8, 1, 2, 4]
    assert not invalid
    assert sorted(each.row.row_id for each in order.tasks) == [f"image-{n}" for n in range(6)]
    assert prepare(config, job)[0] == order


def test_values_that_do_not_go_together_are_told_and_not_tried(sample):
    sample = dataclasses.replace(sample, methods=("clear-image",), contrast="blur")
    space = {"score": Choice(("pseudo-r2", "adjusted-r2"))}  # the latter is of another regression
    config = Config(sample=sample, space=space, objective="energy")
    order, (invalid,) = prepare(config, pointing_game.plan(sample))
    assert order.draws[1:] == ({"score": "pseudo-r2"},)
    assert invalid.parameters == {"score": "adjusted-r2"}
    assert invalid.status == "invalid"
    assert "adjusted-r2" in invalid.reason


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"objective": "beauty"}, "objective must be one of pointing_game, energy, grid_pointing"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"within": -1.0}, "within must be at least 0"),
        ({"space": {"cells": Choice((8,))}}, "nothing to try"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_before_ray_starts(config, change, told):
    with pytest.raises(InvalidInputError, match=told):
        run(dataclasses.replace(config, **change), Placement())
    assert not Path(config.sample.out).exists()


def test_a_parameter_cannot_be_set_and_drawn(config):
    sample = dataclasses.replace(config.sample, options={"occlusion": {"cells": "3"}})
    with pytest.raises(InvalidInputError, match="cells is both set and in the space"):
        dataclasses.replace(config, sample=sample)


def test_an_output_that_holds_a_sweep_is_left_alone(config):
    LocalStore(Path(config.sample.out)).write(BEST, b"")
    with pytest.raises(ConflictError, match="already holds a sweep"):
        run(config, Placement())


@pytest.fixture
def begun(config):
    """Begin a sweep that goes no further than to Ray."""
    with pytest.raises(pytest.fail.Exception, match="starts Ray"):
        run(config, Placement())
    return config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"objective": "pointing_game"}, "differs in objective"),
        ({"space": {"cells": Choice((1, 2, 5))}}, "differs in space"),
        ({"scheduler": "none"}, "differs in scheduler"),
        ({"within": 0.5}, "differs in within"),
    ],
)
def test_another_sweep_does_not_go_on_in_an_output(begun, change, told):
    with pytest.raises(ConflictError, match=told):
        run(dataclasses.replace(begun, **change), Placement())
    sample = dataclasses.replace(begun.sample, seed=1)
    with pytest.raises(ConflictError, match="differs in seed"):
        run(dataclasses.replace(begun, sample=sample), Placement())


def test_trials_that_have_ended_are_not_run_again(begun):
    order, _ = prepare(begun, pointing_game.plan(begun.sample))
    trials = []
    for number, drawn in enumerate(order.draws):
        course = tried(begun.sample, drawn["cells"])
        outcome = Outcome(
            number=number,
            status="done",
            parameters=drawn,
            found=dataclasses.asdict(course[-1]),
            course=tuple({"images": each.images, "value": each.value} for each in course),
        )
        trials.append((outcome.columns(), drawn))
    store = LocalStore(Path(begun.sample.out))
    write_trials(store, trials)
    store.write(".ray-killed/notes", b"")
    summary = run(begun, Placement())  # without Ray, which no test of this file may start
    assert not store.list(".ray-")
    assert summary.best.parameters == {"cells": 4}
    assert [each.columns() for each in summary.outcomes] == [columns for columns, _ in trials]
    best = store.read(BEST)
    assert run(begun, Placement()).best == summary.best
    assert store.read(BEST) == best


def test_a_trial_that_failed_is_tried_again(begun):
    order, _ = prepare(begun, pointing_game.plan(begun.sample))
    lost = [
        Outcome(number=number, status="failed", parameters=drawn, reason="no memory")
        for number, drawn in enumerate(order.draws)
    ]
    rows = [(each.columns(), each.parameters) for each in lost]
    write_trials(LocalStore(Path(begun.sample.out)), rows)
    with pytest.raises(pytest.fail.Exception, match="starts Ray"):
        run(begun, Placement())


def outcome(number, value, inputs, status="done"):
    found = {"value": value, "model_inputs": inputs, "scored": 5}
    return Outcome(number=number, status=status, parameters={}, found=found)


def test_the_best_trial_is_the_highest_and_among_equals_the_cheapest():
    trials = [outcome(0, 0.5, 1), outcome(1, 0.9, 30), outcome(2, 0.9, 20), outcome(3, 0.9, 20)]
    assert choose([*trials, outcome(4, 1.0, 1, "stopped")], 0.0).number == 2
    assert choose(trials, 0.4).number == 0  # cheap and near enough


def test_a_sweep_of_which_nothing_came_to_its_end_says_why():
    lost = Outcome(number=0, status="failed", parameters={}, reason="no memory")
    with pytest.raises(JobStoppedError, match=r"none of 1 trials .* no memory"):
        choose([lost], 0.0)


def test_trials_are_a_table_with_a_column_per_parameter(tmp_path):
    store = LocalStore(tmp_path)
    write_trials(
        store,
        [
            ({"trial": 0, "status": "done", "value": 0.5}, {"cells": 4, "fill": None}),
            ({"trial": 1, "status": "invalid", "reason": "no"}, {"cells": 8, "fill": "blur"}),
        ],
    )
    table = read_parquet(store, TRIALS)
    assert table["param_cells"].to_pylist() == [4, 8]
    assert table["param_fill"].to_pylist() == [None, "blur"]
    assert table["value"].to_pylist() == [0.5, None]
    assert table["status"].to_pylist() == ["done", "invalid"]
