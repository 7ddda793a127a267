"""What becomes of tasks, without Ray: rows of one chunk, and parts of one worker."""

import datetime as dt
import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from xaiserve.api import load_case
from xaiserve.errors import (
    InvalidInputError,
    NoExplanationError,
    StoreUnavailableError,
)
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.frame import Frame
from xaiserve.models.spec import Resize
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import QueryPlan, ask
from xaiserve.perturb.query import Pixels
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines import explain, pointing_game
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.explain import AsItIs
from xaiserve.pipelines.finishing import finds_sets, result_type
from xaiserve.pipelines.pointing import PointingFinisher, pointed, read_features, read_region
from xaiserve.pipelines.tasks import Chunk, Task, make_tasks
from xaiserve.pipelines.work import Bench
from xaiserve.pipelines.worker import Worker, WorkOrder, load_model
from xaiserve.storage.dataset import read_results, read_rows
from xaiserve.storage.images import expand
from xaiserve.storage.local import LocalStore
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.records import RowFormat
from xaiserve.storage.results import open_results
from xaiserve.testing.jobs import CELL_PX, cell_mask, write_images
from xaiserve.testing.toys import ToyClassifier, light_classifier, toy_case, toy_image, toy_spec

SETTINGS = {"any": "settings"}
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grumbling:
    """A method that is at a loss for pictures whose mean exceeds a threshold, in three ways."""

    name: ClassVar[str] = "grumbling"
    version: ClassVar[int] = 1

    error: type[Exception] = NoExplanationError
    bright: float = 0.14

    def plan(self, case: Case, keys: Keys) -> QueryPlan[Explanation]:
        del keys
        yield from ask(Pixels(case.image.unsqueeze(0)))
        if case.image.mean() > self.bright:
            raise self.error("too bright")
        return Explanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=case.image[0].clone(),
        )

    def bytes_in_flight(self, case: Case) -> int:
        del case
        return 1


@pytest.fixture
def config(manifest, model_folder, tmp_path):
    return pointing_game.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=("occlusion",),
        options={"occlusion": {"cells": "4"}},
    )


@pytest.fixture
def engine(config):
    with Engine(load_model(config, threads=1), batch_rows=64) as engine:
        yield engine


def tasks_of(images, explainer):
    return tuple(make_tasks(expand(str(images)), explainer, SETTINGS))


def occlusion():
    return make_explainer("occlusion", {"cells": "4"})


def test_every_task_has_a_row_with_all_that_is_needed_to_repeat_it(engine, manifest):
    bench = Bench(occlusion(), engine, AsItIs(), seed=3, now=lambda: NOW)
    tasks = tasks_of(manifest, occlusion())
    found = bench.explain(tasks)
    assert [each.row.task_id for each in found] == [task.task_id for task in tasks]
    row = found[0].row
    assert (row.status, row.row_id, row.image_name) == ("ok", "image-0", "000.png")
    assert (row.target, row.target_label, row.height, row.width) == (1, "light", 32, 32)
    assert (row.model_name, row.method, row.seed, row.created_at) == ("toy", "occlusion", 3, NOW)
    assert json.loads(row.params_json)["cells"] == 4
    assert row.model_inputs == 1 + 17  # one for the target's score, one per cell, one for the whole
    assert row.confidence == pytest.approx(1 / (1 + math.exp(4 - 2 * 8 * 230 / 255)))
    assert row.frame.original_height == 32
    assert len({each.row.result_id for each in found}) == len(found)


def test_the_top_class_is_explained_where_the_input_names_none(engine, manifest):
    bench = Bench(occlusion(), engine, AsItIs())
    tasks = [
        Task(task.task_id, replace(task.row, target=None))
        for task in tasks_of(manifest, occlusion())
    ]
    assert {each.row.target_label for each in bench.explain(tasks)} == {"light"}


