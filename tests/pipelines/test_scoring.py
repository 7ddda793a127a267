"""Insertion and deletion as scores of a job: its rows, its table, its page. No Ray."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xaiserve.api import load_case
from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.explainers.registry import make_explainer
from xaiserve.metrics.deletion import InsertionDeletion
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines import explain, pointing_game
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.estimating import estimate
from xaiserve.pipelines.explain import AsItIs
from xaiserve.pipelines.reading import stored_results
from xaiserve.pipelines.reporting import job_report, write_report
from xaiserve.pipelines.scoring import Scorer
from xaiserve.pipelines.summaries import SUMMARY, publish
from xaiserve.pipelines.tasks import make_tasks
from xaiserve.pipelines.work import Bench
from xaiserve.pipelines.worker import load_model
from xaiserve.storage.dataset import read_rows
from xaiserve.storage.images import expand
from xaiserve.storage.local import LocalStore
from xaiserve.testing.jobs import write_images
from xaiserve.testing.jobs_here import run_here
from xaiserve.testing.toys import ToyClassifier

BOTH = ("insertion", "deletion")
CURVES = ["row_id", "status", *BOTH, "curve_reason", "curve_steps", "curve_model_inputs"]
PICTURES = 2 * (94 + 1)
"""Of 32 x 32 pixels a hundredth is 11, rounded up, and 1024 / 11 is 94, rounded up."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"), 4)


@pytest.fixture(scope="module")
def given(images, model_folder):
    return {
        "images": str(images),
        "model": "toy",
        "model_source": str(model_folder),
        "methods": ("occlusion",),
        "options": {"occlusion": {"cells": "4"}},
        "seed": 3,
    }


@pytest.fixture(scope="module")
def explained(given, tmp_path_factory):
    """Return a finished ``explain`` job with scores: its configuration and its output."""
    out = tmp_path_factory.mktemp("explained")
    config = explain.Config(**given, out=str(out), scores=BOTH)
    return config, LocalStore(run_here(explain.plan(config)))


@pytest.fixture(scope="module")
def pointed(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("pointed")
    config = pointing_game.Config(**given, out=str(out), scores=BOTH)
    return config, LocalStore(run_here(pointing_game.plan(config)))


def test_every_row_has_both_values_and_their_cost_beside_the_explanations_own(explained):
    _, store = explained
    rows = read_rows(store, [*CURVES, "model_inputs"]).to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert 0 < row["deletion"] < row["insertion"] < 1
        assert (row["curve_reason"], row["curve_steps"]) == ("", 94)
        assert row["curve_model_inputs"] == PICTURES
        assert row["model_inputs"] == 1 + 17


def test_values_are_the_metrics_to_the_last_bit_and_every_input_is_counted(given, images):
    config = explain.Config(**given, out="nowhere")
    method = make_explainer("occlusion", config.options["occlusion"])
    tasks = tuple(make_tasks(expand(str(images)), method, {"any": "settings"}))
    with Engine(load_model(config, threads=1)) as engine:
        found = Bench(method, engine, AsItIs(), seed=3, scorer=Scorer(engine, 3)).explain(tasks)
        spent = engine.totals.model_inputs
        for each in found:
            picture = Path(each.row.image_uri).read_bytes()
            case = load_case(picture, engine.classifier, each.row.target)
            keys = Keys.root(3, case.image_id).child("insertion and deletion")
            plan = InsertionDeletion().plan(case, each.result.saliency, keys)
            curves = run(plan, engine.classifier)
            assert each.result.insertion == curves.insertion_auc.value
            assert each.result.deletion == curves.deletion_auc.value
    assert spent == sum(each.row.model_inputs + each.score_inputs for each in found)
    assert {each.score_inputs for each in found} == {PICTURES}


def test_a_job_without_scores_is_the_job_that_it_was(given):
    config = explain.Config(**given, out="somewhere")
    assert "scores" not in config.deciding()
    assert replace(config, scores=("insertion",)).deciding()["scores"] == ["insertion"]
    old = json.loads(config.to_json())
    del old["scores"]
    assert explain.Config.from_json(json.dumps(old)) == config
    scored = replace(config, scores=BOTH)
    assert explain.Config.from_json(scored.to_json()) == scored


@pytest.mark.parametrize("scores", [(), BOTH])
def test_a_job_that_stopped_goes_on_with_the_same_scores_and_no_others(given, tmp_path, scores):
    config = explain.Config(**given, out=str(tmp_path), scores=scores, tasks_per_part=2)
    half = replace(config, limit=2)
    run_here(explain.plan(config), finish=False)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("_parts/*/*.parquet")}
    assert len(written) == 2
    others = replace(config, scores=() if scores else BOTH)
    with pytest.raises(ConflictError, match="already holds another configuration"):
        run_here(explain.plan(others))
    with pytest.raises(ConflictError, match="already holds another configuration"):
        run_here(explain.plan(half))
    store = LocalStore(run_here(explain.plan(config)))
    assert read_rows(store, ["row_id"]).num_rows == 4
    names = next(iter(stored_results(store, "occlusion", ["image-0"])))[2]
    assert ("insertion" in names) == bool(scores)


