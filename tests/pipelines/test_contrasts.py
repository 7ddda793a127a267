"""Contrast pictures in jobs, without Ray: from the manifest, and made in batches."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xaiserve.contrasts.base import asker
from xaiserve.contrasts.blur import BlurContrasts
from xaiserve.errors import InvalidInputError, NoExplanationError
from xaiserve.explainers.registry import make_explainer
from xaiserve.perturb.engine import Engine
from xaiserve.pipelines import explain
from xaiserve.pipelines.cluster import Placement, crew_for
from xaiserve.pipelines.dataset import plan_job
from xaiserve.pipelines.explain import AsItIs
from xaiserve.pipelines.tasks import make_tasks
from xaiserve.pipelines.work import Bench
from xaiserve.pipelines.worker import load_model, open_contrasts
from xaiserve.storage.images import expand
from xaiserve.testing.translators import write_tiny_translator

FAST = {
    "samples": "100",
    "segmenter": "gan_diff",
    "diff_threshold": "0.05",
    "diff_min_area_px": "10",
}
CLEAR = make_explainer("clear-image", FAST)


@pytest.fixture
def config(manifest, model_folder, tmp_path):
    return explain.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=("clear-image", "occlusion"),
        options={"clear-image": FAST},
        contrast="blur",
    )


@pytest.fixture
def engine(config):
    with Engine(load_model(config, threads=1), batch_rows=64) as engine:
        yield engine


def with_contrast_column(manifest, names):
    """Name a contrast picture in some rows."""
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    for record, name in zip(records, names, strict=False):
        if name:
            record["contrast"] = name
    manifest.write_text("\n".join(map(json.dumps, records)))
    return manifest


def grey(path, level, side=32):
    Image.fromarray(np.full((side, side), level, np.uint8)).save(path)


def tasks_of(manifest):
    return tuple(make_tasks(expand(str(manifest)), CLEAR, {}))


def test_a_row_has_its_own_contrast_and_the_others_have_one_made(engine, manifest):
    grey(manifest.parent / "own.png", 20)
    tasks = tasks_of(with_contrast_column(manifest, ["own.png"]))
    found = Bench(CLEAR, engine, AsItIs(), contrasts=BlurContrasts()).explain(tasks)

    assert [each.row.status for each in found] == ["ok"] * len(found)
    assert [each.result.contrast_provider for each in found[:3]] == ["file", "blur", "blur"]
    assert found[0].result.contrast_notes == ("a stored picture, own.png",)


def test_a_wrong_contrast_is_its_rows_error(engine, manifest):
    grey(manifest.parent / "small.png", 20, side=30)
    (manifest.parent / "damaged.png").write_bytes(b"no picture")
    tasks = tasks_of(with_contrast_column(manifest, ["small.png", "damaged.png", "absent.png"]))
    found = Bench(CLEAR, engine, AsItIs(), contrasts=BlurContrasts()).explain(tasks)

    assert [each.row.status for each in found[:4]] == ["error", "error", "error", "ok"]
    texts = [each.row.error_text for each in found[:3]]
    assert "must have the size of its image, 32x32 px, got 30x30" in texts[0]
    assert "contrast picture damaged.png: image must be one of" in texts[1]
    assert "absent.png" in texts[2]
    assert found[0].row.target_label == "light"


def test_no_contrast_for_an_image_is_no_explanation(engine, manifest):
    class Never(BlurContrasts):
        def contrasts(self, cases):
            return [NoExplanationError("none is near")] * len(cases)

    found = Bench(CLEAR, engine, AsItIs(), contrasts=Never()).explain(tasks_of(manifest))

    assert {(each.row.status, each.row.error_text) for each in found} == {("none", "none is near")}


def test_contrasts_are_made_in_batches_ahead_of_the_explanations(engine, manifest):
    sizes = []

    class Counting(BlurContrasts):
        batch = 3

        def contrasts(self, cases):
            sizes.append(len(cases))
            return super().contrasts(cases)

    Bench(CLEAR, engine, AsItIs(), contrasts=Counting()).explain(tasks_of(manifest))

    assert set(sizes[:-1]) <= {3}


def test_methods_that_need_no_contrast_have_none_made(engine, manifest):
    class Never(BlurContrasts):
        def contrasts(self, cases):
            raise AssertionError(len(cases))

    occlusion = make_explainer("occlusion", {"cells": "4"})
    found = Bench(occlusion, engine, AsItIs(), contrasts=Never()).explain(tasks_of(manifest))

    assert {each.row.status for each in found} == {"ok"}


def test_two_contrasts_share_no_result_and_no_task(engine, config, manifest):
    ids, tasks, others = set(), set(), set()
    for contrast, options in (("blur", {}), ("blur", {"sigma": "0.1"}), ("inpaint", {})):
        asked = replace(config, contrast=contrast, contrast_options=options)
        provider = open_contrasts(asked, engine.classifier.spec, asker(engine))
        bench = Bench(CLEAR, engine, AsItIs(), contrasts=provider)
        ids.add(bench.explain(tasks_of(manifest)[:1])[0].row.result_id)
        job = plan_job(asked, AsItIs())
        tasks.add(next(job.tasks("clear-image")).task_id)
        others.add(next(job.tasks("occlusion")).task_id)

    assert (len(ids), len(tasks), len(others)) == (3, 3, 1)


def test_a_job_without_contrasts_has_the_settings_it_always_had(config):
    job = plan_job(replace(config, methods=("occlusion",), options={}, contrast=None), AsItIs())

    assert "contrast" not in job.settings


def test_rows_that_all_name_a_contrast_need_no_provider(config, manifest):
    bare = replace(config, contrast=None, methods=("clear-image",))
    with pytest.raises(InvalidInputError, match="compares the image with a contrast picture"):
        plan_job(bare, AsItIs())

    count = len(expand(str(manifest)))
    with_contrast_column(manifest, ["own.png"] * count)
    assert plan_job(bare, AsItIs()).known.rows == count


def test_a_contrast_that_no_method_needs_is_refused(config):
    with pytest.raises(InvalidInputError, match="contrast is for methods that compare"):
        plan_job(replace(config, methods=("occlusion",), options={}), AsItIs())


def test_a_translator_that_does_not_fit_is_refused_before_anything_starts(config, tmp_path):
    translator = write_tiny_translator(tmp_path / "gan", ("cat", "dog"))
    asked = replace(config, contrast=None, translator=str(translator))

    with pytest.raises(InvalidInputError, match="cat, dog"):
        plan_job(asked, AsItIs())
    assert explain.Config.from_json(asked.to_json()) == asked


def test_a_device_for_no_translator_is_refused(config):
    with pytest.raises(InvalidInputError, match="translator_device goes with"):
        replace(config, contrast=None, translator_device="cuda")


def test_a_translators_share_of_a_gpu_is_reserved_beside_the_models():
    crew = crew_for(Placement(gpus=0.5, translator_gpus=0.25, threads=1), cpus=8, gpus=2)

    assert (crew.workers, crew.gpus) == (2, 0.75)
    with pytest.raises(InvalidInputError, match="translator_gpus must be at least 0"):
        Placement(translator_gpus=-1)