@pytest.mark.parametrize(
    ("break_it", "status", "said"),
    [
        (lambda path: path.write_bytes(b"no picture"), "invalid_image", "image must be one of"),
        (lambda path: path.unlink(), "invalid_image", "does not exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "invalid_image", "image"),
    ],
)
def test_a_file_that_cannot_be_read_says_so_in_its_row_and_no_other(
    engine, manifest, break_it, status, said
):
    break_it(manifest.parent / "002.png")
    found = Bench(occlusion(), engine, AsItIs()).explain(tasks_of(manifest, occlusion()))
    assert [each.row.status for each in found] == ["ok", "ok", status, "ok", "ok", "ok"]
    assert said in (found[2].row.error_text or "")
    assert found[2].result is None


def test_an_unknown_label_says_so_in_its_row(engine, manifest):
    tasks = list(tasks_of(manifest, occlusion()))
    tasks[1] = Task(tasks[1].task_id, replace(tasks[1].row, target="crane"))
    found = Bench(occlusion(), engine, AsItIs()).explain(tasks)
    assert [each.row.status for each in found[:3]] == ["ok", "error", "ok"]
    assert "'crane' is no label" in (found[1].row.error_text or "")
    assert found[1].row.image_sha256


@pytest.mark.parametrize(
    ("error", "status"), [(NoExplanationError, "none"), (ZeroDivisionError, "error")]
)
def test_a_method_at_a_loss_ends_its_own_row_alone(engine, tmp_path, error, status):
    manifest = write_images(tmp_path / "bright", 5)
    for index in (1, 3):
        Image.fromarray(np.full((32, 32), 200 + index, np.uint8)).save(
            manifest.parent / f"{index:03d}.png"
        )
    method = Grumbling(error=error)
    found = Bench(method, engine, AsItIs()).explain(tasks_of(manifest, method))
    assert [each.row.status for each in found] == ["ok", status, "ok", status, "ok"]
    assert found[1].row.error_kind == error.__name__


@pytest.mark.parametrize("place", [0, 3, 5])
def test_a_model_that_fails_on_a_picture_ends_its_own_row_alone(config, manifest, place):
    def scores(images):
        light = images.amax(dim=(1, 2, 3)).unsqueeze(1)
        light = light.where(images.amin(dim=(1, 2, 3)).unsqueeze(1) < 1, torch.nan)
        return torch.cat([1 - light, light], dim=1)

    white = manifest.parent / f"{place:03d}.png"
    Image.new("L", (32, 32), 255).save(white)
    model = ToyClassifier("nan on white", load_model(config).spec, scores)
    with Engine(model) as engine:
        found = Bench(occlusion(), engine, AsItIs()).explain(tasks_of(manifest, occlusion()))
    assert [n for n, each in enumerate(found) if each.row.status == "error"] == [place]
    row = found[place].row
    assert row.error_kind == "ClassifierFaultError"
    assert row.image_sha256 == hashlib.sha256(white.read_bytes()).hexdigest()


def test_a_budget_that_is_spent_is_the_rows_error(engine, manifest):
    bench = Bench(occlusion(), engine, AsItIs(), max_inputs=5)
    found = bench.explain(tasks_of(manifest, occlusion()))
    assert {each.row.error_kind for each in found} == {"QueryBudgetError"}


def test_a_bucket_out_of_reach_is_no_images_fault(engine, manifest, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    tasks = list(tasks_of(manifest, occlusion()))
    tasks[2] = Task(tasks[2].task_id, replace(tasks[2].row, uri="s3://nowhere/x.png"))
    with pytest.raises(StoreUnavailableError, match="credentials"):
        Bench(occlusion(), engine, AsItIs()).explain(tasks)


def test_the_result_type_of_a_method_is_what_its_plan_returns():
    assert result_type(occlusion()) is Explanation
    assert finds_sets(make_explainer("multirex"))
    assert not finds_sets(occlusion())


def test_the_pointing_game_scores_every_explanation_beside_the_blind_methods(engine, manifest):
    bench = Bench(occlusion(), engine, PointingFinisher(tolerance_px=3.0))
    found = bench.explain(tasks_of(manifest, occlusion()))
    scores = found[5].result
    assert torch.equal(scores.region, torch.from_numpy(cell_mask(5)))
    assert (scores.pointing_game, scores.energy) == (1.0, 1.0)
    assert scores.energy_chance == CELL_PX**2 / 32**2
    # Cell 5 is the second of the second row: it ends at the middle of the image.
    assert scores.pointing_game_centre == 1.0
    assert found[0].result.pointing_game_centre == 0.0


def test_the_grid_game_takes_features_from_squares_or_masks_or_the_truth(engine, manifest):
    tasks = tasks_of(manifest, occlusion())
    # Cell 5 covers the pixels 8 to 15 of both axes, which are squares 1 to 3 of 7.
    cell = [row * 7 + column for row in (1, 2, 3) for column in (1, 2, 3)]
    masks = tuple(str(manifest.parent / f"{index:03d}-mask.tif") for index in (5, 0))
    rows = [
        tasks[5].row,
        replace(tasks[5].row, feature_masks=masks),
        replace(tasks[5].row, feature_masks=masks, feature_squares=((16,), (48,))),
    ]
    bench = Bench(occlusion(), engine, PointingFinisher())
    own = [Task(str(number), row) for number, row in enumerate(rows)]
    found = [each.result for each in bench.explain(own)]
    assert found[0].features == (tuple(cell),)
    assert (found[0].grid_pointing, found[0].grid_pointing_reason) == (1.0, "")
    assert found[1].features == (tuple(cell), (0, 1, 7, 8))
    assert found[2].features == ((16,), (48,))
    assert found[2].grid_pointing == 2 / 49  # 48 is last of the squares at 0
    assert found[2].grid_pointing_tied > 1
    assert found[2].grid_pointing_chance < found[1].grid_pointing_chance


def test_squares_of_a_picture_that_the_model_crops_are_refused():
    spec = replace(toy_spec(toy_image(24)), resize=Resize(mode="shorter", side_px=24))
    row = ImageRow(row_id="a", uri="a.png", feature_squares=((3,),))
    case = toy_case(light_classifier(toy_image(24)), toy_image(24))
    region = torch.zeros(24, 24, dtype=torch.bool)
    whole = replace(case, frame=Frame.fit(spec, 48, 48))
    assert read_features(row, whole, region) == (frozenset({3}),)
    with pytest.raises(InvalidInputError, match="of which the model sees a part"):
        read_features(row, replace(case, frame=Frame.fit(spec, 48, 60)), region)


def test_truth_that_the_crop_removed_is_not_scored(engine, manifest):
    Image.new("L", (32, 32)).save(manifest.parent / "004-mask.tif")
    found = Bench(occlusion(), engine, PointingFinisher()).explain(tasks_of(manifest, occlusion()))
    scores = found[4].result
    assert (scores.pointing_game, scores.pointing_game_reason) == (None, "empty_mask")
    assert (scores.grid_pointing, scores.grid_pointing_reason) == (None, "empty_mask")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"no picture"), "image must be one of"),
        (lambda path: Image.new("L", (9, 8)).save(path), "must have the image's size, 32x32"),
    ],
)
def test_truth_that_cannot_be_read_says_so_in_its_row(engine, manifest, break_it, said):
    break_it(manifest.parent / "002-mask.tif")
    found = Bench(occlusion(), engine, PointingFinisher()).explain(tasks_of(manifest, occlusion()))
    assert [each.row.status for each in found] == ["ok", "ok", "error", "ok", "ok", "ok"]
    assert said in (found[2].row.error_text or "")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_mask_is_what_its_pixels_hold_and_not_what_they_look_like(engine, manifest, mode):
    mask = Image.fromarray(cell_mask(0).astype(np.uint8) * 255)
    if mode == "P":  # both of its indices are black
        shown = Image.frombytes("P", mask.size, cell_mask(0).tobytes())
        shown.putpalette([0, 0, 0] * 2)
    else:  # transparent where nothing is
        shown = mask.convert(mode)
        shown.putalpha(mask)
    path = manifest.parent / "mask.png"
    shown.save(path)
    case = load_case((manifest.parent / "000.png").read_bytes(), engine.classifier, 1)
    assert read_region(str(path), case).numpy().tolist() == cell_mask(0).tolist()