def test_the_summary_of_an_explain_job_has_both_with_intervals(explained):
    config, store = explained
    found = publish(store, config)
    (line,) = json.loads(store.read(SUMMARY))["scores"]
    values = read_rows(store, CURVES).to_pylist()
    for name in BOTH:
        told = line[f"{name}_auc"]["micro"]
        assert told["value"] == pytest.approx(sum(row[name] for row in values) / 4)
        assert told["low"] <= told["value"] <= told["high"]
    assert "deletion (less is better)" in found.render()


def test_a_job_without_scores_has_no_summary(given, tmp_path):
    config = explain.Config(**given, out=str(tmp_path))
    store = LocalStore(run_here(explain.plan(config)))
    found = publish(store, config)
    assert (found.table, found.render()) == (None, "")
    assert found.to_json()["rows"] == 4
    assert not (tmp_path / SUMMARY).exists()


def test_scores_stand_beside_the_pointing_game_and_only_those_named(pointed):
    config, store = pointed
    found = publish(store, config).to_json()["scores"]
    assert [each["method"] for each in found] == ["occlusion", "centre", "chance"]
    assert found[0]["insertion_auc"]["micro"]["value"] > found[0]["deletion_auc"]["micro"]["value"]
    assert found[0]["pointing_game"]["micro"]["value"] == 1.0
    assert found[1]["insertion_auc"] == {"micro": None, "macro": None}  # blind methods have none
    one = publish(store, replace(config, scores=("insertion",))).to_json()["scores"][0]
    assert "insertion_auc" in one
    assert "deletion_auc" not in one


def test_the_page_of_an_explain_job_has_the_table_and_cases_by_insertion_less_deletion(explained):
    _, store = explained
    found = job_report(store)
    assert dict(found.setting)["model inputs of scores"] == str(4 * PICTURES)
    cases = [dict(one.facts) for one in (*found.best, *reversed(found.worst))]
    merits = [float(facts["insertion"]) - float(facts["deletion"]) for facts in cases]
    assert len(merits) == 4
    assert merits == sorted(merits, reverse=True)
    assert not found.examples
    page = write_report(store)
    assert "Is the explanation faithful to the model?" in page
    assert "the most salient pixels come into a blurred image" in page
    assert "Chance points anywhere" not in page
    assert ("By class: the mean" in page) == ("insertion by class" in page)


def test_the_page_of_a_pointing_game_shows_both_in_one_table(pointed):
    page = write_report(pointed[1])
    assert page.count("<th>method</th>") == 1
    assert "Does the explanation point at the object, and is it faithful to the model?" in page
    assert "<th>deletion (less is better)</th>" in page
    assert "Higher is better, except for deletion." in page


def test_a_dry_run_counts_the_inputs_of_scores(given, tmp_path):
    config = explain.Config(**given, out=str(tmp_path / "out"), scores=BOTH)
    found = estimate(explain.plan(config), Placement(workers=1, cpus=1))
    assert found.methods[0].model_inputs == 18 + PICTURES
    assert found.model_inputs == 4 * (18 + PICTURES)


def test_a_model_whose_scores_are_no_probabilities_says_so_in_the_row(given, images):
    config = explain.Config(**given, out="nowhere")
    method = make_explainer("occlusion", config.options["occlusion"])
    tasks = tuple(make_tasks(expand(str(images)), method, {"any": "settings"}))[:2]
    model = load_model(config, threads=1)
    loud = ToyClassifier("loud", model.spec, lambda pictures: 5 * model.scores(pictures))
    with Engine(loud) as engine:
        found = Bench(method, engine, AsItIs(), scorer=Scorer(engine)).explain(tasks)
    assert {(each.row.status, each.result) for each in found} == {("error", None)}
    assert "need a model whose scores are probabilities" in found[0].row.error_text


def test_an_image_that_cannot_be_read_has_no_scores_and_is_none_of_the_tables(given, tmp_path):
    manifest = write_images(tmp_path / "images", 3)
    (manifest.parent / "001.png").write_bytes(b"no picture")
    asked = given | {"images": str(manifest), "out": str(tmp_path / "out"), "scores": BOTH}
    config = explain.Config(**asked)
    store = LocalStore(run_here(explain.plan(config)))
    rows = {row["row_id"]: row for row in read_rows(store, CURVES).to_pylist()}
    assert rows["image-1"]["status"] == "invalid_image"
    assert rows["image-1"]["insertion"] is None
    assert publish(store, config).table.methods[0].images == 2


@pytest.mark.parametrize("wrong", [("magic",), ("insertion", "insertion")])
def test_what_is_no_score_is_refused(given, wrong):
    said = f"scores must be among insertion, deletion, each once, got {', '.join(wrong)}"
    with pytest.raises(InvalidInputError, match=said):
        explain.Config(**given, out="somewhere", scores=wrong)
