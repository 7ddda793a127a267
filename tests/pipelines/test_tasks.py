import dataclasses
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.registry import make_explainer
from xaiserve.pipelines import explain, pointing_game
from xaiserve.pipelines.cluster import Crew, Placement, crew_for
from xaiserve.pipelines.cutting import PART_S, Cutter
from xaiserve.pipelines.tasks import Task, make_tasks
from xaiserve.storage.manifest import ImageRow

ROW = ImageRow(row_id="a", uri="/a.png", target="1", mask="/m.png")
SETTINGS = {"kind": "explain", "seed": 0, "model": "digest"}
GIVEN = {"images": "x", "out": "y", "model": "toy", "model_source": "z", "methods": ("rise",)}


def task_id(row=ROW, method="occlusion", options=None, settings=SETTINGS):
    return next(make_tasks([row], make_explainer(method, options), settings)).task_id


def test_a_task_is_known_by_its_row_its_method_and_what_decides_the_result():
    same = task_id(options={"cells": "8"})
    assert same == task_id()
    others = {
        task_id(row=dataclasses.replace(ROW, row_id="b")),
        task_id(row=dataclasses.replace(ROW, uri="/b.png")),
        task_id(row=dataclasses.replace(ROW, target="0")),
        task_id(row=dataclasses.replace(ROW, mask=None)),
        task_id(method="rise"),
        task_id(options={"cells": "7"}),
        task_id(settings=SETTINGS | {"seed": 1}),
        task_id(settings=SETTINGS | {"model": "another"}),
        task_id(settings=SETTINGS | {"kind": "pointing-game"}),
    }
    assert len(others - {same}) == 9


def numbered(count, start=0):
    return tuple(Task(str(start + number), ROW) for number in range(count))


def cutter(tasks, workers, size=None):
    left = sum(map(len, tasks.values()))
    return Cutter(tasks, left=left, workers=workers, size=size)


counts = st.lists(st.integers(0, 60), max_size=3)


@given(counts, st.integers(1, 9), st.none() | st.integers(1, 40), st.floats(0.01, 100))
def test_chunks_hold_every_task_once_and_in_order(counts, workers, size, seconds):
    tasks = {f"method-{index}": numbered(count) for index, count in enumerate(counts)}
    found, cut = [], cutter(tasks, workers, size)
    for chunk in cut:
        found.append(chunk)
        cut.learn(chunk.method, len(chunk.tasks), seconds)
    for method, mine in tasks.items():
        assert [task for each in found if each.method == method for task in each.tasks] == [*mine]
    assert all(1 <= len(chunk.tasks) <= (size or 60) for chunk in found)


def test_chunks_become_smaller_towards_the_end_of_the_job():
    tasks = {"rise": numbered(40), "lime": numbered(10)}
    sizes = [len(chunk.tasks) for chunk in cutter(tasks, 2)]
    assert sizes[:3] == [7, 6, 5]
    assert sizes[-8:] == [1] * 8


def test_chunks_of_a_size_that_was_asked_for_all_have_it():
    assert [len(chunk.tasks) for chunk in cutter({"rise": numbered(10)}, 2, 4)] == [4, 4, 2]


def test_chunks_grow_to_what_takes_a_worker_the_wanted_time():
    cut = cutter({"rise": numbered(100_000)}, 2)
    sizes = []
    for chunk in islice(cut, 8):
        sizes.append(len(chunk.tasks))
        cut.learn("rise", sizes[-1], sizes[-1] * PART_S / 400)
    assert sizes == [8, 32, 128, 400, 400, 400, 400, 400]
    cut.learn("rise", 400, 400 * PART_S / 10)
    assert len(next(cut).tasks) == 10


def test_no_more_tasks_are_taken_from_a_stream_than_are_given_out():
    taken = []
    stream = (taken.append(task) or task for task in numbered(1000))
    next(Cutter({"rise": stream}, left=1000, workers=1))
    assert len(taken) == 8


def test_a_chunk_that_kills_its_workers_is_divided_down_to_the_fault():
    cut = Cutter({"rise": numbered(5)}, left=5, workers=1, size=5)
    healthy, lost = [], []
    for chunk in cut:
        if chunk.lost:
            lost += [(task.task_id, chunk.lost) for task in chunk.tasks]
        elif any(task.task_id == "3" for task in chunk.tasks):
            cut.take_back(chunk, "it died")
        else:
            healthy += [task.task_id for task in chunk.tasks]
    assert sorted(healthy) == ["0", "1", "2", "4"]
    assert lost == [("3", "it died")]


@pytest.mark.parametrize(
    ("cpus", "placement", "crew"),
    [
        (2, Placement(), Crew(workers=2, threads=1, gpus=0)),
        (64, Placement(), Crew(workers=16, threads=4, gpus=0)),
        (8, Placement(threads=3), Crew(workers=2, threads=3, gpus=0)),
        (8, Placement(workers=1), Crew(workers=1, threads=1, gpus=0)),
        (8, Placement(gpus=0.5), Crew(workers=4, threads=1, gpus=0.5)),
    ],
)
def test_a_crew_fits_what_is_free(cpus, placement, crew):
    assert crew_for(placement, cpus, 2.0) == crew


def test_refuses_a_worker_that_would_wait_for_ever():
    with pytest.raises(InvalidInputError, match="a worker needs 4 CPUs and 0 GPUs, and 2"):
        crew_for(Placement(threads=4), 2, 0)
    with pytest.raises(InvalidInputError, match="1 GPUs, and 8 and 0 are free"):
        crew_for(Placement(gpus=1), 8, 0)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": 0}, {"cpus": 0}, {"gpus": -1.0}])
def test_a_placement_names_the_field_that_is_wrong(wrong):
    with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))} must be at least"):
        Placement(**wrong)


@pytest.mark.parametrize(
    "config",
    [
        explain.Config(**GIVEN, options={"rise": {"masks": "100"}}, limit=3, max_inputs=50),
        pointing_game.Config(**GIVEN, tolerance_px=3.5, trust_code=True, seed=7),
    ],
)
def test_a_configuration_survives_json(config):
    assert type(config).from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"methods": ()}, "methods must name at least one"),
        ({"methods": ("rise", "rise")}, "each once"),
        ({"options": {"lime": {}}}, "options are given for method 'lime'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"max_inputs": 0}, "max_inputs must be at least 1"),
        ({"tasks_per_part": 0}, "tasks_per_part must be at least 1"),
        ({"tolerance_px": -1.0}, "tolerance_px must be at least 0, got -1"),
    ],
)
def test_a_configuration_names_the_field_that_is_wrong(wrong, said):
    with pytest.raises(InvalidInputError, match=said):
        pointing_game.Config(**{**GIVEN, **wrong})


def test_json_of_another_kind_is_no_configuration():
    with pytest.raises(InvalidInputError, match="no explain configuration"):
        explain.Config.from_json(pointing_game.Config(**GIVEN).to_json())