def order_of(config, store, **changes):
    results = open_results(store, SETTINGS)
    order = WorkOrder(
        config=config,
        config_digest=results.config_digest,
        model_digest=load_model(config).digest,
        finisher=PointingFinisher(),
        threads=1,
    )
    return replace(order, **changes)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_chunk_that_is_done_twice_is_published_once(config, manifest, tmp_path):
    store = LocalStore(tmp_path / "out")
    worker = Worker(order_of(config, store))
    chunk = Chunk("occlusion", tasks_of(manifest, occlusion()))
    reports = [worker.publish(chunk) for _ in range(2)]
    assert [report.done for report in reports] == [6, 6]
    assert read_rows(store, ["row_id"]).num_rows == 6
    row_format = RowFormat(pointed(Explanation), Frame)
    rows = read_results(store, "occlusion", row_format)
    assert {task.status for task, _ in rows} == {"ok"}


@pytest.mark.usefixtures("threads")
def test_a_worker_that_finds_another_model_refuses(config, manifest, tmp_path):
    order = order_of(config, LocalStore(tmp_path / "out"), model_digest="another")
    report = Worker(order).publish(Chunk("occlusion", tasks_of(manifest, occlusion())))
    assert "differs between machines" in report.fault
    assert not report.of_store


@pytest.mark.usefixtures("threads")
def test_an_image_over_which_workers_die_has_a_row_that_says_so(config, manifest, tmp_path):
    store = LocalStore(tmp_path / "out")
    chunk = Chunk("occlusion", tasks_of(manifest, occlusion())[:1], lost="it died 4 times")
    assert Worker(order_of(config, store)).publish(chunk).failed == 1
    (row,) = read_rows(store, ["status", "error_kind", "error_text"]).to_pylist()
    assert row == {
        "status": "error",
        "error_kind": "WorkerLostError",
        "error_text": "it died 4 times",
    }


@pytest.mark.usefixtures("threads")
def test_a_store_that_refuses_is_reported_as_the_jobs_fault(config, manifest, tmp_path):
    worker = Worker(order_of(config, LocalStore(tmp_path / "out")))
    (tmp_path / "out" / "_parts").mkdir()
    (tmp_path / "out" / "_parts" / "method=occlusion").write_text("a file where a folder must be")
    report = worker.publish(Chunk("occlusion", tasks_of(manifest, occlusion())))
    assert report.of_store
    assert "method=occlusion" in report.fault


def test_an_image_without_truth_is_refused_before_anything_starts(config, manifest):
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines, json.dumps({"id": "bare", "uri": "000.png"})]))
    with pytest.raises(InvalidInputError, match="boxes or a mask for every row, 'bare' has none"):
        pointing_game.run(config, Placement())


def test_a_gradient_method_on_a_model_without_gradients_is_refused_at_once(config):
    wished = explain.Config(
        images=config.images,
        out=config.out,
        model="toy",
        model_source=config.model_source,
        methods=("integrated-gradients",),
    )
    with pytest.raises(InvalidInputError, match="gradients"):
        explain.run(wished, Placement())
